"""What rules of nftables do, read from what nft itself lists as JSON: refused unless the profile speaks the truth.

The profile of the type ``nftables`` says: reads header fields, drops by them, writes nothing, the same for every
packet whenever it comes. Plans are right only for rules of which that is true, so what is allowed is a list:

    statements    match, counter, accept, drop, continue, return, jump, goto, vmap
    expressions   header fields of FIELDS; meta keys of META; sets, ranges, prefixes, masks, concatenations
    chains        type filter at prerouting, forward, postrouting (input and output see no packets), and what they call
    not           rates and quotas (the machine's clock), connection tracking (the clock, and checksums over payloads),
                  random numbers, sets that rules fill or that time out, rewriting, rejecting, queues, copies, logs

Counters are figures for people, told by ``counters_of``; no rule can ask for them.

Source: libnftables-json(5).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from nfvportal.lib.errors import InvalidInputError

FIELD: Final = "params.ruleset"
FIGURES_MAX: Final = 64
STATEMENTS: Final = frozenset(
    {"match", "counter", "accept", "drop", "continue", "return", "jump", "goto", "vmap"}
)
HOOKS: Final = frozenset({"prerouting", "forward", "postrouting"})
META: Final = frozenset({"l4proto", "protocol", "nfproto", "iifname", "oifname"})
# TABLE: protocol as nft names it -> its fields that rules may read. Checksums are left out: they follow other fields.
FIELDS: Final[dict[str, frozenset[str]]] = {
    "ether": frozenset({"saddr", "daddr", "type"}),
    "vlan": frozenset({"id", "pcp", "dei", "cfi", "type"}),
    "ip": frozenset(
        {
            "version",
            "hdrlength",
            "dscp",
            "ecn",
            "length",
            "id",
            "frag-off",
            "ttl",
            "protocol",
            "saddr",
            "daddr",
        }
    ),
    "ip6": frozenset(
        {"version", "dscp", "ecn", "flowlabel", "length", "nexthdr", "hoplimit", "saddr", "daddr"}
    ),
    "tcp": frozenset({"sport", "dport", "sequence", "ackseq", "doff", "flags", "window"}),
    "udp": frozenset({"sport", "dport", "length"}),
    "th": frozenset({"sport", "dport"}),
    "icmp": frozenset({"type", "code"}),
    "icmpv6": frozenset({"type", "code"}),
}
_OPERATORS: Final = frozenset({"&", "|", "^", "<<", ">>", "concat", "prefix", "range", "set", "elem"})
# Parts of an operator that hold no expression.
_PLAIN_KEYS: Final = frozenset({"addr", "len", "val", "comment", "counter"})


def ruleset_check(listing: Mapping[str, Any]) -> None:
    """Refuse rules of which the profile would not be true.

    Args:
        listing: what ``nft -j list ruleset`` said after they were loaded.

    Raises:
        InvalidInputError: ``params.ruleset``, with what is not allowed and why.
    """
    base_count = 0
    for kind, row in _rows(listing):
        if row.get("family", "bridge") != "bridge":
            _refuse(f"must have tables of the family bridge only, not {row['family']}: packets pass a bridge")
        if kind == "chain" and "hook" in row:
            _check_chain(row)
            base_count += 1
        elif kind == "rule":
            for statement in row.get("expr", []):
                _check_statement(statement)
        elif kind in ("set", "map"):
            _check_set(row)
        elif kind not in ("table", "chain", "counter"):
            _refuse(f"must not have a {kind}: only tables, chains, rules, sets, maps and counters")
    if not base_count:
        _refuse("must have a chain with a hook, such as: type filter hook forward priority 0; policy accept;")


def counters_of(listing: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return packets and bytes of the counters in a listing: named ones by name, others by rule.

    A rule's counter is named by its comment, or ``chain#n``, n its place in the chain from 1.
    """
    found: dict[str, list[int]] = {}
    places: dict[tuple[str, str], int] = {}
    for kind, row in _rows(listing):
        if kind == "counter":
            found[str(row["name"])] = [row["packets"], row["bytes"]]
        elif kind == "rule":
            chain = (row["table"], row["chain"])
            places[chain] = places.get(chain, 0) + 1
            for statement in row.get("expr", []):
                counter = statement.get("counter")
                if isinstance(counter, Mapping):
                    name = str(row.get("comment", f"{row['chain']}#{places[chain]}"))
                    before = found.get(name, [0, 0])
                    found[name] = [before[0] + counter["packets"], before[1] + counter["bytes"]]
        if len(found) >= FIGURES_MAX:
            break
    return found


def _rows(listing: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in listing.get("nftables", []):
        for kind, row in item.items():
            if kind != "metainfo":
                yield kind, row


def _check_chain(row: Mapping[str, Any]) -> None:
    if row.get("type") != "filter" or row["hook"] not in HOOKS:
        _refuse(
            f"must have chains of type filter at {', '.join(sorted(HOOKS))}, "
            f"not {row.get('type')} at {row['hook']} (chain {row['name']})"
        )


def _check_statement(statement: Mapping[str, Any]) -> None:
    for name, body in statement.items():
        if name not in STATEMENTS:
            _refuse(f"must not use {name}: {_reason(name)}")
        if name == "match":
            _check_expression(body["left"])
            _check_expression(body["right"])
        elif name == "vmap":
            _check_expression(body["key"])


def _check_expression(value: object) -> None:
    if isinstance(value, list):
        for item in value:
            _check_expression(item)
    if not isinstance(value, Mapping):
        return
    for name, body in value.items():
        if name == "payload":
            _check_payload(body)
        elif name == "meta":
            key = str(body.get("key"))
            if key not in META:
                _refuse(f"must not match meta {key}, only meta {', '.join(sorted(META))}{_instead(key)}")
        elif name in _OPERATORS:
            _check_expression(body)
        elif name not in _PLAIN_KEYS and name not in STATEMENTS:
            _refuse(f"must not match {name}: {_reason(name)}")


def _check_payload(body: Mapping[str, Any]) -> None:
    protocol, field = str(body.get("protocol", "")), str(body.get("field", ""))
    if not protocol:
        _refuse("must not match raw bytes (@...): name a header field, so that it is known which")
    allowed = FIELDS.get(protocol, frozenset())
    if field not in allowed:
        words = ", ".join(sorted(allowed)) or "nothing"
        _refuse(f"must not match {protocol} {field}; of {protocol} it may match {words}")


def _check_set(row: Mapping[str, Any]) -> None:
    flags = row.get("flags", [])
    names = {flags} if isinstance(flags, str) else set(flags)
    if names - {"constant", "interval"} or "timeout" in row or "gc-interval" in row:
        _refuse(
            f"must not have sets that time out or that rules fill (set {row['name']}): the clock would decide"
        )


def _instead(key: str) -> str:
    return " (the length: ip length)" if key == "length" else ""


def _reason(name: str) -> str:
    """Say why a word of nft is not allowed, for operators."""
    if name in ("limit", "quota", "last", "time", "hour", "day", "meter"):
        return "what it does depends on the machine's clock or on all packets before"
    if name in ("ct", "ct helper", "ct timeout", "flow"):
        return "connection tracking forgets by the machine's clock, and checks checksums over the payload"
    if name in ("numgen", "jhash", "symhash"):
        return "what it does is random"
    if name in ("mangle", "snat", "dnat", "masquerade", "redirect", "notrack", "secmark"):
        return "the profile says that nothing is written"
    if name in ("reject", "tproxy", "synproxy", "queue", "dup", "fwd", "log"):
        return "packets would be made, sent elsewhere or kept"
    return "only what is known to depend on the packet's headers alone is allowed"


def _refuse(limit: str) -> NoReturn:
    raise InvalidInputError(FIELD, limit)
