// The overview: health of each part and the event log, kept by the live stream.

import { find, findAll, make, setData, setState, setText, stateChip } from "./dom.js";
import { iso, moment } from "./format.js";
import { openLive } from "./live_status.js";

const EVENT_LIMIT = 50;
const partList = find("#parts");
const log = find("#event-log");

function showPart(part) {
  let tile = find(`[data-part="${CSS.escape(part.name)}"]`, partList);
  if (!tile) {
    tile = make("li", { class: "part live-data", "data-part": part.name },
      make("div", { class: "part-head" }, make("h3", null, part.title), stateChip(part.state)), make("p", { class: "small soft detail" }));
    find(".empty", partList)?.remove();
    partList.append(tile);
  }
  setData(tile, "state", part.state);
  setState(find(".state", tile), part.state);
  setText(find(".detail", tile), part.detail);
}

function showVerdict() {
  const states = findAll(".part", partList).map((tile) => [find("h3", tile).textContent, tile.dataset.state]);
  const bad = states.filter(([, state]) => state !== "ok" && state !== "off");
  setText(find("#verdict"), bad.length ? `Needs a look: ${bad.map(([title, state]) => `${title} (${state})`).join(", ")}` : states.length ? "Every part is well." : "");
}

function showParts(data) {
  for (const part of data.parts ?? []) showPart(part);
  showVerdict();
}

/** Facts of an event in one line: key value, key value. */
function factsOf(data) {
  const words = (value) => (typeof value === "number" ? String(Math.round(value * 1000) / 1000) : typeof value === "object" ? JSON.stringify(value) : String(value));
  return Object.entries(data ?? {}).filter(([, value]) => value !== null && value !== "").slice(0, 8)
    .map(([key, value]) => `${key} ${words(value)}`).join(" · ").slice(0, 300);
}

function eventRow(event) {
  return make("tr", { "data-severity": event.severity, "data-event": event.id },
    make("td", null, make("time", { datetime: iso(event.at_s), "data-at-s": event.at_s }, moment(event.at_s))),
    make("td", null, stateChip(event.severity)),
    make("td", null, make("code", null, event.type)),
    make("td", null, event.subject),
    make("td", { class: "wrap event-data soft" }, factsOf(event.data)));
}

function showEvents(events) {
  log.replaceChildren(...events.slice(0, EVENT_LIMIT).map(eventRow));
  find("#events-empty").hidden = log.rows.length > 0;
}

function addEvent(event) {
  if (!event?.type || find(`[data-event="${event.id}"]`, log)) return;
  log.prepend(eventRow(event));
  while (log.rows.length > EVENT_LIMIT) log.lastElementChild.remove();
  find("#events-empty").hidden = true;
}

find("#event-severity").addEventListener("change", (change) => setData(log, "only", change.target.value));

showVerdict();
openLive((stream) => {
  stream.subscribe("health", showParts, (type, data) => (data.parts ? showParts(data) : data.name && (showPart(data), showVerdict())));
  stream.subscribe("events", (data) => showEvents(data.events ?? []), (type, data) => addEvent(data));
});
