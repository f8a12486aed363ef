// Alarms stay until somebody acknowledges them, also after the link came back.

import { find, make, makeSvg, setData, setText } from "../dom.js";
import { clock, milliseconds } from "../format.js";

const ALARMS_SHOWN = 3;

function bell() {
  return makeSvg("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linejoin": "round", "aria-hidden": "true" },
    makeSvg("path", { d: "M12 3 22 20H2Z" }), makeSvg("path", { d: "M12 10v4m0 2.500v.5", "stroke-linecap": "round" }));
}

/** What a failover did, in one sentence. */
export function failoverWords(failover) {
  const moves = failover.moves.map((move) => `VS ${move.index} to ${move.to}`).join(", ");
  return moves ? `moved ${moves}` : "nothing was moved";
}

function heading(failover) {
  if (failover.restoredAtS) return `${failover.link} failed at ${clock(failover.detectedAtS)}, back at ${clock(failover.restoredAtS)}`;
  return `${failover.link} is down since ${clock(failover.detectedAtS)}`;
}

function detail(failover) {
  const lost = failover.lostMs === null ? "cost not measured yet" : `lost ${milliseconds(failover.lostMs)}`;
  return `${failoverWords(failover)}; ${lost}; detected in ${milliseconds(failover.detectionMs)}`;
}

function build(failover, acknowledge) {
  const alarm = make("div", { class: "alarm", "data-failover": failover.id, "data-failover-of": failover.link },
    bell(), make("div", { class: "alarm-text" }, make("strong"), make("div", { class: "alarm-detail" })));
  if (acknowledge) {
    const button = make("button", { class: "button", type: "button", "data-acknowledge": failover.id }, "Acknowledge",
      make("span", { class: "visually-hidden" }, ` failover of ${failover.link}`));
    button.addEventListener("click", () => acknowledge(failover.id, button));
    alarm.append(button);
  }
  return alarm;
}

/** One line for the alarms that do not fit above: the table has each of them. */
function showMore(holder, hidden, acknowledge) {
  let line = find(".alarm-more", holder);
  if (!hidden.length) {
    line?.remove();
    return;
  }
  if (!line) {
    line = make("div", { class: "alarm alarm-more", "data-restored": "true" }, make("div", { class: "alarm-text" }, make("strong")));
    if (acknowledge) {
      const button = make("button", { class: "button", type: "button" }, "Acknowledge these");
      button.addEventListener("click", () => line.hiddenIds.forEach((id) => acknowledge(id, button)));
      line.append(button);
    }
  }
  line.hiddenIds = hidden.map((failover) => failover.id);
  const button = find("button", line);
  if (button) button.disabled = false;
  setText(find("strong", line), `and ${hidden.length} more not acknowledged`);
  if (holder.lastElementChild !== line) holder.append(line);
}

/** Show one alarm per failover that nobody has acknowledged; keep keyboard focus where it was. */
export function showAlarms(holder, failovers, acknowledge) {
  const all = failovers
    .filter((failover) => !failover.acknowledgedAtS)
    .sort((one, other) => Boolean(one.restoredAtS) - Boolean(other.restoredAtS) || other.detectedAtS - one.detectedAtS);
  const open = all.slice(0, ALARMS_SHOWN);
  const wanted = new Set(open.map((failover) => String(failover.id)));
  for (const alarm of [...holder.children]) {
    if (alarm.dataset.failover && !wanted.has(alarm.dataset.failover)) {
      const hadFocus = alarm.contains(document.activeElement);
      alarm.remove();
      if (hadFocus) (find("[data-acknowledge]", holder) ?? find("#main")).focus();
    }
  }
  open.forEach((failover, index) => {
    let alarm = find(`[data-failover="${failover.id}"]`, holder);
    if (!alarm) alarm = build(failover, acknowledge);
    if (holder.children[index] !== alarm) holder.insertBefore(alarm, holder.children[index] ?? null);
    setData(alarm, "restored", String(Boolean(failover.restoredAtS)));
    setText(find("strong", alarm), heading(failover));
    setText(find(".alarm-detail", alarm), detail(failover));
  });
  showMore(holder, all.slice(ALARMS_SHOWN), acknowledge);
  const first = find("[data-acknowledge]", holder);
  for (const button of holder.querySelectorAll("[data-shortcut]")) if (button !== first) button.removeAttribute("data-shortcut");
  if (first) first.dataset.shortcut = "k";
}
