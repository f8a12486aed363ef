// Data sequence numbers over time, a line per subflow: colour, mark and dash tell them apart.

import { make } from "../dom.js";
import { baseLayout, draw, token } from "../plotting.js";
import { dashOf, markOf, seriesMark } from "./words.js";

const FALLBACK_WAIT_MS = 500;

const local = (text) => {
  const at = new Date(text);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().replace("Z", "");
};

/** Subflow ids of a figure, in the order of their first trace. */
export const subflowsOf = (figure) => [...new Set(figure.data.map((trace) => trace.meta.subflow))];

/** Draw one direction (side 0 or 1) of a figure of the API; return how many subflows have points in it. */
export function showPicture(holder, legend, figure, side) {
  const order = subflowsOf(figure);
  const shown = figure.data.filter((trace) => trace.meta.side === side);
  if (!shown.length) {
    if (globalThis.Plotly && holder.classList.contains("js-plotly-plot")) globalThis.Plotly.purge(holder);
    holder.replaceChildren(make("p", { class: "empty" }, figure.data.length ? "No data was seen in this direction." : "No data sequence number was seen yet."));
    legend.replaceChildren();
    return 0;
  }
  const traces = shown.map((trace) => {
    const index = order.indexOf(trace.meta.subflow);
    const colour = token(`--series-${index % 5}`);
    return { ...trace, x: trace.x.map(local), line: { color: colour, width: 1.5, dash: dashOf(index) }, marker: { color: colour, size: 6, symbol: markOf(index) }, hoverlabel: { namelength: -1 } };
  });
  const layout = baseLayout();
  Object.assign(layout.xaxis, { type: "date", nticks: 6, tickangle: 0, showgrid: false });
  Object.assign(layout.yaxis, { title: figure.layout.yaxis.title, rangemode: "normal" });
  layout.hovermode = "closest";
  const paint = () => draw(holder, traces, layout);
  if (globalThis.Plotly) paint();
  else setTimeout(paint, FALLBACK_WAIT_MS);
  holder.dataset.traces = String(traces.length);
  legend.replaceChildren(...shown.map((trace) => make("li", null, seriesMark(order.indexOf(trace.meta.subflow)), make("span", { class: "number" }, trace.name))));
  return traces.length;
}

/** The side with more points. */
export function busierSide(figure) {
  const points = [0, 1].map((side) => figure.data.filter((trace) => trace.meta.side === side).reduce((sum, trace) => sum + trace.x.length, 0));
  return points[1] > points[0] ? 1 : 0;
}
