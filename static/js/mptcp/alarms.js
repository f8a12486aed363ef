// An alarm as a box: what it says, where and when, the way to its connection, and that somebody has seen it.

import { make } from "../dom.js";
import { moment } from "../format.js";
import { acknowledge } from "./api.js";

/**
 * Return the box of an open alarm.
 * Args: canOperate, whether this person may acknowledge; isLinked, whether its connection is on another page;
 * onFail(error) shows what went wrong.
 */
export function alarmBox(alarm, { canOperate, isLinked, onFail }) {
  const text = make("span", { class: "alarm-text" }, make("strong", null, alarm.kind.replaceAll("_", " ")), ` ${alarm.words} `, make("span", { class: "small" }, `at ${alarm.domain}, ${moment(alarm.at_s)}`));
  const box = make("div", { class: "alarm", "data-alarm": alarm.id }, make("span", { class: "alarm-symbol", "aria-hidden": "true" }, "▲"), text);
  if (isLinked && alarm.connection) box.append(make("a", { class: "button button-small", href: `/mptcp/connections/${alarm.connection}/` }, "Look"));
  if (!canOperate) return box;
  const button = make("button", { class: "button button-small", type: "button" }, "Acknowledge", make("span", { class: "visually-hidden" }, ` ${alarm.words}`));
  button.addEventListener("click", () => {
    button.disabled = true;
    acknowledge(alarm.id).catch((error) => {
      button.disabled = false;
      onFail(error);
    });
  });
  box.append(button);
  return box;
}

/** Show the open ones among alarms, newest first; touches the page only when others are open than before. Returns them. */
export function showOpen(holder, alarms, options) {
  const open = alarms.filter((alarm) => alarm.acknowledged_at_s === null).sort((one, other) => other.id - one.id);
  const keys = open.map((alarm) => alarm.id).join(" ");
  if (holder.dataset.keys === keys) return [];
  holder.dataset.keys = keys;
  holder.replaceChildren(...open.map((alarm) => alarmBox(alarm, options)));
  return open;
}
