// What the planner proposes: the figures first, then the picture, then the proof.

import { find, make, stateChip } from "../dom.js";
import { percent } from "../format.js";
import { forgetGraph, graphIn } from "./graph.js";
import { leavesOf } from "./layout.js";
import { showObligations } from "./pairs.js";
import { bytes, change, duration, infeasibleWords, packetRate, predicted } from "./words.js";

const us = (ms) => (typeof ms === "number" ? ms * 1000 : null);

/** The target of a plan, microseconds; plans carry it themselves. */
export const targetUs = (plan, draft) => plan.slo_p99_us ?? us(draft?.slo_p99_ms ?? null);

/** Whether the p99 meets the target: [state, words]. */
export function sloChip(p99Us, target) {
  if (typeof p99Us !== "number") return ["failed", "overloaded"];
  if (typeof target !== "number") return ["unknown", "no p99 target"];
  return p99Us <= target ? ["ok", `within ${duration(target)}`] : ["failed", `misses ${duration(target)}`];
}

function figure(words, value, detail, name) {
  return make("div", { class: "key-figure", "data-figure": name }, make("span", { class: "small soft" }, words), make("span", { class: "big number" }, value), make("span", { class: "small" }, detail));
}

function keyFigures(plan, target) {
  const { prediction, sequential } = plan;
  const versus = (name) => {
    const words = change(sequential[name], prediction[name]);
    return `${words && !words.startsWith("±") ? `${words} against` : "as"} sequential ${predicted(sequential[name])}`;
  };
  const [state, words] = sloChip(prediction.p99_us, target);
  return make("div", { class: "key-figures" },
    figure("predicted p50", predicted(prediction.p50_us), versus("p50_us"), "p50"),
    figure("predicted p99", predicted(prediction.p99_us), versus("p99_us"), "p99"),
    make("div", { class: "key-figure" }, make("span", { class: "small soft" }, "p99 target"), stateChip(state, words)),
    figure("servers crossed", String(prediction.servers_crossed ?? "–"), `sequential: ${sequential.servers_crossed ?? "–"}`, "servers"));
}

const COMPARED = [
  ["p50", "p50_us", predicted], ["p99", "p99_us", predicted], ["mean", "mean_us", predicted],
  ["bytes on the wire per packet", "wire_bytes_per_packet", bytes], ["bytes copied per packet", "copied_bytes_per_packet", bytes],
  ["processor time per packet", "cpu_us_per_packet", duration], ["servers crossed", "servers_crossed", String],
];

function comparison(plan) {
  const rows = COMPARED.map(([words, name, show]) => make("tr", null, make("th", { scope: "row" }, words), make("td", { class: "figure" }, show(plan.sequential[name])),
    make("td", { class: "figure" }, show(plan.prediction[name])), make("td", { class: "figure" }, change(plan.sequential[name], plan.prediction[name]) || "–")));
  return make("div", { class: "table-box" }, make("table", { class: "comparison" },
    make("thead", null, make("tr", null, make("th", null, "predicted"), ...["sequential", "this plan", "change"].map((word) => make("th", { class: "figure" }, word)))), make("tbody", null, ...rows)));
}

function stages(prediction) {
  const rows = prediction.stages.map((stage) => make("tr", null, make("th", { scope: "row" }, stage.label), make("td", { class: "figure" }, predicted(stage.mean_us)), make("td", { class: "figure" }, stage.utilization ? percent(stage.utilization) : "–")));
  return make("details", null, make("summary", null, `Time in each of ${rows.length} stages`), make("div", { class: "table-box" }, make("table", null,
    make("thead", null, make("tr", null, make("th", null, "stage"), make("th", { class: "figure" }, "mean time"), make("th", { class: "figure" }, "utilisation"))), make("tbody", null, ...rows))));
}

function constants(plan) {
  const rows = Object.entries(plan.constants ?? {}).map(([name, value]) => make("tr", null, make("th", { scope: "row" }, make("code", null, name)), make("td", { class: "figure" }, String(value))));
  return make("details", null, make("summary", null, "Constants that the prediction used"), make("div", { class: "table-box" }, make("table", null, make("tbody", null, ...rows))));
}

function optimality(plan) {
  if (plan.is_optimal) return "The search was exhaustive: no other plan is predicted to be faster.";
  return typeof plan.gap_ratio === "number" ? `The search was not exhaustive: a better plan could be at most ${percent(plan.gap_ratio)} faster.` : "The search was not exhaustive.";
}

/** Names of a plan's network functions in chain order. */
export function namesOf(plan) {
  const names = [];
  for (const leaf of leavesOf(plan.root)) names[leaf.index] = leaf.name;
  return names;
}

/** What to say of each network function of a plan: where it runs, and beside which others and why. */
export function nfWordsOf(plan) {
  const leaves = new Map(leavesOf(plan.root).map((leaf) => [leaf.index, leaf]));
  return (index) => {
    const leaf = leaves.get(index);
    if (!leaf) return "";
    const beside = plan.obligations.filter((pair) => pair.first === index || pair.second === index)
      .map((pair) => `beside ${leaves.get(pair.first === index ? pair.second : pair.first)?.name}: ${pair.reason}`);
    return `${leaf.name} on ${leaf.server}${beside.length ? `; ${beside.join(" ")}` : "; nothing runs beside it"}`;
  };
}

/** Show a plan in the parts of its panel; marks light network functions up in the graph. */
export function showPlan(holder, plan, { draft = null, marks = {} } = {}) {
  const parts = partsOf(holder);
  const target = targetUs(plan, draft);
  const graph = graphIn(parts.graph);
  graph.nfWords = nfWordsOf(plan);
  graph.show(plan.root, marks);
  const key = JSON.stringify(plan);
  if (holder.planKey === `${key}${target}`) return;
  holder.planKey = `${key}${target}`;
  const mark = (pair) => graph.markPair(pair?.first, pair?.second);
  parts.figures.replaceChildren(keyFigures(plan, target));
  showObligations(parts.proof, plan.obligations, namesOf(plan), mark);
  parts.proof.append(make("p", { class: "small soft" }, optimality(plan)));
  const rate = packetRate(plan.rate_pps ?? draft?.rate_pps);
  parts.details.replaceChildren(
    make("details", null, make("summary", null, `Sequential against this plan, at ${rate}`), comparison(plan)), stages(plan.prediction), constants(plan));
}

function partsOf(holder) {
  const part = (name) => find(`[data-part="${name}"]`, holder);
  return { figures: part("figures"), graph: part("graph"), proof: part("proof"), details: part("details") };
}

/** Show why there is no plan, plainly, and the best plan without that limit where there is one. */
export function showInfeasible(holder, answer, options) {
  const words = make("div", { class: "notice", "data-level": "error", "data-infeasible": answer.reason }, stateChip("failed", infeasibleWords(answer.reason)), make("span", null, answer.witness));
  if (answer.best) {
    showPlan(holder, answer.best, options);
    holder.planKey = "";
    words.append(make("p", { class: "small" }, "Below: the best plan without that limit. It cannot be applied."));
  } else {
    clearPlan(holder, "There is no plan to draw.");
  }
  partsOf(holder).figures.prepend(words);
}

export function clearPlan(holder, words) {
  const parts = partsOf(holder);
  holder.planKey = "";
  forgetGraph(parts.graph, words);
  for (const name of ["figures", "proof", "details"]) parts[name].replaceChildren();
}
