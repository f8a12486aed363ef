// The list of connections: state first, kept by the live stream; a search asks the API, for history and captures too.

import { find, make, setData, setState, setText, stateChip } from "../dom.js";
import { clock, moment, span } from "../format.js";
import { openLive } from "../live_status.js";
import { failureWords } from "../rest.js";
import { showOpen } from "./alarms.js";
import { connections as searchConnections } from "./api.js";
import { CollectorTable } from "./collectors.js";
import { SensorTable } from "./sensors.js";
import { captureChip, confidence, connectionChip, connectionLink, count, coverage, evidenceTags, many, optionWords, size } from "./words.js";

const canOperate = find("#mptcp").dataset.canOperate === "true";
const ORDER = ["active", "idle", "ended"];
const ADDRESS = /[.:]/;
const WORKED_S = 10;
// An hour after the last one, losses are history: they stay in the table.
const LOSS_SHOWN_S = 3600;
const connections = new Map();
const domains = new Map();
const alarms = new Map();
const captures = new Map();
let found = null; // rows of a search; null: the live list
let stream = null;
let isLoaded = false;

function rowOf(row) {
  return make("tr", { "data-connection": row.id },
    make("th", { scope: "row" }, connectionLink(row)), make("td", null, stateChip("unknown")), make("td", { class: "figure" }), make("td", { class: "figure" }),
    make("td"), make("td", { class: "figure" }), make("td", { class: "tokens" }), make("td"), make("td", { class: "small soft" }));
}

function updateRow(element, row) {
  const [name, state, subflows, sure, evidence, share, tokens, where, seen] = element.cells;
  const [client, server] = find("a", name).children;
  setText(client, row.client);
  setText(server, `→ ${row.server}`);
  setState(find(".state", state), ...(row.is_blocked ? ["alarm", "blocked"] : row.alarm_count ? ["warning", `${row.state}, alarm`] : connectionChip(row.state)));
  setText(subflows, String(row.subflow_count));
  setText(sure, row.subflow_count > 1 ? confidence(row.confidence) : "–");
  const kinds = row.evidence_kinds.join(" ");
  if (evidence.dataset.kinds !== kinds) {
    setData(evidence, "kinds", kinds);
    evidence.replaceChildren(row.evidence_kinds.length ? evidenceTags(row.evidence_kinds) : make("span", { class: "soft small" }, row.subflow_count > 1 ? "" : "one subflow"));
  }
  setText(share, coverage(row));
  setText(tokens, row.tokens.join(" ") || "–");
  setText(where, row.capture ? `capture ${row.capture}` : row.domain);
  setText(seen, moment(row.last_s));
}

function filtered() {
  if (found) return found;
  const state = find("#state").value;
  const least = Number(find("#least").value);
  return [...connections.values()]
    .filter((row) => row.state !== "gone" && (!state || row.state === state) && row.subflow_count >= least)
    .sort((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state) || other.subflow_count - one.subflow_count || other.id - one.id);
}

function showConnections() {
  const body = find("#connections");
  const rows = filtered();
  rows.forEach((row, index) => {
    const element = find(`[data-connection="${row.id}"]`, body) ?? rowOf(row);
    if (body.rows[index] !== element) body.insertBefore(element, body.rows[index] ?? null);
    updateRow(element, row);
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  const isNew = !connections.size && !found;
  find("#connections-loading").hidden = true;
  find("#connections-empty").hidden = !isNew;
  find("#connections-none").hidden = isNew || rows.length > 0;
  setText(find("#shown"), found ? `${rows.length} found, captures and history too` : `${rows.length} of the newest ${connections.size}`);
}

function showVerdict() {
  const rows = [...connections.values()];
  const active = rows.filter((row) => row.state === "active");
  const several = active.filter((row) => row.subflow_count > 1).length;
  const open = [...alarms.values()].filter((alarm) => alarm.acknowledged_at_s === null);
  const nowS = stream.nowS();
  const silent = [...domains.values()].filter((domain) => domain.sensors.length && (domain.worked_at_s === null || nowS - domain.worked_at_s > WORKED_S));
  const dropped = [...domains.values()].filter((domain) => domain.dropped_at_s !== null && nowS - domain.dropped_at_s < LOSS_SHOWN_S);
  const summary = `${many(active.length, "active connection")}, ${several} with several subflows.`;
  const words = [
    ...(open.length ? [`${many(open.length, "alarm")} to look at`] : []),
    ...silent.map((domain) => `nothing arrives at ${domain.name} from ${domain.sensors.join(", ")}`),
    ...dropped.map((domain) => `${domain.name} lost records, last ${span(nowS - domain.dropped_at_s)} ago`),
  ];
  const isOld = stream.state === "stale";
  const state = open.length ? "down" : words.length ? "degraded" : active.length ? "up" : "unknown";
  const chip = { down: ["alarm", "needs a look"], degraded: ["degraded", "needs a look"], up: ["up", "all well"], unknown: ["unknown", "nothing seen"] }[state];
  const holder = find("#verdict");
  const text = words.length ? `${words.join("; ")}. ${summary}` : active.length ? summary : "No connection is active.";
  setData(holder, "state", isOld ? "unknown" : state);
  setState(find(".state", holder), ...(isOld ? ["stale", "stale"] : chip));
  setText(find(".verdict-words", holder), isOld ? `When last heard, at ${clock(stream.sinceMs / 1000)}: ${text}` : text);
}

const failed = (words) => find("#failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, words));

const alarmOptions = { canOperate, isLinked: true, onFail: (error) => failed(failureWords(error)) };

function showAlarms() {
  const [newest] = showOpen(find("#alarms"), [...alarms.values()], alarmOptions);
  if (newest) setText(find("#announce"), `Alarm: ${newest.words}`);
}

function showCaptures() {
  const rows = [...captures.values()].sort((one, other) => other.id - one.id);
  find("#captures").replaceChildren(...rows.map((row) => make("tr", { "data-capture": row.id },
    make("th", { scope: "row" }, make("a", { href: `/mptcp/captures/${row.id}/` }, row.file_name)), make("td", null, captureChip(row.state)), make("td", { class: "figure" }, size(row.size_bytes)),
    make("td", { class: "figure" }, count(row.report.connection_count)), make("td", { class: "figure" }, count(row.report.subflow_count)),
    make("td", { class: "small" }, optionWords(row.options)), make("td", { class: "small soft" }, `${moment(row.created_at_s)}${row.created_by ? ` by ${row.created_by}` : ""}`))));
  find("#captures-empty").hidden = rows.length > 0;
}

function showDomains() {
  const rows = [...domains.values()].sort((one, other) => one.name.localeCompare(other.name));
  const nowS = stream.nowS();
  find("#domains").replaceChildren(...rows.map((row) => make("tr", null, make("th", { scope: "row" }, row.name), make("td", null, row.sensors.join(", ") || "none"), make("td", { class: "figure" }, count(row.subflow_count)),
    make("td", { class: "figure" }, count(row.record_count)), make("td", { class: "figure" }, count(row.dropped_count), row.dropped_at_s === null ? null : make("div", { class: "small soft" }, `last ${moment(row.dropped_at_s)}`)), make("td", { class: "small soft" }, row.worked_at_s ? `${span(nowS - row.worked_at_s)} ago` : "never"))));
  find("#domains-empty").hidden = rows.length > 0;
}

function show() {
  if (!isLoaded) return;
  showConnections();
  showAlarms();
  showDomains();
  showVerdict();
}

function takeSnapshot(data) {
  for (const [held, rows, key] of [[connections, data.connections, "id"], [domains, data.domains, "name"], [alarms, data.alarms, "id"], [captures, data.captures, "id"]]) {
    held.clear();
    for (const row of rows) held.set(row[key], row);
  }
  isLoaded = true;
  showCaptures();
  show();
}

function takeTelemetry(data) {
  for (const [key, row] of Object.entries(data)) {
    if (key.startsWith("domain:")) domains.set(row.name, row);
    else if (connections.has(row.id)) connections.set(row.id, row);
  }
}

function takeEvent(event, data) {
  if (event === "connection_changed") {
    if (data.connection.state === "gone") connections.delete(data.connection.id);
    else connections.set(data.connection.id, data.connection);
  } else if (event === "alarm_changed") alarms.set(data.alarm.id, data.alarm);
  else if (event === "capture_changed") captures.set(data.capture.id, data.capture);
  else if (event === "capture_removed") captures.delete(data.id);
  else if (event === "telemetry") takeTelemetry(data);
  if (event.startsWith("capture")) showCaptures();
  show();
}

async function search(event) {
  event?.preventDefault();
  const text = find("#search").value.trim();
  found = null;
  find("#failure").replaceChildren();
  if (text) {
    const name = ADDRESS.test(text) ? "address" : "token";
    try {
      const least = find("#least").value;
      found = (await searchConnections({ [name]: text, state: find("#state").value, min_subflows: least === "1" ? "" : least, page_size: 200 })).results;
    } catch (error) {
      failed(failureWords(error));
      return;
    }
  }
  show();
}

find("#filters").addEventListener("submit", search);
find("#filters").addEventListener("reset", () => setTimeout(search));
for (const name of ["#state", "#least"]) find(name).addEventListener("change", () => search());
/** Tell how a change ended, in the panel where it was made. */
const sayIn = (selector) => (said, level) => find(selector).replaceChildren(make("p", { class: "notice", "data-level": level, role: level === "error" ? "alert" : "status" }, level === "error" ? failureWords(said) : said));

const nowS = () => (stream ? stream.nowS() : Date.now() / 1000);
new SensorTable(canOperate, nowS, sayIn("#sensors-said"));
new CollectorTable(canOperate, nowS, sayIn("#collectors-said"));
stream = openLive((made) => {
  stream = made;
  made.subscribe("mptcp", takeSnapshot, takeEvent, (error) => failed(error.message));
});
setInterval(show, 1000);
addEventListener("livechange", show);
