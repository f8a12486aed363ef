// A picture of the map: virtual subnets on the left, links on the right, a wire for each that rides.

import { makeSvg } from "../dom.js";
import { rate } from "../format.js";

const BOX = 44;
const BOX_WIDTH = 172;
const NARROW_WIDTH = 420;
const WIDE_WIDTH = 620;
const NARROW_ROW = 58;
const WIDE_ROW = 76;

/** Sizes that fit the holder, so that the words keep their size on a narrow screen. */
function sizes(holder) {
  const isNarrow = holder.clientWidth < WIDE_WIDTH - 100;
  const width = isNarrow ? NARROW_WIDTH : WIDE_WIDTH;
  return { width, row: isNarrow ? NARROW_ROW : WIDE_ROW, left: 2, right: width - BOX_WIDTH - 2 };
}

const megabits = (bps) => (typeof bps === "number" ? (bps / 1e6).toFixed(1) : "–");

const centre = (index, count, height) => ((index + 0.5) * height) / count;

function box(x, y, title, words) {
  return makeSvg("g", null,
    makeSvg("rect", { class: "node", x, y: y - BOX / 2, width: BOX_WIDTH, height: BOX, rx: 8 }),
    makeSvg("text", { x: x + 10, y: y - 3, "font-size": 15, "font-weight": 600 }, title),
    makeSvg("text", { class: "soft", x: x + 10, y: y + 14, "font-size": 12.5 }, words));
}

function cross(x, y) {
  return makeSvg("path", { class: "cross", d: `M${x - 7} ${y - 7}l14 14m0-14l-14 14` });
}

function wire(size, from, to, link, series) {
  const start = size.left + BOX_WIDTH;
  const end = size.right;
  const middle = (start + end) / 2;
  const share = link.capacityBps ? Math.min(1, (link.goodputBps ?? 0) / link.capacityBps) : 0;
  return makeSvg("path", {
    class: `wire wire-${link.state}`,
    "data-series": series,
    "stroke-width": (3 + share * 7).toFixed(1),
    d: `M${start} ${from}C${middle} ${from} ${middle} ${to} ${end} ${to}`,
  });
}

function summary(subnets, links) {
  return subnets.map((subnet) => `virtual subnet ${subnet.index} rides on ${subnet.link || "nothing"}`).join("; ")
    + `. ${links.map((link) => `${link.name} is ${link.state.replace("_", " ")}`).join(", ")}.`;
}

/** Draw the map into its holder; the same words stand in its label. */
export function showMap(holder, subnets, links) {
  const size = sizes(holder);
  const key = JSON.stringify([size.width, subnets, links.map((link) => [link.name, link.state, Math.round((link.goodputBps ?? 0) / 1e6)])]);
  if (holder.pictureKey === key || !links.length) return;
  holder.pictureKey = key;
  const height = Math.max(subnets.length, links.length, 1) * size.row;
  const yOf = new Map(links.map((link, index) => [link.name, centre(index, links.length, height)]));
  const svg = makeSvg("svg", { viewBox: `0 0 ${size.width} ${height}`, role: "img", "aria-label": summary(subnets, links) });
  subnets.forEach((subnet, index) => {
    const y = centre(index, subnets.length, height);
    const position = links.findIndex((link) => link.name === subnet.link);
    if (position >= 0) svg.append(wire(size, y, yOf.get(subnet.link), links[position], position % 5));
    svg.append(box(size.left, y, `VS ${subnet.index}${subnet.isDefault ? " · default" : ""}`, subnet.prefix));
  });
  links.forEach((link, index) => {
    const y = centre(index, links.length, height);
    const words = link.state === "up" ? `${megabits(link.goodputBps)} of ${rate(link.capacityBps)}` : link.state.replace("_", " ");
    const group = box(size.right, y, link.name, words);
    group.firstChild.setAttribute("data-series", index % 5);
    if (link.state === "down") group.append(cross(size.right + BOX_WIDTH - 20, y));
    svg.append(group);
  });
  holder.replaceChildren(svg);
}
