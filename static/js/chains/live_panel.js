// What a live chain does now: prediction against measurement, counters per hop, alarms, devices, one traced packet.

import { find, make, setData, setState, setText, stateChip } from "../dom.js";
import { clock, clockFine, iso, span } from "../format.js";
import { graphIn } from "./graph.js";
import { leavesOf } from "./layout.js";
import { nfWordsOf, sloChip } from "./proposal.js";
import { chainState, change, count, duration, nfNameOf, packetRate, predicted, targetOf } from "./words.js";

const COUNTERS = ["in", "out", "drop", "copy", "merge", "timeout", "lost", "late", "conflict"];
const BAD_COUNTERS = new Set(["timeout", "lost", "late", "conflict"]);
const ALARMS = { slo: "p99 above its target", undeclared_write: "Undeclared write", drift: "Measured is far from predicted", nf_restarted: "Network function restarted" };

/** The one line an operator reads first. */
export function verdictOf(model, nowS, isStreamStale) {
  const { chain, newest, livePlan } = model;
  if (!chain) return { state: "unknown", chip: ["connecting", "loading"], words: "Waiting for the state of the chain …" };
  const chip = chainState(model.status);
  const target = chain.slo_p99_ms;
  if (!model.isLive) {
    const words = { draft: "Drawn, not planned yet. No packet takes it.", planned: "Planned, not applied. No packet takes it.", removed: "Taken off the devices. No packet takes it.", failed: "The last change failed. No packet takes it.", pending: "About to be applied.", applying: "Being applied to the devices." };
    return { state: model.status === "failed" ? "down" : "unknown", chip, words: `${words[model.status] ?? ""} ${model.deployment?.error ?? ""}`.trim() };
  }
  const where = `epoch ${model.deployment?.epoch ?? "–"} of plan ${livePlan.id} on ${livePlan.servers.join(", ")}`;
  if (isStreamStale || !model.isFresh(nowS)) {
    const when = newest ? `last measured at ${clock(newest.at_s)}` : "nothing measured yet";
    return { state: "unknown", chip: ["stale", "no measurement"], words: `Live, ${where}; ${when}.` };
  }
  const { flow } = model;
  if (flow && flow.in > 0 && flow.out <= 0) {
    const late = flow.timedOut > 0 ? `; ${count(flow.timedOut)} were given up by the classifier because they took too long` : "";
    return { state: "down", chip: ["failed", "no packet comes out"], words: `${count(flow.in)} packets went in during the last second, none came out${late}; ${where}.` };
  }
  const open = model.openAlarms.length;
  const isMissed = typeof target === "number" && newest.latency_us_p99 !== null && newest.latency_us_p99 > target * 1000;
  const state = isMissed ? "down" : open ? "degraded" : "up";
  return { state, chip: isMissed ? ["failed", "misses its target"] : open ? ["degraded", `live, ${open} alarm${open > 1 ? "s" : ""}`] : chip, words: `p99 ${duration(newest.latency_us_p99)} of ${targetOf(target)}; ${where}.` };
}

export function showVerdict(holder, verdict, rateWords) {
  setData(holder, "state", verdict.state);
  setState(find(".state", holder), ...verdict.chip);
  setText(find(".verdict-words", holder), verdict.words);
  setText(find(".total", holder), rateWords);
}

/** Open alarms, each with what it is, since when, and what is known of it. */
export function showAlarms(holder, alarms) {
  const key = JSON.stringify(alarms);
  if (holder.alarmsKey === key) return;
  holder.alarmsKey = key;
  holder.replaceChildren(...alarms.map((alarm) => make("div", { class: "alarm", "data-alarm": alarm.kind, "data-id": alarm.id, "data-restored": alarm.kind === "drift" ? "true" : null },
    make("span", { "aria-hidden": true, class: "alarm-symbol" }, "▲"),
    make("div", { class: "alarm-text" }, make("strong", null, ALARMS[alarm.kind] ?? alarm.kind.replaceAll("_", " ")), make("div", { class: "alarm-detail" }, `${alarm.message.replace(/[.]?$/, ".")} Since ${clock(alarm.raised_at_s)}.`)))));
}

function measuredRow(words, predictedUs, measuredUs, extra = null) {
  return make("tr", null, make("th", { scope: "row" }, words), make("td", { class: "figure" }, predicted(predictedUs)), make("td", { class: "figure", "data-measured": words }, duration(measuredUs)), make("td", { class: "figure" }, change(predictedUs, measuredUs) || "–"), make("td", null, extra));
}

/** Prediction against measurement. */
export function showMeasured(holder, model, nowS) {
  const { livePlan, newest, chain } = model;
  if (!livePlan) return;
  const isFresh = model.isFresh(nowS);
  const now = isFresh ? newest : {};
  const key = JSON.stringify([livePlan.id, now, chain.slo_p99_ms]);
  if (holder.measuredKey === key) return;
  holder.measuredKey = key;
  const slo = typeof now.latency_us_p99 === "number" ? stateChip(...sloChip(now.latency_us_p99, chain.slo_p99_ms === null ? null : chain.slo_p99_ms * 1000)) : null;
  find("tbody", holder).replaceChildren(
    measuredRow("p50", livePlan.prediction.p50_us, now.latency_us_p50),
    measuredRow("p99", livePlan.prediction.p99_us, now.latency_us_p99, slo),
    make("tr", null, make("th", { scope: "row" }, "rate"), make("td", { class: "figure" }, packetRate(livePlan.rate_pps)), make("td", { class: "figure" }, packetRate(now.rate_pps)), make("td", { class: "figure" }, change(livePlan.rate_pps, now.rate_pps) || "–"), make("td")));
}

const hopName = (hop) => (hop.kind === "nf" ? nfNameOf(hop.nf) || "network function" : hop.kind ?? "–");

/** The classifier's own counters, as a hop: where packets come in, wait for the whole chain, and leave in order. */
function classifierHop({ newest, deployment }) {
  if (!newest?.counters || newest.epoch !== deployment?.epoch) return null;
  const { in: into, out, dropped, timed_out: timeout, in_flight: queue } = newest.counters;
  const device = Object.keys(deployment.devices ?? {}).find((name) => !(deployment.servers ?? []).includes(name));
  return { operator: "", kind: "classifier", device, in: into, out, drop: dropped, timeout, queue, latency_us_p50: newest.latency_us_p50, latency_us_p99: newest.latency_us_p99 };
}

/** Counters per hop since the epoch began, latencies of the last second. */
export function showHops(body, model, nowS) {
  const classifier = classifierHop(model);
  const rows = classifier ? [classifier, ...model.hops] : model.hops;
  const key = JSON.stringify(rows);
  const newest = Math.max(...model.hops.map((hop) => hop.at_s ?? 0), 0);
  const isOld = model.hops.length > 0 && nowS - newest > 5;
  setText(find("#hops-stale"), isOld ? `Stale: counted ${span(nowS - newest)} ago, at ${clock(newest)}.` : "");
  find("#hops-stale").hidden = !isOld;
  if (body.hopsKey === key) return;
  body.hopsKey = key;
  find("#hops-empty").hidden = rows.length > 0;
  body.replaceChildren(...rows.map((hop) => make("tr", { "data-operator": hop.operator },
    make("th", { scope: "row" }, hop === classifier ? "whole chain, all epochs" : `${hop.operator} ${hopName(hop)}`), make("td", null, hop.kind ?? "–"), make("td", null, hop.device ?? "–"),
    ...COUNTERS.map((name) => make("td", { class: "figure", "data-counter": name, "data-bad": BAD_COUNTERS.has(name) && hop[name] > 0 }, count(hop[name]))),
    make("td", { class: "figure" }, duration(hop.latency_us_p50)), make("td", { class: "figure" }, duration(hop.latency_us_p99)), make("td", { class: "figure" }, count(hop.queue)))));
}

const TOLD = [["held_packets", (value) => `${count(value)} packets held`], ["waited_ms", (value) => `waited ${value} ms`], ["lost", (value) => `${count(value)} lost`]];
const toldWords = (told) => TOLD.filter(([name]) => typeof told?.[name] === "number").map(([name, words]) => words(told[name])).join(", ");

/** Where the deployment stands, device by device. */
export function showDeployment(holder, deployment) {
  const key = JSON.stringify(deployment);
  if (holder.deploymentKey === key) return;
  holder.deploymentKey = key;
  if (!deployment) {
    holder.replaceChildren(make("p", { class: "empty" }, "Never applied."));
    return;
  }
  const devices = Object.entries(deployment.devices ?? {});
  const told = toldWords(deployment.told);
  holder.replaceChildren(
    make("p", null, stateChip(...chainState(deployment.status)), ` epoch ${deployment.epoch}, plan ${deployment.plan}, ${deployment.reason || `by ${deployment.created_by || "the portal"}`}`, deployment.live_at ? make("span", null, ", live since ", make("time", { datetime: deployment.live_at }, clock(Date.parse(deployment.live_at) / 1000))) : null),
    deployment.error ? make("p", { class: "notice", "data-level": "error" }, deployment.error) : "",
    told ? make("p", { class: "small soft" }, `The switch of epochs: ${told}.`) : "",
    devices.length ? make("ul", { class: "device-list" }, ...devices.map(([name, facts]) => make("li", { "data-device": name },
      make("strong", null, name), stateChip(...deviceChip(facts)), make("span", { class: "small soft" }, facts.error || `revision ${facts.revision}`)))) : make("p", { class: "small soft" }, `On ${(deployment.servers ?? []).join(", ")}.`));
}

/** A device has not answered yet while ok is null. */
function deviceChip({ ok }) {
  if (ok === null || ok === undefined) return ["running", "waiting"];
  return ok ? ["ok", "applied"] : ["failed", "refused"];
}

const FATES = { passed: "passed on", released: "released" };
const isDropped = (hop) => /^drop/.test(hop.fate ?? "");

/** Draw the way of one packet in the graph and list its hops. */
export function showTrace(holder, graphHolder, { trace, traceEpoch, livePlan, deployment }) {
  const isOld = traceEpoch !== (deployment?.epoch ?? null);
  const key = JSON.stringify([trace, isOld, livePlan?.id]);
  if (holder.traceKey === key) return;
  holder.traceKey = key;
  holder.hidden = !trace;
  if (!trace || !livePlan) return;
  const leaves = leavesOf(livePlan.root);
  const indexOf = (hop) => leaves.find((leaf) => leaf.name === nfNameOf(hop.nf))?.index;
  const sorted = [...trace.hops].sort((one, other) => (one.at_us ?? Infinity) - (other.at_us ?? Infinity));
  const start = sorted[0]?.at_us ?? 0;
  const met = sorted.filter((hop) => hop.kind === "nf").map(indexOf).filter((index) => index !== undefined);
  const dropped = sorted.find((hop) => hop.kind === "nf" && isDropped(hop));
  graphIn(graphHolder).markPath(isOld ? [] : met, dropped && !isOld ? indexOf(dropped) : null);
  setText(find(".trace-words", holder), `Packet ${trace.packet_id ?? "–"}, traced at ${clockFine(trace.at_s)}: ${sorted.length} hops${dropped ? `, dropped by ${hopName(dropped)}` : ""}.${isOld ? ` It took epoch ${traceEpoch}, which is not the one that is live.` : ""}`);
  find("tbody", holder).replaceChildren(...sorted.map((hop, index) => make("tr", null,
    make("td", { class: "figure" }, String(index + 1)), make("th", { scope: "row" }, hopName(hop)), make("td", null, hop.kind), make("td", null, hop.server ?? "–"),
    make("td", { class: "figure" }, typeof hop.at_us === "number" ? `+${duration(hop.at_us - start)}` : "–"), make("td", { class: "figure" }, duration(hop.took_us)),
    make("td", null, isDropped(hop) ? stateChip("failed", "dropped") : FATES[hop.fate] ?? hop.fate ?? "–"))));
}

/** The graph of the live plan; network functions with an alarm are marked. */
export function showLiveGraph(holder, model) {
  if (!model.livePlan) return;
  const leaves = leavesOf(model.livePlan.root);
  const named = new Set(model.openAlarms.map((alarm) => nfNameOf(alarm.data?.nf)));
  const alarmed = leaves.filter((leaf) => named.has(leaf.name)).map((leaf) => leaf.index);
  const graph = graphIn(holder, { label: "Live chain" });
  graph.nfWords = nfWordsOf(model.livePlan);
  graph.show(model.livePlan.root, { alarmed });
}

export const timeOf = (isoText) => make("time", { datetime: isoText }, clock(Date.parse(isoText) / 1000));
export const timeOfSeconds = (atS) => make("time", { datetime: iso(atS) }, clock(atS));
