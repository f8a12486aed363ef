// One capture: how far its reading is, then its connections and the picture of the largest.

import { find, make, setData, setState, setText, stateChip } from "../dom.js";
import { moment, span } from "../format.js";
import { openLive } from "../live_status.js";
import { failureWords } from "../rest.js";
import { captureDelete, captureGet, connections, jobGet, measureAccuracy, nextPage, picture } from "./api.js";
import { busierSide, showPicture } from "./picture.js";
import { captureState, confidence, connectionChip, connectionLink, count, coverage, evidenceTags, many, optionWords, size } from "./words.js";

const PAGE = 100;
let capture = JSON.parse(find("#capture-data").textContent);
let rows = [];
let next = null;
let isAll = false; // those of one subflow were asked for too
let figure = null;
let isAsked = false; // for the rows: job, snapshot and event may all say "ready" before the first answer

const VERDICTS = { waiting: "unknown", reading: "unknown", ready: "up", failed: "down" };

function verdictWords() {
  const { report } = capture;
  if (capture.state === "failed") return `${capture.file_name}: ${capture.error}`;
  if (capture.state !== "ready") return "The file is being read.";
  const cut = report.is_broken ? " From somewhere on the file could not be read." : report.is_cut ? " The file ends within a packet." : "";
  const alarms = report.alarms?.length ? ` ${many(report.alarms.length, "alarm")}, see below.` : "";
  return `${many(report.multipath_count, "connection")} with several subflows, ${count(report.connection_count)} in all, from ${many(report.packet_count, "packet")}.${cut}${alarms}`;
}

function fact(name, value) {
  return value === null || value === undefined || value === "" ? [] : [make("dt", null, name), make("dd", null, value)];
}

const counted = (counts) => Object.entries(counts ?? {}).map(([kind, number]) => `${kind.replaceAll("_", " ")} ${count(number)}`).join(", ");

function showReport() {
  const { report } = capture;
  find("#report").replaceChildren(
    ...fact("Size", size(capture.size_bytes)), ...fact("Read as if seen", optionWords(capture.options)),
    ...fact("Format", report.format), ...fact("Packets", report.packet_count && count(report.packet_count)), ...fact("of them TCP", report.tcp_count && count(report.tcp_count)),
    ...fact("of them with a Multipath TCP option", report.mptcp_count !== undefined ? count(report.mptcp_count) : ""), ...fact("Looked at", report.record_count !== undefined ? count(report.record_count) : ""),
    ...fact("Begins", report.first_s ? moment(report.first_s) : ""), ...fact("Spans", report.span_s ? span(report.span_s) : ""),
    ...fact("Options cut off", report.truncated_count ? count(report.truncated_count) : ""), ...fact("Broken", counted(report.malformed)), ...fact("Passed over", counted(report.passed_over)),
    ...fact("Link layers not known", counted(report.unsupported_link_types)), ...fact("Alarms", (report.alarms ?? []).map((alarm) => alarm.words).join("; ")),
    ...fact("SHA-256", make("code", null, capture.sha256)), ...fact("Uploaded", `${moment(capture.created_at_s)}${capture.created_by ? ` by ${capture.created_by}` : ""}`));
}

function show() {
  const holder = find("#verdict");
  const isOdd = capture.report.is_broken || capture.report.alarms?.length;
  setData(holder, "state", capture.state === "ready" && isOdd ? "degraded" : VERDICTS[capture.state] ?? "unknown");
  setState(find(".state", holder), ...captureState(capture.state));
  setText(find(".verdict-words", holder), verdictWords());
  showReport();
  if (find("#measure")) find("#measure").hidden = capture.state !== "ready";
  if (capture.state === "ready" && !isAsked) load();
}

function showRows() {
  find("#connections").replaceChildren(...rows.map((row) => make("tr", { "data-connection": row.id },
    make("th", { scope: "row" }, connectionLink(row)), make("td", null, stateChip(...connectionChip(row.state))), make("td", { class: "figure" }, String(row.subflow_count)),
    make("td", { class: "figure" }, row.subflow_count > 1 ? confidence(row.confidence) : "–"), make("td", null, row.evidence_kinds.length ? evidenceTags(row.evidence_kinds) : "–"),
    make("td", { class: "figure" }, coverage(row)), make("td", { class: "tokens" }, row.tokens.join(" ") || "–"))));
  find("#found").hidden = false;
  find("#connections-empty").hidden = rows.length > 0;
  find("#more").hidden = !next && (isAll || rows.length >= capture.report.connection_count);
  setText(find("#found-count"), `${rows.length} of ${count(capture.report.connection_count)}`);
}

function take(page) {
  const known = new Set(rows.map((row) => row.id)); // those of one subflow come with a list of all
  rows = [...rows, ...page.results.filter((row) => !known.has(row.id))].sort((one, other) => other.subflow_count - one.subflow_count || other.id - one.id);
  next = page.next;
  showRows();
}

async function showLargest() {
  const [largest] = rows;
  if (!largest) return;
  figure = await picture(largest.id);
  find("#picture-panel").hidden = false;
  find("#picture-of").replaceChildren("of ", make("a", { href: `/mptcp/connections/${largest.id}/` }, `${largest.client} → ${largest.server}`));
  paint();
}

const paint = () => figure && showPicture(find("#picture"), find("#picture-legend"), figure, busierSide(figure));

function allOf() {
  isAll = true;
  return connections({ capture: capture.id, page_size: PAGE });
}

async function load() {
  isAsked = true;
  try {
    // Those that were joined are what people look for; the rest comes after them.
    const several = await connections({ capture: capture.id, min_subflows: 2, page_size: PAGE });
    take(several.results.length ? several : await allOf());
    await showLargest();
  } catch (error) {
    isAsked = rows.length > 0;
    failed(error);
  }
}

const failed = (error) => find("#failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, failureWords(error)));

function takeJob(job) {
  if (!job?.id || capture.state === "ready") return;
  const bar = find("#reading");
  bar.hidden = job.state !== "running";
  bar.value = job.progress_ratio;
  setText(find("#verdict .total"), job.state === "running" ? job.message : "");
  if (["succeeded", "failed", "cancelled"].includes(job.state)) captureGet(capture.id).then(takeCapture, failed);
}

function takeCapture(fresh) {
  if (fresh?.id !== capture.id) return;
  capture = fresh;
  show();
}

/** Measure what sampling costs on this capture; the job's page tells how far it is, the page Accuracy what came out. */
async function measure() {
  find("#measure").disabled = true;
  try {
    const job = await measureAccuracy(capture.id);
    location.assign(`/jobs/${job.id}/`);
  } catch (error) {
    find("#measure").disabled = false;
    failed(error);
  }
}

function wireDelete() {
  const dialog = find("#confirm-delete");
  find("#delete").addEventListener("click", () => dialog.showModal());
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "yes") captureDelete(capture.id).then(() => location.assign("/mptcp/"), failed);
  });
}

const more = () => (next ? nextPage(next) : allOf());
find("#more").addEventListener("click", () => more().then(take, failed));
if (find("#delete")) {
  wireDelete();
  find("#measure").addEventListener("click", measure);
}
addEventListener("themechange", paint);
show();
openLive((stream) => {
  stream.subscribe("mptcp", (data) => takeCapture(data.captures.find((row) => row.id === capture.id)), (event, data) => event === "capture_changed" && takeCapture(data.capture));
  if (capture.job && capture.state !== "ready" && capture.state !== "failed") {
    stream.subscribe(`job:${capture.job}`, (data) => takeJob(data.job), (event, data) => takeJob(data));
    jobGet(capture.job).then(takeJob, () => {});
  }
});
