// Latency in pictures: how packets are spread, each hop beside its prediction, and the last minutes.

import { baseLayout, draw, token } from "../plotting.js";
import { leavesOf } from "./layout.js";
import { nfNameOf } from "./words.js";

const binWords = (index) => (index < 10 ? `${2 ** index} µs` : index < 20 ? `${(2 ** index / 1000).toFixed(index < 14 ? 1 : 0)} ms` : `${(2 ** index / 1e6).toFixed(1)} s`);

function line(value, words, dash, colour, position) {
  return value === null || value === undefined
    ? []
    : [{ shape: { type: "line", yref: "paper", y0: 0, y1: 1, x0: value, x1: value, line: { color: colour, width: 2, dash } },
         note: { x: value, yref: "paper", y: position, yanchor: "bottom", showarrow: false, text: words, font: { size: 11, color: token("--ink") }, bgcolor: token("--surface") } }];
}

/** The last second's packets by latency, with what was predicted. */
export function showSpread(holder, newest, plan, sloMs) {
  if (!newest?.bins?.length) return false;
  const first = Math.max(0, newest.bins.findIndex((packets) => packets > 0) - 1);
  const last = newest.bins.findLastIndex((packets) => packets > 0) + 1;
  const shown = newest.bins.map((packets, index) => ({ packets, index })).slice(first, last + 1);
  const place = (us) => (typeof us === "number" && us > 0 ? Math.log2(us) - 0.5 : null);
  const layout = baseLayout();
  layout.bargap = 0.08;
  Object.assign(layout.xaxis, { tickvals: shown.map((bin) => bin.index - 0.5), ticktext: shown.map((bin) => binWords(bin.index)), title: { text: "latency through the chain" }, showgrid: false });
  Object.assign(layout.yaxis, { title: { text: "packets" }, rangemode: "tozero" });
  const lines = [...line(place(plan?.prediction.p50_us), "predicted p50", "dot", token("--accent"), 0.86), ...line(place(plan?.prediction.p99_us), "predicted p99", "dash", token("--accent"), 0.72), ...line(place(sloMs === null ? null : sloMs * 1000), "target", "solid", token("--bad"), 1)];
  layout.shapes = lines.map((each) => each.shape);
  layout.annotations = lines.map((each) => each.note);
  layout.margin.t = 22;
  draw(holder, [{ type: "bar", x: shown.map((bin) => bin.index), y: shown.map((bin) => bin.packets), marker: { color: token("--series-0"), pattern: { shape: "" } }, customdata: shown.map((bin) => `${binWords(bin.index)} to ${binWords(bin.index + 1)}`), hovertemplate: "%{customdata}: %{y} packets<extra></extra>" }], layout);
  return true;
}

/** p50 and p99 of each network function in the last second: branches of a block stand next to each other. */
export function showBranches(holder, hops, plan) {
  const rows = leavesOf(plan.root).map((leaf) => ({ leaf, hop: hops.find((hop) => hop.kind === "nf" && nfNameOf(hop.nf) === leaf.name) })).filter((row) => row.hop).reverse();
  if (!rows.length) return false;
  const isLong = rows.some((row) => row.hop.latency_us_p99 >= 10_000);
  const [scale, unit] = isLong ? [1000, "ms"] : [1, "µs"];
  const layout = baseLayout();
  Object.assign(layout, { barmode: "group", bargap: 0.3, height: 70 + rows.length * 38 });
  Object.assign(layout.yaxis, { type: "category", showgrid: false, ticksuffix: " " });
  Object.assign(layout.xaxis, { title: { text: `${unit}, last second` }, rangemode: "tozero" });
  const bar = (name, key, colour, shape) => ({ type: "bar", orientation: "h", name, y: rows.map((row) => row.leaf.name), x: rows.map((row) => (typeof row.hop[key] === "number" ? row.hop[key] / scale : null)), marker: { color: colour, pattern: { shape, bgcolor: colour, fgcolor: token("--surface"), solidity: 0.35 } }, hovertemplate: `%{y} ${name}: %{x:.4~g} ${unit}<extra></extra>` });
  draw(holder, [bar("p99", "latency_us_p99", token("--series-1"), "/"), bar("p50", "latency_us_p50", token("--series-0"), "")], layout);
  return true;
}

const stamp = (atS) => {
  const at = new Date(atS * 1000);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().replace("Z", "");
};

/** The last minutes: p50 and p99 against the target. */
export function showHistory(holder, history, sloMs) {
  if (history.length < 2) return false;
  const layout = baseLayout();
  Object.assign(layout.xaxis, { type: "date", nticks: 5, tickformat: "%H:%M:%S", tickangle: 0, showgrid: false });
  Object.assign(layout.yaxis, { title: { text: "ms" }, rangemode: "tozero" });
  layout.hovermode = "x unified";
  const highest = Math.max(...history.map((point) => point.latency_us_p99 ?? 0), 0) / 1000;
  const isNear = sloMs !== null && sloMs <= highest * 4;
  if (sloMs !== null && !isNear) layout.annotations = [{ xref: "paper", yref: "paper", x: 1, y: 1, xanchor: "right", yanchor: "top", showarrow: false, text: `target ${sloMs} ms: far above` }];
  if (isNear) layout.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: sloMs, y1: sloMs, line: { color: token("--bad"), width: 1.5, dash: "dash" } }];
  const times = history.map((point) => stamp(point.at_s));
  const curve = (name, key, colour, dash) => ({ type: "scatter", mode: "lines", name, x: times, y: history.map((point) => (typeof point[key] === "number" ? point[key] / 1000 : null)), line: { color: colour, width: 2, dash }, hovertemplate: `${name} %{y:.2f} ms<extra></extra>` });
  draw(holder, [curve("p99", "latency_us_p99", token("--series-1"), "solid"), curve("p50", "latency_us_p50", token("--series-0"), "dot")], layout);
  return true;
}
