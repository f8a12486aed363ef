// Stacked goodput of the last five minutes, one band per link, extended from telemetry.

import { make } from "../dom.js";
import { baseLayout, draw, token } from "../plotting.js";

const WINDOW_S = 300;
const PATTERNS = ["", "/", ".", "\\", "-"];
const FALLBACK_WAIT_MS = 500;

/** Keeps one value per link and second; a second without a measurement is a gap, not a zero. */
export class GoodputHistory {
  constructor() {
    this.series = new Map();
  }

  clear() {
    this.series.clear();
  }

  add(link, atS, bps) {
    if (typeof bps !== "number" || typeof atS !== "number") return;
    let points = this.series.get(link);
    if (!points) this.series.set(link, (points = new Map()));
    points.set(Math.floor(atS), bps);
    if (points.size > WINDOW_S + 60) {
      const oldest = Math.floor(atS) - WINDOW_S - 2;
      for (const second of points.keys()) if (second < oldest) points.delete(second);
    }
  }

  window(link, nowS) {
    const points = this.series.get(link) ?? new Map();
    const last = Math.floor(nowS) - 1;
    return Array.from({ length: WINDOW_S }, (_, index) => points.get(last - WINDOW_S + 1 + index) ?? null);
  }
}

function trace(link, index, values, times) {
  const colour = token(`--series-${index % 5}`);
  return {
    type: "scatter",
    mode: "lines",
    name: link.name,
    stackgroup: "links",
    stackgaps: "infer zero",
    x: times,
    y: values.map((value) => (value === null ? null : value / 1e6)),
    line: { color: colour, width: 1.5 },
    fillpattern: { shape: PATTERNS[index % PATTERNS.length], fgcolor: colour, bgcolor: `${colour}55`, size: 6, solidity: 0.25, fillmode: "overlay" },
    hovertemplate: `%{y:.1f} Mbit/s<extra>${link.name}</extra>`,
  };
}

function layoutOf(links, nowS) {
  const layout = baseLayout();
  const ceiling = links.reduce((sum, link) => sum + (link.capacityBps ?? 0), 0) / 1e6;
  Object.assign(layout.xaxis, { type: "date", range: [new Date((nowS - WINDOW_S) * 1000), new Date(nowS * 1000)], nticks: 6, tickformat: "%H:%M", tickangle: 0, showgrid: false });
  Object.assign(layout.yaxis, { title: { text: "Mbit/s" }, range: [0, Math.max(1, ceiling * 1.08)] });
  layout.hovermode = "x unified";
  layout.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: ceiling, y1: ceiling, line: { color: token("--line-strong"), width: 1, dash: "dash" } }];
  layout.annotations = [{ xref: "paper", x: 0, y: ceiling, yanchor: "top", xanchor: "left", showarrow: false, text: `all links: ${ceiling.toFixed(0)} Mbit/s` }];
  return layout;
}

/** Draws when the browser is idle, so that the change of a link's state is never behind a chart. */
export class GoodputChart {
  constructor(holder, legend, history) {
    Object.assign(this, { holder, legend, history, queued: false });
  }

  show(links, nowS) {
    if (this.queued || document.visibilityState === "hidden") return;
    this.queued = true;
    const later = globalThis.requestIdleCallback ?? ((run) => setTimeout(run, 0));
    later(() => {
      this.queued = false;
      this.drawNow(links, nowS);
    }, { timeout: FALLBACK_WAIT_MS });
  }

  drawNow(links, nowS) {
    const last = Math.floor(nowS) - 1;
    // Local wall time: Plotly shows a Date in the reader's zone only when it is written without one.
    const times = Array.from({ length: WINDOW_S }, (_, index) => localStamp(last - WINDOW_S + 1 + index));
    const traces = links.map((link, index) => trace(link, index, this.history.window(link.name, nowS), times));
    const layout = layoutOf(links, nowS);
    layout.xaxis.range = [localStamp(nowS - WINDOW_S), localStamp(nowS)];
    draw(this.holder, traces, layout);
    if (this.legend.children.length !== links.length) {
      this.legend.replaceChildren(...links.map((link, index) =>
        make("li", null, make("span", { class: "swatch", "data-series": index % 5 }), link.name)));
    }
  }
}

function localStamp(atS) {
  const at = new Date(atS * 1000);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().replace("Z", "");
}
