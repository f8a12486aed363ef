// Two operators changed one chain: what is mine, what is theirs, what we both started from. Pure.

import { draftOf, isSame } from "./model.js";

const CHAIN_FIELDS = [
  ["title", "Title", (draft) => draft.title],
  ["rate_pps", "Rate, packets/s", (draft) => draft.rate_pps],
  ["packet_bytes", "Packet size, bytes", (draft) => draft.packet_bytes],
  ["slo_p99_ms", "p99 target, ms", (draft) => draft.slo_p99_ms],
  ["replan", "On drift", (draft) => draft.replan],
  ["match.src", "Match: source", (draft) => draft.match.src],
  ["match.dst", "Match: destination", (draft) => draft.match.dst],
  ["match.proto", "Match: protocol", (draft) => draft.match.proto],
  ["match.dst_port", "Match: destination ports", (draft) => draft.match.dst_port],
];
const NF_FIELDS = [
  ["type", "type"],
  ["params", "parameters"],
  ["service", "service time"],
  ["pinned_server", "pinned server"],
  ["is_state_advisory", "state is advisory"],
];

/** A row of the merge view; choice is "mine", "theirs" or null where a person must choose. */
function rowOf(field, label, base, mine, theirs) {
  if (isSame(mine, theirs)) return null;
  const isMine = !isSame(base, mine);
  const isTheirs = !isSame(base, theirs);
  const choice = isMine && isTheirs ? null : isMine ? "mine" : "theirs";
  return { field, label, base, mine, theirs, choice, isConflict: choice === null };
}

const namesOf = (draft) => draft.nfs.map((nf) => nf.name);
const nfNamed = (draft, name) => draft.nfs.find((nf) => nf.name === name);

/** Whether it is in the chain. Taken out by one and changed by the other: that is for a person to decide. */
function membershipRow(name, inBase, inMine, inTheirs) {
  const row = rowOf(`nf:${name}`, `${name}: in the chain`, Boolean(inBase), Boolean(inMine), Boolean(inTheirs));
  const isChanged = inBase && !isSame(inBase, inMine ?? inTheirs);
  return isChanged ? { ...row, choice: null, isConflict: true } : row;
}

function nfRows(base, mine, theirs) {
  const names = [...new Set([...namesOf(mine), ...namesOf(theirs), ...namesOf(base)])];
  return names.flatMap((name) => {
    const [inBase, inMine, inTheirs] = [base, mine, theirs].map((draft) => nfNamed(draft, name));
    if (!inMine !== !inTheirs) return [membershipRow(name, inBase, inMine, inTheirs)];
    if (!inMine) return [];
    return NF_FIELDS.map(([field, words]) => rowOf(`nf:${name}.${field}`, `${name}: ${words}`, inBase?.[field] ?? null, inMine[field], inTheirs[field]));
  });
}

/** The order of those NFs that both have, so that an NF added by one is no quarrel about the order. */
function orderRow(base, mine, theirs) {
  const shared = namesOf(mine).filter((name) => nfNamed(theirs, name));
  const inOrder = (draft) => namesOf(draft).filter((name) => shared.includes(name));
  return rowOf("order", "Order", inOrder(base), inOrder(mine), inOrder(theirs));
}

/** Rows for every field in which mine and theirs differ; those that only one of us changed are already chosen. */
export function mergeRows(base, mine, theirs) {
  const rows = CHAIN_FIELDS.map(([field, label, get]) => rowOf(field, label, get(base), get(mine), get(theirs)));
  return [...rows, orderRow(base, mine, theirs), ...nfRows(base, mine, theirs)].filter((row) => row !== null);
}

export const isDecided = (rows) => rows.every((row) => row.choice !== null);

/** Names in the order of `lead`; those only in `other` come in after the name they follow there. */
function wovenOrder(lead, other) {
  const names = [...lead];
  other.forEach((name, index) => {
    if (names.includes(name)) return;
    const before = other.slice(0, index).reverse().find((earlier) => names.includes(earlier));
    names.splice(before === undefined ? 0 : names.indexOf(before) + 1, 0, name);
  });
  return names;
}

/** The merged draft, once every row is decided. Its name is theirs: a chain's name never changes. */
export function mergedOf(rows, mine, theirs) {
  const choices = new Map(rows.map((row) => [row.field, row.choice]));
  const pick = (field, get) => get(choices.get(field) === "mine" ? mine : theirs);
  const merged = draftOf(theirs);
  for (const [field, , get] of CHAIN_FIELDS) {
    const value = pick(field, get);
    if (field.startsWith("match.")) merged.match[field.slice(6)] = value;
    else merged[field] = value;
  }
  const isMineFirst = choices.get("order") === "mine";
  const [lead, other] = isMineFirst ? [mine, theirs] : [theirs, mine];
  merged.nfs = wovenOrder(namesOf(lead), namesOf(other)).flatMap((name) => {
    const [inMine, inTheirs] = [nfNamed(mine, name), nfNamed(theirs, name)];
    const isIn = inMine && inTheirs ? true : pick(`nf:${name}`, (draft) => Boolean(nfNamed(draft, name)));
    if (!isIn) return [];
    if (!inMine || !inTheirs) return [inMine ?? inTheirs];
    const fields = NF_FIELDS.map(([field]) => [field, choices.get(`nf:${name}.${field}`) === "mine" ? inMine[field] : inTheirs[field]]);
    return [{ ...inTheirs, ...Object.fromEntries(fields) }];
  });
  return merged;
}
