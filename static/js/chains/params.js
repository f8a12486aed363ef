// What network functions can be told, with an example each; the portal checks what is really typed.

const MATCH = "src, dst, proto, src_port, dst_port";

export const SETTINGS = {
  firewall: { words: `rules (action allow or deny, ${MATCH}), the first that matches decides; default: deny unless you say allow.`, example: { default: "allow", rules: [{ action: "deny", proto: "tcp", dst_port: 23 }] } },
  monitor: { words: "flows_max: how many flows are counted at once.", example: { flows_max: 65536 } },
  ids: { words: "signatures: name, and pattern or pattern_hex; proto and dst_port narrow them.", example: { signatures: [{ name: "shell", pattern: "/bin/sh" }] } },
  ips: { words: "signatures: name, and pattern or pattern_hex; packets that complete one are dropped.", example: { signatures: [{ name: "shell", pattern: "/bin/sh" }] } },
  dpi: { words: "signatures: name, and pattern or pattern_hex.", example: { signatures: [{ name: "video", pattern: "ftypmp42" }] } },
  load_balancer: { words: "vip, and the backends it stands for; port and proto narrow it.", example: { vip: "192.168.0.1", backends: [{ address: "192.168.100.11", weight: 1 }, { address: "192.168.100.12", weight: 1 }] } },
  nat: { words: "inside: the prefix to hide; public: the address to show.", example: { inside: "10.0.0.0/8", public: "192.0.2.1" } },
  vpn: { words: "key: 16 to 128 characters, known to the peer.", example: { key: "choose a key of your own" } },
  url_filter: { words: "blocked: host names, or host name and path.", example: { blocked: ["example.com", "example.org/private"] } },
  rate_limiter: { words: "rate_bps, and burst_bytes that may pass at once.", example: { rate_bps: 10000000, burst_bytes: 100000 } },
  header_enrichment: { words: `rules (dscp, ${MATCH}); default: code point of all others.`, example: { rules: [{ dscp: 46, proto: "udp" }], default: 0 } },
  nftables: { words: "Tables of the family bridge; packets come in at port in, and leave at port out. Rules may match header fields, count, accept and drop; the server refuses others.", example: { ruleset: "table bridge filter {\n  chain forward {\n    type filter hook forward priority 0; policy accept;\n    tcp dport 23 counter drop comment \"telnet\"\n  }\n}\n" } },
  ngrep: { words: "pattern: a regular expression to search payloads for; is_ignoring_case: whether a is A.", example: { pattern: "/etc/(passwd|shadow)", is_ignoring_case: false } },
  waiter: { words: "wait_us: how long each packet waits.", example: { wait_us: 1000 } },
};

/** Settings that are text of several lines and have a field of their own: implementation -> name -> label. */
export const TEXTS = { nftables: { ruleset: "Rule set (nft)" } };

/** What an operator must know before packets meet it; "" for nothing. */
export function warningOf(nf, type) {
  const runs = type?.implementation;
  const isEmpty = !Object.keys(nf.params).length;
  if (runs === "firewall" && nf.params.default !== "allow" && !nf.params.rules?.length) return "drops everything: no rule allows";
  if (runs && isEmpty && ["load_balancer", "nat", "vpn", "rate_limiter", "nftables", "ngrep"].includes(runs)) return "needs parameters to run";
  return "";
}
