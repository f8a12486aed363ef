// What an operator reads of connections: states, evidence, confidence, sizes.

import { make, makeSvg, stateChip } from "../dom.js";
import { percent } from "../format.js";

export const EVIDENCE = {
  token: "token of a join",
  key: "same key",
  idsn: "first number follows from the key",
  data_fin: "same last number",
  both_spaces: "overlap in both directions",
  one_space_64: "overlap in one direction",
  aligned_32: "overlap aligned in time",
  equal_32: "same number in one direction",
  coverage: "completeness",
};
const HARD = new Set(["token", "key", "idsn", "data_fin"]);
const STATES = { active: "live", idle: "unknown", ended: "queued", gone: "unknown", closed: "queued" };

export const evidenceWords = (kind) => EVIDENCE[kind] ?? kind.replaceAll("_", " ");
export const isHard = (kind) => HARD.has(kind);
export const connectionChip = (state) => [STATES[state] ?? "unknown", state];

/** A confidence never rounds up to certainty. */
export function confidence(value) {
  if (typeof value !== "number") return "–";
  if (value > 0.9999) return "> 99.99 %";
  return percent(Math.floor(value * 10000) / 10000);
}

/** A probability that something holds by chance. */
export function chance(value) {
  if (typeof value !== "number") return "–";
  if (value === 0) return "0";
  if (value >= 0.001) return percent(value);
  return `10^${Math.round(Math.log10(value))}`;
}

export function size(bytes) {
  if (typeof bytes !== "number") return "–";
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(2)} GiB`;
  if (bytes >= 2 ** 20) return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return bytes >= 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${bytes} B`;
}

export const count = (value) => (typeof value === "number" ? value.toLocaleString("en") : "–");

/** How many of what: 1 alarm, 2 alarms. */
export const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export function coverage(row) {
  const known = [row.coverage_ab, row.coverage_ba].filter((value) => typeof value === "number");
  return known.length ? known.map((value) => percent(value)).join(" / ") : "–";
}

export const evidenceTags = (kinds) => make("span", { class: "tags" }, kinds.map((kind) => make("span", { class: "tag", title: isHard(kind) ? "hard evidence" : "evidence by numbers" }, `${isHard(kind) ? "◆" : "◇"} ${evidenceWords(kind)}`)));

export const connectionLink = (row) => make("a", { href: `/mptcp/connections/${row.id}/`, class: "ends number" }, make("span", null, row.client), make("span", { class: "small" }, `→ ${row.server}`));

/** What a capture was read as if. */
export function optionWords(options) {
  const words = [];
  if (options.sample < 1) words.push(`${percent(options.sample)} of the packets`);
  if (options.start_after_s > 0) words.push(`from ${options.start_after_s} s on`);
  if (options.direction) words.push(options.direction === "c2s" ? "client to server only" : "server to client only");
  if (options.without_tokens) words.push("without keys and tokens");
  if (options.width32) words.push("32-bit numbers");
  return words.join(", ") || "all of it";
}

const CAPTURE_STATES = { waiting: "queued", reading: "running", ready: "ok", failed: "failed" };
export const captureChip = (state) => stateChip(CAPTURE_STATES[state] ?? "unknown", state);
export const captureState = (state) => [CAPTURE_STATES[state] ?? "unknown", state];

const MARKS = ["circle", "square", "triangle-up", "diamond", "x"];
const DASHES = ["solid", "dash", "dot", "longdash", "dashdot"];
const SHAPES = ["M8 0a4 4 0 1 0 .01 0Z", "M4 0h8v8H4Z", "M8 0 12 8H4Z", "M8 0 12 4 8 8 4 4Z", "M4 0l4 4 4-4-4 4 4 4-4-4-4 4 4-4Z"];
export const markOf = (index) => MARKS[index % MARKS.length];
export const dashOf = (index) => DASHES[Math.floor(index / MARKS.length) % DASHES.length];

/** The mark of a subflow beside its name: shape and colour as in the picture. */
export const seriesMark = (index) =>
  makeSvg("svg", { viewBox: "0 0 16 8", class: "series-mark", "data-series": index % 5, "aria-hidden": "true" }, makeSvg("path", { d: SHAPES[index % SHAPES.length], fill: "currentColor", stroke: "currentColor", "stroke-width": index % SHAPES.length === 4 ? 1.5 : 0 }));
