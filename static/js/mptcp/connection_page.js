// One connection: its subflows in the picture and in tables, why they belong together, and what was decided about it.

import { find, make, setData, setState, setText, stateChip } from "../dom.js";
import { clock, clockFine, moment, percent, span } from "../format.js";
import { openLive } from "../live_status.js";
import { failureWords } from "../rest.js";
import { showOpen } from "./alarms.js";
import { picture } from "./api.js";
import { busierSide, showPicture, subflowsOf } from "./picture.js";
import { chance, confidence, connectionChip, count, evidenceWords, isHard, many, seriesMark } from "./words.js";
import { VerdictControls } from "./verdicts.js";

const PICTURE_EVERY_MS = 3000;
const canOperate = find("#connection").dataset.canOperate === "true";
const id = Number(find("#connection").dataset.id);
let connection = null;
let figure = { data: [], layout: { yaxis: {} } };
let side = null;
let stream = null;
let pictureAtMs = 0;
let pictureTimer = null;

const end = (address, port) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
const failed = (error) => find("#failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, failureWords(error)));

function card(name, figureText, words) {
  return make("div", { class: "figure-card", "data-figure": name }, make("span", { class: "small soft" }, name), make("span", { class: "big number" }, figureText), make("span", { class: "small soft" }, words));
}

function coverageCard(share, from, to) {
  const words = share === null ? "not known yet" : share > 1.5 ? "more than it carried: a merge may be false" : share > 1.05 ? "some bytes were sent again on another subflow" : share < 0.95 ? "some siblings are not seen here" : "of its bytes pass here";
  return card(`Coverage ${from} → ${to}`, percent(share), words);
}

/** Who the two ends are: side 0 runs from a to b of the lower end first. */
function ends() {
  const first = connection.subflows[0];
  return first ? [first.a, first.b] : ["a", "b"];
}

function showFigures() {
  const [a, b] = ends();
  const hard = connection.evidence.filter((row) => isHard(row.kind)).length;
  find("#figures").replaceChildren(
    card("Subflows", String(connection.subflow_count), `${connection.subflows.filter((row) => row.state === "active").length} active`),
    card("Confidence", connection.subflow_count > 1 ? confidence(connection.confidence) : "–", connection.subflow_count > 1 ? `${hard} of ${connection.evidence.length} by hard evidence` : "one subflow so far"),
    coverageCard(connection.coverage_ab, a, b), coverageCard(connection.coverage_ba, b, a),
    card("Tokens", connection.tokens.join(" ") || "–", connection.tokens.length ? "named by joins; see ss -M" : "none was seen"));
}

const markIndex = (subflow) => Math.max(0, connection.subflows.findIndex((row) => row.id === subflow));

function subflowName(subflow) {
  const row = connection.subflows.find((each) => each.id === subflow);
  if (!row) return make("span", null, "a subflow that is gone");
  const isTurned = row.is_a_client === false;
  const [from, to] = isTurned ? [end(row.b, row.b_port), end(row.a, row.a_port)] : [end(row.a, row.a_port), end(row.b, row.b_port)];
  return make("span", { class: "ends number" }, make("span", null, seriesMark(markIndex(subflow)), ` ${from}`), make("span", { class: "small" }, `${row.is_a_client === null ? "↔" : "→"} ${to}`));
}

const SUBFLOW_STATES = { active: "live", idle: "unknown", closed: "queued" };

function showSubflows() {
  find("#subflows").replaceChildren(...connection.subflows.map((row) => make("tr", { "data-subflow": row.id },
    make("th", { scope: "row" }, subflowName(row.id)), make("td", null, connection.is_blocked ? stateChip("alarm", "blocked") : stateChip(SUBFLOW_STATES[row.state] ?? "unknown", row.state)),
    make("td", { class: "figure" }, count(row.packet_count)), make("td", null, row.seen_by.join(", ") || "–"), make("td", { class: "small" }, moment(row.first_s)), make("td", { class: "small" }, clockFine(row.last_s)))));
}

function showEvidence() {
  find("#evidence").replaceChildren(...connection.evidence.map((row) => make("tr", { "data-evidence": row.kind },
    make("th", { scope: "row" }, subflowName(row.subflow)), make("td", null, make("span", { class: "tag" }, `${isHard(row.kind) ? "◆ hard:" : "◇"} ${evidenceWords(row.kind)}`)),
    make("td", { class: "evidence-words" }, row.words), make("td", { class: "figure" }, chance(row.false_probability)), make("td", { class: "small" }, clock(row.at_s)))));
  find("#evidence-empty").hidden = connection.evidence.length > 0;
}

function showVerdict() {
  const holder = find("#verdict");
  const isOld = stream?.state === "stale";
  const lasted = span(connection.last_s - connection.first_s);
  const chip = connection.is_blocked ? ["alarm", "blocked"] : connection.state === "gone" ? ["unknown", "merged"] : connectionChip(connection.state);
  setData(holder, "state", isOld ? "unknown" : connection.is_blocked || connection.alarms.some((alarm) => alarm.acknowledged_at_s === null) ? "down" : connection.state === "active" ? "up" : "unknown");
  setState(find(".state", holder), ...(isOld ? ["stale", "stale"] : chip));
  const words = connection.state === "gone" ? "This connection turned out to be part of another one." : `${connection.client} → ${connection.server}, ${many(connection.subflow_count, "subflow")}, seen for ${lasted}.`;
  setText(find(".verdict-words", holder), isOld ? `When last heard, at ${clock(stream.sinceMs / 1000)}: ${words}` : words);
  setText(find(".total", holder), connection.is_blockable ? "evidence is strong enough to block" : "evidence is weak");
}

const showAlarms = () => showOpen(find("#alarms"), connection.alarms, { canOperate, isLinked: false, onFail: failed });

function showSides() {
  const [a, b] = ends();
  const [up, down] = find("#side").options;
  setText(up, `${a} → ${b}`);
  setText(down, `${b} → ${a}`);
}

/** The same mark for a subflow in picture and tables: the figure's order follows the tables'. */
function paint() {
  if (!connection) return;
  const known = new Set(subflowsOf(figure));
  const order = connection.subflows.map((row) => row.id).filter((subflow) => known.has(subflow));
  const rank = (trace) => order.indexOf(trace.meta.subflow);
  const ordered = { ...figure, data: [...figure.data].sort((one, other) => rank(one) - rank(other)) };
  if (side === null && figure.data.length) find("#side").value = String((side = busierSide(figure)));
  showPicture(find("#picture"), find("#picture-legend"), ordered, side ?? 0);
}

async function loadPicture() {
  pictureTimer = null;
  pictureAtMs = Date.now();
  try {
    figure = await picture(id);
    paint();
  } catch (error) {
    if (error.status !== 404) failed(error);
  }
}

/** The picture follows, but not each packet: at most every few seconds, and only while somebody looks. */
function pictureSoon() {
  if (pictureTimer !== null || document.visibilityState === "hidden") return;
  pictureTimer = setTimeout(loadPicture, Math.max(0, pictureAtMs + PICTURE_EVERY_MS - Date.now()));
}

function show() {
  if (!connection) return;
  showVerdict();
  showFigures();
  showSubflows();
  showEvidence();
  showAlarms();
  showSides();
  controls.show(connection);
}

function take(fresh) {
  if (!fresh) return;
  connection = fresh;
  if (connection.state === "gone" && connection.merged_into) {
    location.replace(`/mptcp/connections/${connection.merged_into}/`);
    return;
  }
  show();
  pictureSoon();
}

function takeEvent(event, data) {
  if (event === "connection_changed") take(data.connection);
  else if (event === "telemetry" && data.counters && connection) take({ ...connection, ...data.counters });
}

const controls = new VerdictControls(canOperate, failed);
find("#side").addEventListener("change", (event) => {
  side = Number(event.target.value);
  paint();
});
addEventListener("themechange", () => {
  show();
  paint();
});
stream = openLive((made) => {
  stream = made;
  made.subscribe(`mptcp_connection:${id}`, (data) => take(data.connection), takeEvent, (error) => find("#failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, error.message)));
});
addEventListener("livechange", () => connection && showVerdict());
