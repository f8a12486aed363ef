"""Foreign programs asked about their settings: what they refuse in their own words, and what we do for the profile."""

import re
import shutil

import pytest

from apps.chains.agent.foreign_programs import PROGRAMS, foreign_nfs_check
from apps.chains.agent.specs import NfSpec
from apps.chains.agent.worker_start import check_nf
from apps.chains.engine.foreign import FOREIGN
from nfvportal.lib.errors import InvalidInputError
from tests.chains.agent.foreign_bed import OPEN, with_tool
from tests.nfvportal.agent.in_namespace import in_namespace


def test_every_foreign_type_has_a_program() -> None:
    assert PROGRAMS.keys() == FOREIGN.keys()


BAD_RULES = {
    "tcp dprt 80 drop": "line 4, column 7: syntax error.*(nft)",
    "limit rate 5/second accept": "must not use limit: .*clock",
    "quota over 5 mbytes drop": "must not use quota",
    "ip ttl set 9": "must not use mangle: the profile says that nothing is written",
    "numgen random mod 2 0 drop": "must not match numgen: .*random",
    "meta length > 100 drop": "must not match meta length.*ip length",
    "meta mark 1 drop": "must not match meta mark",
    "@nh,64,8 9 drop": "must not match raw bytes",
    "ip checksum 7 drop": "must not match ip checksum",
    'log prefix "x"': "must not use log: packets would be made, sent elsewhere or kept",
    "tcp option maxseg size 1 drop": "must not match tcp option",
    'dup to "out"': "(nft)",
}


@with_tool("nft")
def test_rules_that_belie_the_profile_are_refused() -> None:
    for rule, words in BAD_RULES.items():
        ruleset = OPEN.replace("policy accept;", f"policy accept;\n  {rule}\n")
        with pytest.raises(InvalidInputError) as caught:
            foreign_nfs_check([NfSpec("c/fw", "nftables", {"ruleset": ruleset}, 1, {})])
        assert caught.value.field == "nfs[0].params.ruleset"
        assert re.search(words, caught.value.limit), (rule, caught.value.limit)


BAD_TABLES = {
    OPEN.replace("bridge", "inet") + OPEN.replace("bridge t", "bridge u"): "family bridge only, not inet",
    OPEN.replace("forward", "input"): "not filter at input",
    OPEN.replace(
        "filter hook forward priority 0; policy accept;", "filter hook forwrd priority 0;"
    ): "unknown chain",
    "table bridge t { }\n": "must have a chain with a hook",
    "table bridge t {\n set s { type ipv4_addr; flags timeout; }\n}\n" + OPEN: "time out or that rules fill",
    "table bridge t {\n quota q { over 5 mbytes }\n}\n" + OPEN: "must not have a quota",
    'include "/etc/hostname"\n' + OPEN: "include",
    OPEN.replace("table bridge t {", "table bridge t {\n flags owner;"): "flag owner",
    "# " + "x" * 40_000: "1 to 12288 characters",
    "# é" + "é" * 10_000 + OPEN: "at most 12288 bytes",
    "\x1b" + OPEN: "plain text",
    "nonsense": "must have a table of the family bridge",
}


@with_tool("nft")
def test_tables_that_are_not_for_a_bridge_are_refused() -> None:
    for ruleset, words in BAD_TABLES.items():
        with pytest.raises(InvalidInputError) as caught:
            foreign_nfs_check([NfSpec("c/fw", "nftables", {"ruleset": ruleset}, 1, {})])
        assert caught.value.field == "nfs[0].params.ruleset"
        assert re.search(words, caught.value.limit), (ruleset[:80], caught.value.limit)


@with_tool("ngrep")
def test_patterns_that_ngrep_refuses_are_refused() -> None:
    foreign_nfs_check([NfSpec("c/search", "ngrep", {"pattern": "-K3|a{2}"}, 1, {})])
    for pattern, words in (
        ("(", "missing closing parenthesis.*(ngrep)"),
        ("a\nb", "one line"),
        ("", "1 to 512"),
    ):
        with pytest.raises(InvalidInputError, match=words) as caught:
            foreign_nfs_check([NfSpec("c/search", "ngrep", {"pattern": pattern}, 1, {})])
        assert caught.value.field == "nfs[0].params.pattern"


@pytest.mark.parametrize(
    ("type_", "params", "tool"),
    [("nftables", {"ruleset": OPEN}, "nftables"), ("ngrep", {"pattern": "x"}, "ngrep")],
)
def test_a_server_without_the_program_says_what_to_install(
    type_: str, params: dict[str, object], tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)

    @in_namespace
    def body() -> None:
        with pytest.raises(InvalidInputError, match=f"install {tool} there") as caught:
            foreign_nfs_check([NfSpec("c/nf", "monitor", {}, 1, {}), NfSpec("c/nf", type_, params, 1, {})])
        assert caught.value.field == "nfs[1].type"

    body()


def test_settings_are_checked_without_the_program_too() -> None:
    with pytest.raises(InvalidInputError, match=r"params\.rules: is unknown"):
        check_nf(NfSpec("c/fw", "nftables", {"rules": []}, 1, {}))
    check_nf(NfSpec("c/fw", "nftables", {"ruleset": OPEN}, 1, {}))
