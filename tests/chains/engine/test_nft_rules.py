"""Rules as nft lists them: what is allowed, what is refused, and their counters. Real nft: see the agent's tests."""

from typing import Any

import pytest

from apps.chains.engine import nft_rules
from apps.chains.engine.nft_rules import FIELDS, counters_of, ruleset_check
from nfvportal.lib.errors import InvalidInputError

Row = dict[str, Any]
TABLE: Row = {"table": {"family": "bridge", "name": "t", "handle": 1}}
CHAIN: Row = {
    "chain": {
        "family": "bridge",
        "table": "t",
        "name": "c",
        "type": "filter",
        "hook": "forward",
        "prio": 0,
        "policy": "accept",
    }
}


def rule(*statements: Row, **more: object) -> Row:
    return {"rule": {"family": "bridge", "table": "t", "chain": "c", "expr": list(statements), **more}}


def match(left: object, right: object = 1, op: str = "==") -> Row:
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol: str, field: str) -> Row:
    return {"payload": {"protocol": protocol, "field": field}}


def listing(*rows: Row) -> Row:
    return {"nftables": [{"metainfo": {"json_schema_version": 1}}, TABLE, *rows]}


COUNTER: Row = {"counter": {"packets": 3, "bytes": 300}}
ALLOWED: list[Row] = [
    rule(match(payload("tcp", "dport"), 80), COUNTER, {"drop": None}),
    rule(match(payload("ip", "saddr"), {"prefix": {"addr": "10.0.0.0", "len": 8}}), {"accept": None}),
    rule(match(payload("ip", "saddr"), {"range": ["10.0.0.1", "10.0.0.9"]}, "!="), {"jump": {"target": "d"}}),
    rule(match(payload("tcp", "dport"), {"set": [80, {"range": [90, 99]}]}), {"return": None}),
    rule(match({"&": [payload("tcp", "flags"), ["syn", "ack"]]}, "syn"), {"goto": {"target": "d"}}),
    rule(
        match({"concat": [payload("ip", "saddr"), payload("tcp", "dport")]}, "@pairs"), {"counter": "named"}
    ),
    rule({"vmap": {"key": payload("th", "dport"), "data": {"set": [[22, {"drop": None}]]}}}),
    rule(match({"meta": {"key": "l4proto"}}, "tcp"), {"continue": None}),
    rule(match(payload("ip", "daddr"), {"set": [{"elem": {"val": "10.0.0.1", "comment": "one"}}]})),
    {"set": {"family": "bridge", "table": "t", "name": "s", "type": "ipv4_addr", "flags": ["interval"]}},
    {"map": {"family": "bridge", "table": "t", "name": "m", "type": "inet_service", "map": "verdict"}},
    {"counter": {"family": "bridge", "table": "t", "name": "n", "packets": 0, "bytes": 0}},
    {"chain": {"family": "bridge", "table": "t", "name": "d"}},
]
REFUSED: list[tuple[Row, str]] = [
    (rule({"limit": {"rate": 5, "per": "second"}}), "limit: .*clock"),
    (rule({"mangle": {"key": payload("ip", "ttl"), "value": 9}}), "mangle: .*nothing is written"),
    (rule({"reject": None}), "reject: packets would be made"),
    (rule({"queue": {"num": 1}}), "queue"),
    (
        rule({"set": {"op": "add", "elem": payload("ip", "saddr"), "set": "@s"}}),
        "must not use set: only what is known",
    ),
    (rule({"anything new": {}}), "must not use anything new: only what is known"),
    (rule(match({"ct": {"key": "state"}}, "new")), "ct: connection tracking"),
    (rule(match({"numgen": {"mode": "random", "mod": 2}}, 0)), "numgen: .*random"),
    (rule(match({"meta": {"key": "mark"}})), "meta mark, only meta"),
    (rule(match({"meta": {"key": "length"}})), "ip length"),
    (rule(match({"payload": {"base": "nh", "offset": 64, "len": 8}})), "raw bytes"),
    (rule(match(payload("tcp", "checksum"))), "tcp checksum; of tcp it may match ackseq"),
    (rule(match(payload("sctp", "dport"))), "of sctp it may match nothing"),
    (rule(match({"concat": [payload("ip", "saddr"), {"ct": {"key": "mark"}}]})), "ct"),
    (rule(match({"&": [{"meta": {"key": "mark"}}, 1]})), "meta mark"),
    (rule(match(payload("ip", "saddr"), {"set": [{"elem": {"val": "10.0.0.1", "timeout": 5}}]})), "timeout"),
    (rule({"vmap": {"key": {"ct": {"key": "state"}}, "data": "@m"}}), "ct"),
    ({"set": {"family": "bridge", "table": "t", "name": "s", "flags": ["timeout"]}}, r"\(set s\)"),
    ({"set": {"family": "bridge", "table": "t", "name": "s", "flags": "dynamic"}}, r"\(set s\)"),
    ({"map": {"family": "bridge", "table": "t", "name": "m", "timeout": 3}}, r"\(set m\)"),
    ({"quota": {"family": "bridge", "table": "t", "name": "q"}}, "must not have a quota"),
    ({"flowtable": {"family": "bridge", "table": "t", "name": "f"}}, "must not have a flowtable"),
    ({"table": {"family": "inet", "name": "u"}}, "not inet"),
    ({"chain": {**CHAIN["chain"], "name": "i", "hook": "input"}}, r"filter at input \(chain i\)"),
    ({"chain": {**CHAIN["chain"], "name": "n", "type": "nat"}}, "nat at forward"),
]


@pytest.mark.parametrize("row", ALLOWED, ids=str)
def test_allowed(row: Row) -> None:
    ruleset_check(listing(CHAIN, row))


@pytest.mark.parametrize(("row", "words"), REFUSED, ids=lambda value: str(value)[:60])
def test_refused(row: Row, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        ruleset_check(listing(CHAIN, row))
    assert caught.value.field == "params.ruleset"


def test_rules_that_no_packet_meets_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="chain with a hook"):
        ruleset_check(listing({"chain": {"family": "bridge", "table": "t", "name": "d"}}))


def test_no_field_follows_other_fields() -> None:
    """A checksum changes with whatever is written, which no profile would tell."""
    assert not [name for names in FIELDS.values() for name in names if "sum" in name]


def test_counters_by_name_comment_and_place() -> None:
    named: Row = {"counter": {"family": "bridge", "table": "t", "name": "n", "packets": 7, "bytes": 70}}
    rows = [
        CHAIN,
        named,
        rule({"accept": None}),
        rule(COUNTER, comment="web"),
        rule(COUNTER),
        rule(COUNTER, comment="web"),
        rule({"counter": "n"}),
    ]
    assert counters_of(listing(*rows)) == {"n": [7, 70], "web": [6, 600], "c#3": [3, 300]}


def test_counters_are_bounded() -> None:
    rows = [rule(COUNTER) for _ in range(3 * nft_rules.FIGURES_MAX)]
    assert len(counters_of(listing(CHAIN, *rows))) == nft_rules.FIGURES_MAX
