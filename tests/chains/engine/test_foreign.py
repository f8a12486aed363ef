"""Settings of foreign functions, and their profiles: they are never less careful than what they stand for."""

import pytest

from apps.chains.engine.analysis import pair_verdict
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.differential import chain_nfs
from apps.chains.engine.foreign import FOREIGN, RULESET_BYTES_MAX, foreign_check, ngrep_pattern
from apps.chains.engine.nfs.registry import MAKERS
from apps.chains.engine.synthetic_nf import SyntheticNf
from nfvportal.lib.errors import InvalidInputError

RULES = "table bridge t { }"


def test_foreign_types_are_in_the_catalogue_and_not_ours() -> None:
    assert not FOREIGN.keys() & MAKERS.keys()
    for slug in FOREIGN:
        assert CATALOGUE[slug].implementation == slug
        # The kernel and programs look at lengths, so headers alone would not do.
        assert CATALOGUE[slug].profile.needs_payload


def test_a_foreign_firewall_is_allowed_no_more_than_ours() -> None:
    ours, foreign = CATALOGUE["firewall"].profile, CATALOGUE["nftables"].profile
    for other in CATALOGUE.values():
        for pair, twin in (
            ((foreign, other.profile), (ours, other.profile)),
            ((other.profile, foreign), (other.profile, ours)),
        ):
            if pair_verdict(*twin).kind == "no":
                assert pair_verdict(*pair).kind == "no", other.slug
    assert pair_verdict(CATALOGUE["monitor"].profile, foreign).kind == "ok"


def test_where_no_program_runs_their_profile_plays_them() -> None:
    types = [CATALOGUE[slug] for slug in FOREIGN]
    nfs = tuple(NfInstance(entry.slug, entry.slug, entry.profile, entry.service) for entry in types)
    assert all(isinstance(nf, SyntheticNf) for nf in chain_nfs(Chain("foreign", nfs, 100.0)))


@pytest.mark.parametrize(
    ("type_", "params", "field", "words"),
    [
        ("nftables", {}, "params.ruleset", "text of 1 to"),
        ("nftables", {"ruleset": 5}, "params.ruleset", "text of 1 to"),
        ("nftables", {"ruleset": RULES + " " * RULESET_BYTES_MAX}, "params.ruleset", "text of 1 to"),
        ("nftables", {"ruleset": RULES + "é" * (RULESET_BYTES_MAX // 2)}, "params.ruleset", "bytes"),
        ("nftables", {"ruleset": "table inet t { }"}, "params.ruleset", "family bridge"),
        ("nftables", {"ruleset": RULES + '\ninclude "x"'}, "params.ruleset", "include"),
        ("nftables", {"ruleset": RULES + "\0"}, "params.ruleset", "plain text"),
        ("nftables", {"ruleset": "table bridge t { flags dormant; }"}, "params.ruleset", "owner or dormant"),
        ("nftables", {"ruleset": RULES, "more": 1}, "params.more", "unknown"),
        ("ngrep", {}, "params.pattern", "text of 1 to 512"),
        ("ngrep", {"pattern": "a\nb"}, "params.pattern", "one line"),
        ("ngrep", {"pattern": "a", "is_ignoring_case": "yes"}, "params.is_ignoring_case", "true or false"),
        ("suricata", {}, "type", "nftables, ngrep"),
    ],
)
def test_bad_settings_name_the_field(type_: str, params: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        foreign_check(type_, params)
    assert caught.value.field == field


def test_good_settings() -> None:
    foreign_check("nftables", {"ruleset": f"# tabs and lines\n\t{RULES}\r\n".replace("\r", "")})
    assert ngrep_pattern({"pattern": "a|b", "is_ignoring_case": True}) == ("a|b", True)
