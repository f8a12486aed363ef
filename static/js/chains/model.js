// The chain on the drawing board: edits as pure functions, and their history. No page, no network.

export const NFS_MAX = 32;
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;
export const PROTOCOLS = ["", "tcp", "udp", "icmp", "icmpv6", "ah", "esp", "gre", "sctp"];
export const REPLANS = { off: "never", propose: "propose a new plan", apply: "plan and apply" };
const HISTORY_LIMIT = 200;

const DEFAULTS = { rate_pps: 10000, packet_bytes: 724, slo_p99_ms: null, replan: "propose" };
const NF_KEYS = ["name", "type", "params", "service", "pinned_server", "is_state_advisory"];

const copyOf = (value) => (value === undefined ? null : JSON.parse(JSON.stringify(value)));
const isPositive = (value) => typeof value === "number" && Number.isFinite(value) && value > 0;

/** JSON with sorted keys: two values are the same exactly when their texts are. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object") {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  return JSON.stringify(value ?? null);
}

export const isSame = (one, other) => canonical(one) === canonical(other);

function nfOf(row) {
  return {
    name: row.name,
    type: row.type,
    params: copyOf(row.params ?? {}),
    service: row.service ? copyOf(row.service) : null,
    pinned_server: row.pinned_server ?? "",
    is_state_advisory: Boolean(row.is_state_advisory),
  };
}

/** A draft from a chain as the API gives it; a new, empty one from nothing. */
export function draftOf(chain = {}) {
  const match = chain.match ?? {};
  return {
    name: chain.name ?? "",
    title: chain.title ?? "",
    match: { src: match.src ?? "", dst: match.dst ?? "", proto: match.proto ?? "", dst_port: copyOf(match.dst_port ?? []) },
    rate_pps: chain.rate_pps ?? DEFAULTS.rate_pps,
    packet_bytes: chain.packet_bytes ?? DEFAULTS.packet_bytes,
    slo_p99_ms: chain.slo_p99_ms ?? DEFAULTS.slo_p99_ms,
    replan: chain.replan ?? DEFAULTS.replan,
    nfs: (chain.nfs ?? []).map(nfOf),
  };
}

/** What the API takes. What is empty is left out, so that the portal's defaults hold. */
export function bodyOf(draft) {
  const match = Object.fromEntries(Object.entries(draft.match).filter(([, value]) => value !== "" && !(Array.isArray(value) && !value.length)));
  const nfs = draft.nfs.map((nf) => Object.fromEntries(NF_KEYS.filter((key) => key !== "service" || nf.service).map((key) => [key, nf[key]])));
  return { ...copyOf({ ...draft, nfs, match }) };
}

/** A name that no network function of the draft has: firewall, firewall-2, ... */
export function freshName(draft, type) {
  const stem = type.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "") || "nf";
  const taken = new Set(draft.nfs.map((nf) => nf.name));
  if (!taken.has(stem)) return stem;
  let number = 2;
  while (taken.has(`${stem}-${number}`)) number += 1;
  return `${stem}-${number}`;
}

/** Put a new network function of a type into the draft, at a position or at the end. */
export function addNf(draft, type, at = draft.nfs.length) {
  if (draft.nfs.length >= NFS_MAX) return draft;
  const nfs = [...draft.nfs];
  nfs.splice(Math.max(0, Math.min(at, nfs.length)), 0, nfOf({ name: freshName(draft, type), type }));
  return { ...draft, nfs };
}

/** Move a network function; the draft itself when that changes nothing. */
export function moveNf(draft, from, to) {
  const target = Math.max(0, Math.min(to, draft.nfs.length - 1));
  if (from === target || !draft.nfs[from]) return draft;
  const nfs = [...draft.nfs];
  nfs.splice(target, 0, ...nfs.splice(from, 1));
  return { ...draft, nfs };
}

export function removeNf(draft, index) {
  if (!draft.nfs[index]) return draft;
  return { ...draft, nfs: draft.nfs.filter((_, position) => position !== index) };
}

export function changeNf(draft, index, patch) {
  if (!draft.nfs[index]) return draft;
  return { ...draft, nfs: draft.nfs.map((nf, position) => (position === index ? { ...nf, ...patch } : nf)) };
}

export const changeChain = (draft, patch) => ({ ...draft, ...patch });
export const changeMatch = (draft, patch) => ({ ...draft, match: { ...draft.match, ...patch } });

function nfProblems(nf, index, names) {
  const found = [];
  const add = (field, words) => found.push({ field: `nfs[${index}].${field}`, words });
  if (!NAME_PATTERN.test(nf.name)) add("name", "small letters, digits and dashes, at most 63, not empty");
  else if (names.filter((name) => name === nf.name).length > 1) add("name", `${nf.name} is there twice; names are unique in a chain`);
  if (nf.params === undefined) add("params", "must be a JSON object");
  if (nf.service && !isPositive(nf.service.mean_us)) add("service.mean_us", "must be above 0 µs");
  if (nf.service && !(typeof nf.service.scv === "number" && nf.service.scv >= 0)) add("service.scv", "must be 0 or more");
  return found;
}

/** What must be mended before the draft can be analysed or saved: rows of {field, words}. */
export function problemsOf(draft) {
  const found = [];
  if (!NAME_PATTERN.test(draft.name)) found.push({ field: "name", words: "give the chain a name: small letters, digits and dashes" });
  if (!isPositive(draft.rate_pps)) found.push({ field: "rate_pps", words: "must be above 0 packets/s" });
  if (!isPositive(draft.packet_bytes)) found.push({ field: "packet_bytes", words: "must be above 0 bytes" });
  if (draft.slo_p99_ms !== null && !isPositive(draft.slo_p99_ms)) found.push({ field: "slo_p99_ms", words: "must be above 0 ms, or empty for no target" });
  if (!Array.isArray(draft.match.dst_port)) found.push({ field: "match.dst_port", words: "ports from 1 to 65535, with commas between them" });
  if (!draft.nfs.length) found.push({ field: "nfs", words: "add at least one network function" });
  const names = draft.nfs.map((nf) => nf.name);
  return [...found, ...draft.nfs.flatMap((nf, index) => nfProblems(nf, index, names))];
}

/** Ports from text such as "80, 443"; null when it is not a list of ports. */
export function portsOf(text) {
  const parts = text.split(/[\s,]+/).filter(Boolean);
  const ports = parts.map(Number);
  return ports.every((port, index) => /^\d+$/.test(parts[index]) && port >= 1 && port <= 65535) ? ports : null;
}

/** Every edit, to be undone and redone. Typing in one field is one step: edits with the same key in a row fold. */
export class EditHistory {
  constructor(draft) {
    this.reset(draft);
  }

  /** Start again from a saved version: nothing to undo, nothing unsaved. */
  reset(draft) {
    this.past = [];
    this.future = [];
    this.present = draft;
    this.saved = draft;
    this.foldKey = null;
  }

  get canUndo() {
    return this.past.length > 0;
  }

  get canRedo() {
    return this.future.length > 0;
  }

  get isDirty() {
    return !isSame(this.present, this.saved);
  }

  /** Words of the edit that undo would take back, or redo would do again. */
  get undoWords() {
    return this.past.at(-1)?.words ?? "";
  }

  get redoWords() {
    return this.future.at(-1)?.words ?? "";
  }

  /** Take an edit; false when it changes nothing. */
  push(draft, words, foldKey = null) {
    if (draft === this.present || isSame(draft, this.present)) return false;
    const isFolded = foldKey !== null && foldKey === this.foldKey && this.past.length > 0;
    if (!isFolded) this.past.push({ draft: this.present, words });
    if (this.past.length > HISTORY_LIMIT) this.past.shift();
    this.present = draft;
    this.future = [];
    this.foldKey = foldKey;
    return true;
  }

  /** The next edit is a step of its own, also in the same field. */
  breakFold() {
    this.foldKey = null;
  }

  undo() {
    const step = this.past.pop();
    if (!step) return false;
    this.future.push({ draft: this.present, words: step.words });
    this.present = step.draft;
    this.foldKey = null;
    return true;
  }

  redo() {
    const step = this.future.pop();
    if (!step) return false;
    this.past.push({ draft: this.present, words: step.words });
    this.present = step.draft;
    this.foldKey = null;
    return true;
  }

  /** The given version is what the portal now has; what was edited since stays, and can be undone. */
  markSaved(draft) {
    this.saved = draft;
  }
}
