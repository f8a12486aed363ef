// What sampling costs: theory in two pictures, what was measured in a third and in a table.

import { find, make, setText } from "../dom.js";
import { percent } from "../format.js";
import { openLive } from "../live_status.js";
import { baseLayout, draw, token } from "../plotting.js";
import { call, failureWords } from "../rest.js";
import { count, dashOf, markOf, seriesMark } from "./words.js";

let data = null;

function paintOne(name) {
  const holder = find(`#${name}`);
  const figure = data[name];
  holder.hidden = !figure.data.length; // the table says that nothing was measured
  if (holder.hidden) return;
  const layout = baseLayout();
  Object.assign(layout.xaxis, figure.layout.xaxis, { showgrid: false });
  Object.assign(layout.yaxis, figure.layout.yaxis, { tickformat: ",.0%" });
  layout.hovermode = "closest";
  const traces = figure.data.map((trace, index) => {
    const colour = token(`--series-${index % 5}`);
    return { ...trace, mode: "lines+markers", line: { color: colour, width: 1.5, dash: dashOf(index) }, marker: { color: colour, size: 6, symbol: markOf(index) } };
  });
  draw(holder, traces, layout);
  find(`#${name}-legend`).replaceChildren(...figure.data.map((trace, index) => make("li", null, seriesMark(index), make("span", null, trace.name))));
}

const paint = () => data && globalThis.Plotly && ["seen", "missed", "measured"].forEach(paintOne);

function showTable() {
  const cell = (text) => make("td", { class: "figure" }, text);
  const rows = data.captures.flatMap((capture) => capture.rows.map((row) => make("tr", null, make("th", { scope: "row" }, make("a", { href: `/mptcp/captures/${capture.id}/` }, capture.file_name)),
    cell(percent(row.sample)), cell(row.width32 ? "32 bit" : "64 bit"), cell(count(row.pair_count)), ...[row.recall, row.precision, row.exact_ratio].map((value) => cell(value === null ? "–" : value.toFixed(4))), cell(percent(row.unseen_ratio)))));
  find("#rows").replaceChildren(...rows);
  find("#rows-empty").hidden = rows.length > 0;
}

async function load() {
  try {
    data = await call("GET", "/api/v1/mptcp/accuracy/");
  } catch (error) {
    find("#failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, failureWords(error)));
    return;
  }
  setText(find("#needed"), `seen with 99 %: ${data.packets_needed.map((row) => `${count(row.packets)} packets at ${percent(row.sample)}`).join(", ")}`);
  showTable();
  paint();
}

addEventListener("load", paint);
addEventListener("themechange", paint);
openLive((stream) => stream.subscribe("mptcp", () => load(), (event, change) => event === "capture_changed" && change.capture.report.accuracy && load()));
