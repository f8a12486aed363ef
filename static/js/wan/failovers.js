// What each failover cost: one picture of stacked parts, and the same figures as a table.

import { find, make, stateChip } from "../dom.js";
import { clockFine, iso, milliseconds, moment } from "../format.js";
import { failoverWords } from "./alarms.js";
import { baseLayout, draw, token } from "../plotting.js";

const CHART_LIMIT = 12;
const PARTS = [
  { key: "detectionMs", name: "detection", colour: "--part-detection", pattern: "" },
  { key: "actionMs", name: "action", colour: "--part-action", pattern: "" },
  { key: "transportMs", name: "transport", colour: "--part-transport", pattern: "/" },
];
const DIRECTIONS = { both: "both ways", rx: "one way (rx)", tx: "one way (tx)" };

const figure = (value) => make("td", { class: "figure" }, milliseconds(value));

function row(failover) {
  const acknowledged = failover.acknowledgedAtS
    ? make("td", { class: "nowrap" }, `${moment(failover.acknowledgedAtS)}${failover.acknowledgedBy ? ` by ${failover.acknowledgedBy}` : ""}`)
    : make("td", null, stateChip("alarm", "not yet"));
  return make(
    "tr",
    { "data-failover-row": failover.id, "data-failover-of": failover.link, class: failover.acknowledgedAtS ? null : "failover-unacknowledged" },
    make("th", { scope: "row", class: "nowrap" }, make("time", { datetime: iso(failover.detectedAtS) }, `${clockFine(failover.detectedAtS)}`)),
    make("td", null, failover.link),
    make("td", { class: "nowrap" }, DIRECTIONS[failover.direction] ?? failover.direction ?? "–"),
    make("td", null, failover.moves.length ? failover.moves.map((move) => `VS ${move.index} → ${move.to}`).join(", ") : failoverWords(failover)),
    figure(failover.detectionMs),
    figure(failover.actionMs),
    figure(failover.transportMs),
    figure(failover.lostMs),
    figure(failover.stallMs),
    make("td", { class: "nowrap" }, failover.restoredAtS ? moment(failover.restoredAtS) : "not yet"),
    acknowledged,
  );
}

/** Fill the table; rows whose figures did not change are left alone. */
export function showFailoverTable(body, empty, failovers) {
  empty.hidden = failovers.length > 0;
  failovers.forEach((failover, index) => {
    const key = JSON.stringify(failover);
    let element = find(`[data-failover-row="${failover.id}"]`, body);
    if (!element || element.key !== key) {
      const fresh = row(failover);
      fresh.key = key;
      if (element) element.replaceWith(fresh);
      element = fresh;
    }
    if (body.rows[index] !== element) body.insertBefore(element, body.rows[index] ?? null);
  });
  while (body.rows.length > failovers.length) body.lastElementChild.remove();
}

function traces(failovers) {
  const names = failovers.map((failover) => `${clockFine(failover.detectedAtS).slice(0, 10)} ${failover.link}`);
  return PARTS.map((part) => ({
    type: "bar",
    orientation: "h",
    name: part.name,
    y: names,
    x: failovers.map((failover) => failover[part.key] ?? 0),
    customdata: failovers.map((failover) => milliseconds(failover[part.key])),
    marker: { color: token(part.colour), pattern: { shape: part.pattern, fillmode: "replace", solidity: 0.6 }, line: { width: 0 } },
    hovertemplate: `${part.name} %{customdata}<extra>%{y}</extra>`,
  }));
}

function annotations(failovers) {
  return failovers.map((failover, index) => ({
    x: PARTS.reduce((sum, part) => sum + (failover[part.key] ?? 0), 0),
    y: index,
    xanchor: "left",
    showarrow: false,
    text: failover.lostMs === null ? " cost not measured" : ` lost ${milliseconds(failover.lostMs)}`,
    font: { color: token("--ink") },
  }));
}

/** Draw the picture; the newest failover is on top. */
export function showFailoverChart(holder, failovers) {
  const shown = failovers.slice(0, CHART_LIMIT).reverse();
  holder.hidden = shown.length === 0;
  if (!shown.length) return;
  const layout = baseLayout();
  layout.barmode = "stack";
  layout.bargap = 0.35;
  layout.height = 70 + shown.length * 30;
  layout.yaxis.ticksuffix = " ";
  Object.assign(layout.xaxis, { title: { text: "ms" }, rangemode: "tozero" });
  const longest = Math.max(...annotations(shown).map((note) => note.x), 1);
  layout.xaxis.range = [0, longest * (holder.clientWidth < 500 ? 1.7 : 1.25)];
  Object.assign(layout.yaxis, { type: "category", showgrid: false });
  layout.annotations = annotations(shown);
  draw(holder, traces(shown), layout);
}

/** Words for those who hear the page. */
export const announceWords = (failover) => `Alarm: ${failover.link} failed. ${failoverWords(failover)}.`;

