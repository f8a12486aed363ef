// The list of chains: state first, kept by the live stream.

import { find, make, setData, setState, setText, stateChip } from "../dom.js";
import { clock, moment } from "../format.js";
import { openLive } from "../live_status.js";
import { failureWords } from "../rest.js";
import { chainImport } from "./api.js";
import { chainState, duration, packetRate, targetOf } from "./words.js";

const canOperate = find("#chain-list").dataset.canOperate === "true";
const STALE_AFTER_S = 5;
const ORDER = ["failed", "applying", "pending", "live", "planned", "draft", "removed"];
const chains = new Map();
let stream = null;
let isLoaded = false;

const isFresh = (row, nowS) => row.status === "live" && row.at_s !== null && nowS - row.at_s <= STALE_AFTER_S;

function sloOf(row, nowS) {
  if (row.slo_state === "missed") return ["failed", `misses ${targetOf(row.slo_p99_ms)}`];
  if (row.slo_p99_ms === null) return ["unknown", "no target"];
  return row.slo_state === "met" && isFresh(row, nowS) ? ["ok", `within ${targetOf(row.slo_p99_ms)}`] : ["unknown", targetOf(row.slo_p99_ms)];
}

function rowOf(row) {
  return make("tr", { class: "chain-row", "data-chain": row.name },
    make("th", { scope: "row" }, make("a", { class: "chain-name", href: `/chains/${row.name}/` }, make("strong"), make("code", { class: "small soft" }, row.name))),
    make("td", null, stateChip("unknown")), make("td", null, stateChip("unknown")), make("td", { class: "figure" }), make("td", { class: "figure" }), make("td", { class: "figure" }), make("td"), make("td"), make("td", { class: "small soft" }));
}

/** Rows that need a look come first, then by state and name. */
function sorted() {
  const rank = (row) => (row.slo_state === "missed" || row.alarm_count ? -1 : 0) * 10 + ORDER.indexOf(row.status);
  return [...chains.values()].sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
}

function updateRow(element, row, nowS) {
  const fresh = isFresh(row, nowS);
  const [, state, slo, p50, p99, rate, alarms, nfs, changed] = element.cells;
  setText(find("strong", element), row.title || row.name);
  const chip = row.status === "live" && !fresh ? ["stale", "live, no measurement"] : chainState(row.status);
  setState(find(".state", state), ...chip);
  setState(find(".state", slo), ...sloOf(row, nowS));
  setText(p50, fresh ? duration(row.latency_us_p50) : "–");
  setText(p99, fresh ? duration(row.latency_us_p99) : "–");
  setText(rate, fresh ? packetRate(row.measured_pps) : `planned ${packetRate(row.rate_pps)}`);
  setText(alarms, row.alarm_count ? `▲ ${row.alarm_count}` : "none");
  setText(nfs, row.nf_types.join(" → "));
  setText(changed, `v${row.version}, ${moment(Date.parse(row.updated_at) / 1000)}${row.updated_by ? ` by ${row.updated_by}` : ""}`);
  setData(element, "state", row.slo_state === "missed" || row.status === "failed" ? "down" : "well");
}

function verdict(rows, nowS) {
  const live = rows.filter((row) => row.status === "live");
  const missed = rows.filter((row) => row.slo_state === "missed");
  const failed = rows.filter((row) => row.status === "failed");
  const alarmed = rows.filter((row) => row.alarm_count > 0 && !missed.includes(row));
  const silent = live.filter((row) => !isFresh(row, nowS));
  const words = [
    ...missed.map((row) => `${row.name} misses its p99 target`), ...failed.map((row) => `the last change of ${row.name} failed`),
    ...alarmed.map((row) => `${row.name} has ${row.alarm_count} alarm${row.alarm_count > 1 ? "s" : ""}`), ...silent.map((row) => `no measurement of ${row.name}`),
  ];
  const summary = `${live.length} of ${rows.length} chains live.`;
  if (missed.length || failed.length) return { state: "down", chip: ["failed", "needs a look"], words: `${words.join("; ")}. ${summary}` };
  if (words.length) return { state: "degraded", chip: ["degraded", "needs a look"], words: `${words.join("; ")}. ${summary}` };
  return live.length ? { state: "up", chip: ["up", "all well"], words: summary } : { state: "unknown", chip: ["unknown", "nothing live"], words: rows.length ? `${summary}${canOperate ? " Open one to plan and apply it." : ""}` : "No chain is drawn yet." };
}

function showVerdict(rows, nowS) {
  const holder = find("#verdict");
  const isOld = stream.state === "stale";
  const { state, chip, words } = verdict(rows, nowS);
  setData(holder, "state", isOld ? "unknown" : state);
  setState(find(".state", holder), ...(isOld ? ["stale", "stale"] : chip));
  setText(find(".verdict-words", holder), isOld ? `When last heard, at ${clock(stream.sinceMs / 1000)}: ${words}` : words);
  const total = rows.reduce((sum, row) => sum + (isFresh(row, nowS) ? row.measured_pps ?? 0 : 0), 0);
  setText(find(".total", holder), total && !isOld ? packetRate(total) : "");
}

function show() {
  if (!isLoaded) return;
  const nowS = stream.state === "stale" ? Infinity : stream.nowS();
  const body = find("#chains");
  const rows = sorted();
  rows.forEach((row, index) => {
    const element = find(`[data-chain="${CSS.escape(row.name)}"]`, body) ?? rowOf(row);
    if (body.rows[index] !== element) body.insertBefore(element, body.rows[index] ?? null);
    updateRow(element, row, nowS);
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  find("#chains-loading").hidden = true;
  find("#chains-empty").hidden = rows.length > 0;
  showVerdict(rows, nowS);
}

function takeSnapshot(data) {
  chains.clear();
  for (const row of data.chains ?? []) chains.set(row.name, row);
  isLoaded = true;
  show();
}

function takeEvent(event, data) {
  if (event === "chain_changed") chains.set(data.chain.name, data.chain);
  else if (event === "chain_removed") chains.delete(data.name);
  else if (event === "telemetry") for (const [name, rate] of Object.entries(data)) if (chains.has(name)) chains.set(name, { ...chains.get(name), ...rate });
  show();
}

function importFailed(error) {
  const rows = (error.problem?.errors ?? []).map((each) => make("li", { "data-line": each.line ?? error.problem.line }, each.line ? `line ${each.line}: ` : "", make("code", null, each.field || "file"), ` ${each.limit}`));
  find("#import-failure").replaceChildren(make("div", { class: "notice", "data-level": "error" }, stateChip("error", "not imported"), rows.length ? make("ul", { class: "errorlist" }, ...rows) : make("span", null, failureWords(error))));
}

async function runImport(isCheck) {
  const text = find("#import-text").value;
  find("#import-failure").replaceChildren();
  try {
    const chain = await chainImport(isCheck ? { text, dry_run: true } : { text });
    if (!isCheck) location.assign(`/chains/${encodeURIComponent(chain.name)}/`);
    else find("#import-failure").replaceChildren(make("div", { class: "notice", "data-level": "ok" }, stateChip("ok", "valid"), make("span", null, `${chain.name}: ${chain.nfs.map((nf) => nf.name).join(" → ")}`)));
  } catch (error) {
    importFailed(error);
  }
}

function wireImport() {
  const dialog = find("#import");
  find("#import-open").addEventListener("click", () => dialog.showModal());
  find("#import-close").addEventListener("click", () => dialog.close());
  find("#import-check").addEventListener("click", () => runImport(true));
  find("#import-file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) find("#import-text").value = await file.text();
  });
  find("form", dialog).addEventListener("submit", (event) => {
    event.preventDefault();
    runImport(false);
  });
}

stream = openLive((made) => {
  stream = made;
  made.subscribe("chains", takeSnapshot, takeEvent, (error) => find("#failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, error.message)));
});
if (canOperate) wireImport();
setInterval(show, 1000);
addEventListener("livechange", show);
