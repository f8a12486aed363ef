// How long packets of the last second took in each network function, and waited at each merge: one histogram per branch.

import { make } from "../dom.js";
import { baseLayout, draw, token } from "../plotting.js";
import { count, nfNameOf } from "./words.js";

const ROW_PX = 56;
const FRAME_PX = 56;
// Of a row's height: where the bars begin below its name, and where they end.
const NAME = 0.34;
const END = 0.94;

/** The lower edge of bin i: 2^i µs, as people write it. */
export function edgeWords(index) {
  const us = 2 ** index;
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)} ms`;
  return `${(us / 1e6).toFixed(1)} s`;
}

/** Rows to draw, in the order packets meet them: [{operator, name, bins, packets}]. */
export function histogramRows(hops) {
  return hops
    .filter((hop) => hop.latency_bins?.some((packets) => packets > 0))
    .sort((one, other) => one.operator - other.operator)
    .map((hop) => ({
      operator: hop.operator,
      name: hop.kind === "nf" ? nfNameOf(hop.nf) || `operator ${hop.operator}` : `merge ${hop.operator}: wait for the last branch`,
      isWait: hop.kind === "merge",
      bins: hop.latency_bins,
      packets: hop.latency_bins.reduce((sum, packets) => sum + packets, 0),
    }));
}

/** First and last bin that any row uses. */
export function binRange(rows) {
  const used = rows.flatMap((row) => row.bins.flatMap((packets, index) => (packets > 0 ? [index] : [])));
  return [Math.min(...used), Math.max(...used)];
}

/** Draw a strip per row over one axis of time; false when there is nothing to draw. */
export function showHistograms(holder, table, hops) {
  const rows = histogramRows(hops);
  if (!rows.length) return false;
  const key = JSON.stringify(rows);
  if (holder.histogramKey === key) return true;
  holder.histogramKey = key;
  const [first, last] = binRange(rows);
  const bins = Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  draw(holder, rows.map((row, place) => trace(row, place, bins)), layoutOf(rows, bins));
  showTable(table, rows, bins);
  return true;
}

function trace(row, place, bins) {
  const colour = token(row.isWait ? "--series-1" : "--series-0");
  return {
    type: "bar", x: bins, y: bins.map((bin) => (100 * row.bins[bin]) / row.packets), xaxis: "x", yaxis: place ? `y${place + 1}` : "y",
    marker: { color: colour, pattern: row.isWait ? { shape: "/", bgcolor: colour, fgcolor: token("--surface"), solidity: 0.35 } : { shape: "" } },
    customdata: bins.map((bin) => `${edgeWords(bin)} to ${edgeWords(bin + 1)}: ${count(row.bins[bin])} packets`),
    hovertemplate: `${row.name.replaceAll("<", "")}<br>%{customdata}, %{y:.0f} %<extra></extra>`,
  };
}

function layoutOf(rows, bins) {
  const layout = baseLayout();
  const share = 1 / rows.length;
  const highest = Math.ceil(Math.max(...rows.flatMap((row) => row.bins.map((packets) => packets / row.packets))) * 10) * 10;
  Object.assign(layout, { height: FRAME_PX + rows.length * ROW_PX, bargap: 0.08, annotations: [] });
  layout.margin.l = 40;
  Object.assign(layout.xaxis, { tickvals: bins.map((bin) => bin - 0.5), ticktext: bins.map(edgeWords), title: { text: "time of packets" }, showgrid: false, anchor: rows.length > 1 ? `y${rows.length}` : "y" });
  rows.forEach((row, place) => {
    const top = 1 - place * share;
    layout[place ? `yaxis${place + 1}` : "yaxis"] = { ...layout.yaxis, domain: [Math.max(0, top - share * END), top - share * NAME], range: [0, highest], tickvals: [0, highest], ticktext: ["0", `${highest} %`], anchor: "x" };
    layout.annotations.push({ xref: "paper", yref: "paper", x: 0, y: top, xanchor: "left", yanchor: "top", showarrow: false, text: row.name, font: { size: 12, color: token("--ink") } });
  });
  return layout;
}

/** The same figures for who reads rather than looks. */
function showTable(table, rows, bins) {
  table.replaceChildren(
    make("thead", null, make("tr", null, make("th", { scope: "col" }, "packets by time, from"), ...bins.map((bin) => make("th", { scope: "col", class: "figure" }, edgeWords(bin))), make("th", { scope: "col", class: "figure" }, "all"))),
    make("tbody", null, ...rows.map((row) => make("tr", { "data-operator": row.operator }, make("th", { scope: "row" }, row.name), ...bins.map((bin) => make("td", { class: "figure" }, count(row.bins[bin]))), make("td", { class: "figure" }, count(row.packets))))));
}
