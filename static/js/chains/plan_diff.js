// What differs between two plans of one chain. Pure.

import { leavesOf } from "./layout.js";

const FIGURES = ["p50_us", "p99_us", "mean_us", "wire_bytes_per_packet", "copied_bytes_per_packet", "cpu_us_per_packet", "servers_crossed"];
const pairWords = (pair) => `${pair.first_name} ∥ ${pair.second_name}`;

/**
 * Compare plan `before` with plan `after`. Returns rows {what, before, after} for network functions (server, place in the
 * chain) and pairs that run side by side, `figures` {name: [before, after]}, and the indexes of `after`'s (and of
 * `before`'s) network functions to mark.
 */
export function planDiff(before, after) {
  const placed = (plan) => new Map(leavesOf(plan.root).map((leaf) => [leaf.name, leaf]));
  const [old, fresh] = [placed(before), placed(after)];
  const rows = [];
  const marks = { before: new Set(), after: new Set() };
  const mark = (name) => {
    if (old.has(name)) marks.before.add(old.get(name).index);
    if (fresh.has(name)) marks.after.add(fresh.get(name).index);
  };
  for (const name of new Set([...old.keys(), ...fresh.keys()])) {
    const [one, other] = [old.get(name), fresh.get(name)];
    if (!one || !other) rows.push({ what: name, before: one ? `on ${one.server}` : "not in the chain", after: other ? `on ${other.server}` : "not in the chain" });
    else if (one.server !== other.server) rows.push({ what: name, before: `on ${one.server}`, after: `on ${other.server}` });
    else continue;
    mark(name);
  }
  const side = (plan) => new Map(plan.obligations.map((pair) => [pairWords(pair), pair]));
  const [oldPairs, freshPairs] = [side(before), side(after)];
  for (const words of new Set([...oldPairs.keys(), ...freshPairs.keys()])) {
    const [one, other] = [oldPairs.get(words), freshPairs.get(words)];
    if (one && other && one.kind === other.kind) continue;
    rows.push({ what: words, before: one ? `side by side (${one.kind})` : "in order", after: other ? `side by side (${other.kind})` : "in order" });
    const { first_name: first, second_name: second } = one ?? other;
    mark(first);
    mark(second);
  }
  const figures = Object.fromEntries(FIGURES.map((name) => [name, [before.prediction[name], after.prediction[name]]]));
  return { rows, figures, marks: { before: [...marks.before], after: [...marks.after] } };
}
