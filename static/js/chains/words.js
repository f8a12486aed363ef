// Words and units of chains, as an operator reads them. A missing value is a dash, never a zero.

const NONE = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Whole numbers with narrow spaces between thousands. */
export const grouped = (value) => (isNumber(value) ? Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f") : NONE);

/** Microseconds, as µs, ms or s. */
export function duration(us) {
  if (!isNumber(us)) return NONE;
  const size = Math.abs(us);
  if (size >= 1e7) return `${(us / 1e6).toFixed(1)} s`;
  if (size >= 1e5) return `${(us / 1e3).toFixed(0)} ms`;
  if (size >= 1e3) return `${(us / 1e3).toFixed(2)} ms`;
  return `${us.toFixed(size >= 100 || us === 0 ? 0 : 1)} µs`;
}

/** A predicted latency: the API says null where a stage is overloaded and the queue grows without end. */
export const predicted = (us) => (isNumber(us) ? duration(us) : "overloaded");

export const packetRate = (pps) => (isNumber(pps) ? `${pps < 10 ? pps.toFixed(1) : grouped(pps)} packets/s` : NONE);
export const bytes = (count) => (isNumber(count) ? `${grouped(count)} B` : NONE);
export const count = grouped;
export const targetOf = (sloMs) => (isNumber(sloMs) ? `${sloMs} ms` : "no target");

/** How much lower `now` is than `before`: "−43 %"; "" when it cannot be said. */
export function change(before, now) {
  if (!isNumber(before) || !isNumber(now) || before === 0) return "";
  const ratio = (now - before) / before;
  const percent = Math.abs(ratio * 100);
  if (percent < 0.05) return "±0 %";
  const digits = percent >= 10 ? 0 : 1;
  return `${ratio < 0 ? "−" : "+"}${percent.toFixed(digits)} %`;
}

/** Verdicts of a pair: symbol, short word, and what it means. */
export const VERDICTS = {
  ok: { symbol: "∥", word: "parallel", meaning: "side by side on one buffer, nothing is copied" },
  copy_header: { symbol: "∥H", word: "header copy", meaning: "side by side; the later one gets a copy of the headers" },
  copy_full: { symbol: "∥F", word: "full copy", meaning: "side by side; the later one gets a copy of the whole packet" },
  no: { symbol: "→", word: "in order", meaning: "must stay one after the other" },
};

export const COPIES = { shared: "one buffer", header: "header copy", full: "full copy" };

export const FIELDS = {
  eth_dst: "destination MAC", eth_src: "source MAC", vlan: "VLAN", ip_src: "source IP", ip_dst: "destination IP",
  ip_proto: "protocol", ip_ttl: "TTL", ip_tos: "DSCP/ECN", ip_id: "IP ID", flow_label: "flow label",
  src_port: "source port", dst_port: "destination port", tcp_seq: "TCP sequence", tcp_ack: "TCP acknowledgement",
  tcp_flags: "TCP flags", tcp_window: "TCP window", payload: "payload",
};

export const FLAGS = {
  terminates: "ends connections itself", generates: "makes packets of its own", buffers: "holds packets back to join them",
  delays: "delays packets", time_dependent: "depends on the time between packets", random: "decides by chance",
  not_fifo: "may reorder packets", l2_rewrite: "rewrites link addresses", ttl_dec: "lowers the TTL",
  len_change: "changes the length", writes_checksum: "writes checksums",
};

export const STATES = { none: "no state", flow: "state per flow", shared: "state over all flows" };

export const fieldWords = (fields) => (fields?.length ? fields.map((field) => FIELDS[field] ?? field).join(", ") : "–");
export const flagWords = (flags) => (flags?.length ? flags.map((flag) => FLAGS[flag] ?? flag).join(", ") : "–");

const INFEASIBLE = { capacity: "No server can take it", link: "A link is too slow", slo: "No plan is fast enough" };
export const infeasibleWords = (reason) => INFEASIBLE[reason] ?? "No plan";

/** The chip of a chain's state: [state for the colour and shape, word]. */
export function chainState(state) {
  const chips = {
    live: ["up", "live"], planned: ["info", "planned"], draft: ["queued", "draft"], deploying: ["running", "deploying"],
    applying: ["running", "applying"], degraded: ["degraded", "degraded"], failed: ["failed", "failed"],
    removing: ["running", "removing"], removed: ["queued", "removed"],
  };
  return chips[state] ?? ["unknown", state || "unknown"];
}

/** The name in its chain of what agents call an instance: "north-south/edge-firewall" is edge-firewall. */
export const nfNameOf = (instance) => String(instance ?? "").split("/").at(-1);
