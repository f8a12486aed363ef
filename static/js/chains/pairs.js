// Which pairs may run side by side, and why each other pair may not: a matrix for the eye, a table for the reasons.

import { find, findAll, make, setText } from "../dom.js";
import { VERDICTS, fieldWords } from "./words.js";

/** A verdict as symbol and word; the colour only repeats it. */
export const verdictChip = (kind) =>
  make("span", { class: "verdict-chip", "data-kind": kind, title: VERDICTS[kind]?.meaning ?? null }, make("span", { "aria-hidden": true, class: "symbol" }, VERDICTS[kind]?.symbol ?? "?"), VERDICTS[kind]?.word ?? kind);

const pairKey = (pair) => `${pair.first}-${pair.second}`;

function cell(pair, names, choose) {
  if (!pair) return make("td", { class: "no-pair" }, make("span", { class: "visually-hidden" }, "–"));
  const words = `${names[pair.first]} then ${names[pair.second]}: ${VERDICTS[pair.kind]?.word ?? pair.kind}`;
  return make("td", null, make("button", { class: "pair-cell", type: "button", "data-kind": pair.kind, "data-pair": pairKey(pair), "aria-label": words, onclick: () => choose(pair), onfocus: () => choose(pair), onmouseenter: () => choose(pair) },
    make("span", { "aria-hidden": true, class: "symbol" }, VERDICTS[pair.kind]?.symbol ?? "?"), make("span", { "aria-hidden": true, class: "word" }, VERDICTS[pair.kind]?.word ?? pair.kind)));
}

function matrix(pairs, names, choose) {
  const byKey = new Map(pairs.map((pair) => [pairKey(pair), pair]));
  const head = make("tr", null, make("td", { class: "corner small soft" }, "first ↓ then →"), ...names.slice(1).map((name, column) => make("th", { scope: "col" }, `${column + 2} ${name}`)));
  const rows = names.slice(0, -1).map((name, first) =>
    make("tr", null, make("th", { scope: "row" }, `${first + 1} ${name}`), ...names.slice(1).map((_, column) => cell(byKey.get(`${first}-${column + 1}`), names, choose))));
  return make("table", { class: "pair-matrix" }, make("thead", null, head), make("tbody", null, ...rows));
}

function reasonRow(pair, names, mark) {
  return make("tr", { "data-pair": pairKey(pair), tabindex: 0, onfocus: () => mark(pair), onblur: () => mark(null), onmouseenter: () => mark(pair), onmouseleave: () => mark(null) },
    make("th", { scope: "row" }, `${pair.first_name ?? names[pair.first]} → ${pair.second_name ?? names[pair.second]}`), make("td", null, verdictChip(pair.kind)),
    make("td", { class: "reason" }, pair.reason, pair.is_state_advisory ? make("strong", null, " Allowed by you: state is advisory.") : null),
    make("td", null, fieldWords(pair.fields)), make("td", null, make("code", null, pair.rule)));
}

/** Counts in words: "2 of 6 pairs may run side by side (1 without a copy)". */
export function pairsInWords(pairs) {
  const parallel = pairs.filter((pair) => pair.kind !== "no");
  const free = parallel.filter((pair) => pair.kind === "ok").length;
  if (!pairs.length) return "One network function: nothing can run side by side.";
  return `${parallel.length} of ${pairs.length} pair${pairs.length === 1 ? "" : "s"} may run side by side${parallel.length ? `, ${free} without a copy` : ""}.`;
}

/** Show matrix and table. Args: pairs of the API, names in chain order, mark(pair or null) lights a pair up in the graph. */
export function showPairs(holder, pairs, names, mark) {
  const key = JSON.stringify([pairs, names]);
  if (holder.pairsKey === key) return;
  holder.pairsKey = key;
  const told = make("p", { class: "pair-told", "aria-live": "polite" }, "Choose a pair to read the reason.");
  const choose = (pair) => {
    setText(told, `${names[pair.first]} then ${names[pair.second]}: ${VERDICTS[pair.kind]?.word ?? pair.kind}. ${pair.reason}`);
    mark(pair);
  };
  const table = make("table", null,
    make("thead", null, make("tr", null, ...["Pair", "Verdict", "Why", "Fields that decided", "Rule"].map((words) => make("th", null, words)))),
    make("tbody", null, ...pairs.map((pair) => reasonRow(pair, names, mark))));
  const isOpen = find("details", holder)?.open ?? pairs.length <= 6;
  holder.replaceChildren(make("p", null, pairsInWords(pairs)));
  if (!pairs.length) return;
  holder.append(
    make("div", { class: "table-box pair-box", tabindex: 0, role: "region", "aria-label": "Pairs as a matrix" }, matrix(pairs, names, choose)), told,
    make("details", { open: isOpen }, make("summary", null, "All reasons as a table"), make("div", { class: "table-box", tabindex: 0, role: "region", "aria-label": "Reasons as a table" }, table)));
}

/** The proof: each pair that runs side by side, with what allows it. */
export function showObligations(holder, obligations, names, mark) {
  const rows = obligations.map((pair) => reasonRow(pair, names, mark));
  const words = obligations.length
    ? `Proof: ${obligations.length} pair${obligations.length === 1 ? " runs" : "s run"} side by side, each for a reason.`
    : "Proof: nothing runs side by side, so the order of the chain is kept as drawn.";
  holder.replaceChildren(make("p", null, words));
  if (!rows.length) return;
  holder.append(make("div", { class: "table-box", tabindex: 0, role: "region", "aria-label": "Obligations of the plan" }, make("table", { class: "obligations" },
    make("thead", null, make("tr", null, ...["Pair", "Runs as", "Why it is the same", "Fields that decided", "Rule"].map((word) => make("th", null, word)))), make("tbody", null, ...rows))));
}

export const matrixCells = (holder) => findAll(".pair-cell", holder).length;
