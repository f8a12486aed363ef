// Plotly in the colours of the page.

const CONFIG = {
  displayModeBar: false,
  displaylogo: false,
  // The charts never upload anything anywhere.
  modeBarButtonsToRemove: ["sendChartToCloud"],
  responsive: true,
  staticPlot: false,
};

/** A design token's value of now. */
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The layout every chart starts from. */
export function baseLayout() {
  const axis = { gridcolor: token("--line"), linecolor: token("--line-strong"), zeroline: false, tickcolor: token("--line-strong"), fixedrange: true, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: token("--ink-soft") },
    margin: { l: 44, r: 12, t: 8, b: 34 },
    showlegend: false,
    hoverlabel: { bgcolor: token("--surface"), bordercolor: token("--line-strong"), font: { color: token("--ink") } },
    xaxis: { ...axis },
    yaxis: { ...axis },
    dragmode: false,
  };
}

/** Draw or redraw a chart in its holder. */
export function draw(holder, traces, layout) {
  if (!globalThis.Plotly) return;
  if (!holder.classList.contains("js-plotly-plot")) holder.replaceChildren();
  globalThis.Plotly.react(holder, traces, layout, CONFIG);
}
