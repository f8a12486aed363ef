// A hybrid chain as a picture: Cytoscape draws what layout.js placed. Arrow keys walk it; the same facts stand in tables.

import cytoscape from "../../vendor/cytoscape/dist/cytoscape.esm.min.mjs";
import { find, make, setText } from "../dom.js";
import { formulaOf, layoutOf, serverOf } from "./layout.js";
import { COPIES } from "./words.js";

const NARROW_PX = 560;
const LETTER_PX = 6.6; // mean width of a letter of a group's label
const SMALLEST_ZOOM = 0.72; // below this the words are too small: the box scrolls instead
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const POINT_LABELS = { ingress: "in", egress: "out", mirror: "⋔", merge: "⊕" };

function style() {
  const [ink, soft, line, surface, accent] = ["--ink", "--ink-soft", "--line-strong", "--surface", "--accent"].map(token);
  const font = getComputedStyle(document.body).fontFamily;
  return [
    { selector: "node", style: { "font-family": font, "font-size": 13, color: ink, "text-valign": "center", "text-halign": "center", width: "data(width)", height: "data(height)", "overlay-opacity": 0, "z-index-compare": "manual" } },
    { selector: ".group", style: { shape: "round-rectangle", "background-color": token("--surface-sunken"), "background-opacity": 0.75, "border-width": 1, "border-style": "dashed", "border-color": line, label: "data(label)", "text-valign": "top", "text-margin-y": 18, "text-margin-x": "data(shift)", "font-size": 12, color: soft, events: "no", "z-index": 0 } },
    { selector: ".nf", style: { shape: "round-rectangle", "background-color": surface, "border-width": 1.5, "border-color": line, label: "data(label)", "font-weight": 600, "text-wrap": "wrap", "text-max-width": "data(textWidth)", "z-index": 2 } },
    { selector: ".point", style: { shape: "ellipse", "background-color": surface, "border-width": 2, "border-color": accent, color: accent, label: "data(label)", "font-size": 12, "font-weight": 700, "z-index": 2 } },
    { selector: ".ingress, .egress", style: { "border-color": soft, color: soft, "font-size": 10 } },
    { selector: "edge", style: { width: 2, "line-color": line, "target-arrow-color": line, "target-arrow-shape": "triangle", "arrow-scale": 0.9, "curve-style": "bezier", "overlay-opacity": 0, "z-index-compare": "manual", "z-index": 1 } },
    { selector: "edge.wire", style: { width: 3 } },
    { selector: "edge.header", style: { "line-style": "dotted" } },
    { selector: "edge.full", style: { "line-style": "dashed" } },
    { selector: ".changed", style: { "border-width": 3, "border-color": token("--warn"), "border-style": "double" } },
    { selector: ".alarmed", style: { "border-width": 3, "border-color": token("--bad"), "background-color": token("--bad-ground") } },
    { selector: ".path", style: { "border-width": 3.5, "border-color": accent, "background-color": token("--accent-ground"), "line-color": accent, "target-arrow-color": accent } },
    { selector: "edge.path", style: { width: 5 } },
    { selector: ".dropped", style: { "border-width": 3.5, "border-color": token("--bad"), "background-color": token("--bad-ground") } },
    { selector: ".pair", style: { "border-width": 3.5, "border-color": accent } },
    { selector: ".chosen", style: { "border-width": 3.5, "border-color": token("--focus") } },
  ];
}

const centred = (box) => ({ x: box.x + box.width / 2, y: box.y + box.height / 2 });

function elementsOf(layout, classesOf) {
  // Top to bottom, packets enter where a label would be: it moves to the left edge of its box.
  const shift = (group) => (layout.direction === "down" ? Math.min(0, group.server.length * LETTER_PX / 2 + 8 - group.width / 2) : 0);
  const groups = layout.groups.map((group) => ({ data: { id: group.id, label: group.server, width: group.width, height: group.height, shift: shift(group) }, position: centred(group), classes: "group" }));
  const nodes = layout.nodes.map((node) => ({
    data: { ...node, label: node.kind === "nf" ? `${node.index + 1} ${node.label}` : POINT_LABELS[node.kind], textWidth: node.width - 8 },
    position: centred(node),
    classes: `${node.kind} ${node.kind === "nf" ? "" : "point"} ${classesOf(node)}`,
  }));
  const edges = layout.edges.map((edge) => ({ data: { id: edge.id, source: edge.from, target: edge.to }, classes: `${edge.copy} ${edge.isWire ? "wire" : ""}` }));
  return [...groups, ...nodes, ...edges];
}

/** What a node of the picture is, in a sentence. */
function wordsOf(node, nfWords) {
  const where = node.server ? ` on ${node.server}` : "";
  if (node.kind === "nf") return nfWords(node.index) || `${node.label}${where}`;
  if (node.kind === "mirror") return `Mirror${where}: the packet goes to ${node.branches} branches`;
  if (node.kind === "merge") return `Merge${where}: ${node.branches} branches become one packet again, in order`;
  return node.kind === "ingress" ? "Packets come in at the classifier" : "Packets leave at the classifier, in the order they came";
}

function legend() {
  const row = (name, words) => make("li", null, make("span", { class: "line", "data-line": name }), words);
  return make("ul", { class: "legend graph-legend" },
    row("shared", COPIES.shared), row("header", COPIES.header), row("full", COPIES.full), row("wire", "thick: over the wire"),
    make("li", null, "⋔ mirror"), make("li", null, "⊕ merge"));
}

/** One picture. Args: holder, an element; nfWords(index) -> what to say of a network function. */
export class ChainGraph {
  constructor(holder, { nfWords = () => "", label = "Hybrid chain" } = {}) {
    Object.assign(this, { holder, nfWords, label, root: null, chosen: null, marks: {} });
    this.canvas = make("div", { class: "graph-canvas" });
    this.scroll = make("div", { class: "graph-scroll", tabindex: 0, role: "group", "aria-roledescription": "graph" }, this.canvas);
    this.formula = make("p", { class: "formula" });
    this.told = make("p", { class: "graph-told small", "aria-live": "polite" });
    holder.replaceChildren(this.formula, this.scroll, this.told, legend());
    this.scroll.addEventListener("keydown", (event) => this.walk(event));
    this.scroll.addEventListener("blur", () => this.choose(null));
    addEventListener("themechange", () => this.cy?.style(style()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.cy?.style(style()));
    new ResizeObserver(() => this.fit()).observe(holder);
  }

  /** Draw a plan's NODE; marks name network functions by index: {changed: [..], alarmed: [..]}. */
  show(root, marks = {}) {
    const key = JSON.stringify([root, marks]);
    if (key === this.key) return;
    Object.assign(this, { key, root, marks, chosen: null });
    setText(this.formula, formulaOf(root));
    this.draw();
  }

  draw() {
    const direction = this.holder.clientWidth < NARROW_PX ? "down" : "right";
    this.layout = layoutOf(this.root, direction);
    const classesOf = (node) => Object.entries(this.marks).filter(([, indexes]) => node.kind === "nf" && indexes.includes(node.index)).map(([name]) => name).join(" ");
    if (!this.cy) {
      this.cy = cytoscape({
        container: this.canvas, style: style(), userZoomingEnabled: false, userPanningEnabled: false,
        boxSelectionEnabled: false, autoungrabify: true, autounselectify: true, layout: { name: "preset" },
      });
      this.cy.on("mouseover tap", "node", (event) => this.choose(event.target.id()));
      this.cy.on("mouseout", "node", () => document.activeElement !== this.scroll && this.choose(null));
    }
    this.cy.elements().remove();
    this.cy.add(elementsOf(this.layout, classesOf));
    this.order = this.layout.nodes.map((node) => node.id).sort((one, other) => this.compare(one, other));
    const servers = [...new Set(this.layout.groups.map((group) => group.server))];
    this.scroll.setAttribute("aria-label", `${this.label}: ${formulaOf(this.root)}; on ${servers.join(", ") || serverOf(this.root)}. Arrow keys walk through it.`);
    Object.assign(this.holder.dataset, { nodes: this.layout.nodes.length, edges: this.layout.edges.length, groups: this.layout.groups.length, direction });
    this.fit();
  }

  compare(one, other) {
    const [left, right] = [one, other].map((id) => centred(this.layout.nodes.find((node) => node.id === id)));
    return this.layout.direction === "down" ? left.y - right.y || left.x - right.x : left.x - right.x || left.y - right.y;
  }

  fit() {
    if (!this.layout || !this.holder.clientWidth) return;
    const direction = this.holder.clientWidth < NARROW_PX ? "down" : "right";
    if (direction !== this.layout.direction) {
      this.draw();
      return;
    }
    const room = this.scroll.clientWidth;
    const zoom = Math.max(SMALLEST_ZOOM, Math.min(1, room / this.layout.width));
    this.canvas.style.width = `${Math.max(room, Math.ceil(this.layout.width * zoom))}px`;
    this.canvas.style.height = `${Math.ceil(this.layout.height * zoom)}px`;
    this.cy.resize();
    this.cy.zoom(zoom);
    this.cy.pan({ x: Math.max(0, (this.canvas.clientWidth - this.layout.width * zoom) / 2), y: 0 });
  }

  walk(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey || !this.order) return;
    if (event.key === "Escape") this.choose(null);
    if (event.key !== "Home" && event.key !== "End" && !step) return;
    event.preventDefault();
    const at = this.order.indexOf(this.chosen);
    const last = this.order.length - 1;
    const next = event.key === "Home" ? 0 : event.key === "End" ? last : Math.max(0, Math.min(last, at + step));
    this.choose(this.order[next]);
  }

  choose(id) {
    if (id === this.chosen || !this.cy) return;
    this.chosen = id;
    this.cy.nodes().removeClass("chosen");
    const node = id && this.layout.nodes.find((each) => each.id === id);
    if (node) {
      this.cy.getElementById(id).addClass("chosen");
      const box = this.cy.getElementById(id).renderedBoundingBox();
      if (document.activeElement === this.scroll) this.scroll.scrollTo({ left: box.x1 - this.scroll.clientWidth / 2 });
    }
    setText(this.told, node ? wordsOf(node, this.nfWords) : "");
  }

  /** Mark two network functions, as when their row in a table has the focus. */
  markPair(first, second) {
    this.cy?.nodes().removeClass("pair");
    for (const index of [first, second]) if (index !== undefined) this.cy?.getElementById(`nf-${index}`).addClass("pair");
  }

  /** Draw the way of one packet: indexes of the network functions it met; the last one may have dropped it. */
  markPath(indexes, droppedIndex = null) {
    if (!this.cy) return;
    this.cy.elements().removeClass("path dropped");
    if (!indexes.length) return;
    const ids = new Set(["ingress-1", ...indexes.map((index) => `nf-${index}`)]);
    for (const node of this.layout.nodes) {
      const isMet = node.leaves?.some((leaf) => indexes.includes(leaf));
      if (isMet || (node.kind === "egress" && droppedIndex === null)) ids.add(node.id);
    }
    for (const id of ids) this.cy.getElementById(id).addClass("path");
    for (const edge of this.layout.edges) if (ids.has(edge.from) && ids.has(edge.to)) this.cy.getElementById(edge.id).addClass("path");
    if (droppedIndex !== null) this.cy.getElementById(`nf-${droppedIndex}`).addClass("dropped");
    this.holder.dataset.path = [...ids].join(" ");
  }
}

/** The picture in a holder, made once. */
export function graphIn(holder, options) {
  holder.chainGraph ??= new ChainGraph(holder, options);
  return holder.chainGraph;
}

export const forgetGraph = (holder, words) => {
  holder.chainGraph = null;
  holder.replaceChildren(make("p", { class: "empty" }, words));
};

/** Words that stand where a picture cannot: the formula of the shown chain. */
export const shownFormula = (holder) => find(".formula", holder)?.textContent ?? "";
