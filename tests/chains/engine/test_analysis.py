"""Which pairs may run side by side: golden matrix, refusals of the brief, and what must hold for any profiles."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.chains.engine.analysis import FIELD_WORDS, FLAG_WORDS, analyse, pair_verdict
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import VerdictKind
from apps.chains.engine.profiles import REFUSING_FLAGS, ActionProfile, Flag, StateScope

# NFP's table: shares of six types in percent; its cache is no barrier.
SHARES = {"firewall": 26, "ids": 20, "media_gateway": 19, "load_balancer": 10, "cache": 10, "vpn": 7}
GOLDEN = """
    .  no no no no no
    ok .  ok ch ok cf
    ok ok .  ch ok ch
    no no no .  no no
    ok ok ok ch .  cf
    no no no no no .
"""
SHORT = {
    "no": VerdictKind.NO,
    "ok": VerdictKind.OK,
    "ch": VerdictKind.COPY_HEADER,
    "cf": VerdictKind.COPY_FULL,
}

fields = st.frozensets(st.sampled_from(list(Field)), max_size=4)
profiles = st.builds(
    ActionProfile,
    reads=fields,
    writes=fields,
    adds_header=st.booleans(),
    removes_header=st.booleans(),
    drops=st.booleans(),
    drop_reads=fields,
    flags=st.frozensets(st.sampled_from(list(Flag)), max_size=1),
    state=st.sampled_from(StateScope),
    shared_state=st.sampled_from(("", "pool")),
)
RANK = {
    VerdictKind.OK: 0,
    VerdictKind.COPY_HEADER: 1,
    VerdictKind.COPY_FULL: 2,
    VerdictKind.NO: 3,
}


def golden_profile(slug: str) -> ActionProfile:
    """Return a profile as in NFP's table."""
    profile = CATALOGUE[slug].profile
    return replace(profile, flags=frozenset()) if slug == "cache" else profile


def chain_of(*slugs: str) -> Chain:
    """Return a chain of types that come with the product."""
    nfs = (NfInstance(slug, slug, CATALOGUE[slug].profile, CATALOGUE[slug].service) for slug in slugs)
    return Chain("test", tuple(nfs), 1000)


def test_golden_matrix() -> None:
    rows = [line.split() for line in GOLDEN.split("\n") if line.strip()]
    for (first, row), (second, column) in itertools.product(
        zip(SHARES, rows, strict=True), enumerate(SHARES)
    ):
        if first != column:
            verdict = pair_verdict(golden_profile(first), golden_profile(column))
            assert verdict.kind == SHORT[row[second]], (first, column)


def golden_shares() -> tuple[float, float]:
    """Return the percent of NFP's ordered pairs that can run in parallel, and of those that need no copy."""
    total = parallel = free = 0
    for first, second in itertools.permutations(SHARES, 2):
        weight = SHARES[first] * SHARES[second]
        kind = pair_verdict(golden_profile(first), golden_profile(second)).kind
        total += weight
        parallel += weight * (kind != VerdictKind.NO)
        free += weight * (kind == VerdictKind.OK)
    return 100 * parallel / total, 100 * free / total


def test_golden_shares() -> None:
    """NFP (SIGCOMM 2017): 53.8 % of pairs can run in parallel, 41.5 % without copy; dropping first is a barrier."""
    assert tuple(round(share, 2) for share in golden_shares()) == (53.81, 41.52)


@pytest.mark.parametrize(
    ("first", "second", "rule", "words"),
    [
        ("firewall", "ids", "drop_state", "may drop packets"),
        ("nat", "firewall", "drop_state", "may drop packets"),
        ("load_balancer", "firewall", "write_read", "rewrites the source address and destination address"),
        ("vpn", "monitor", "structure_first", "adds or removes headers"),
        ("shaper", "rate_ids", "flag_delays", "delays packets"),
        ("nat", "nat", "shared_state", 'share "nat-pool"'),
        ("nat", "monitor", "drop_state", "may drop"),
    ],
)
def test_refusals_of_the_brief(first: str, second: str, rule: str, words: str) -> None:
    verdict = pair_verdict(CATALOGUE[first].profile, CATALOGUE[second].profile)
    assert (verdict.kind, verdict.rule) == (VerdictKind.NO, rule)
    assert words in verdict.reason


def test_nat_that_never_drops_still_goes_before_the_firewall() -> None:
    nat = replace(CATALOGUE["nat"].profile, drops=False)
    assert pair_verdict(nat, CATALOGUE["firewall"].profile).rule == "write_read"


@pytest.mark.parametrize("barrier", ["proxy", "cache"])
@pytest.mark.parametrize("other", list(CATALOGUE))
def test_barriers_are_refused_beside_anything(barrier: str, other: str) -> None:
    one, two = CATALOGUE[barrier].profile, CATALOGUE[other].profile
    assert pair_verdict(one, two).kind == pair_verdict(two, one).kind == VerdictKind.NO


def test_reasons_name_the_network_functions() -> None:
    verdict = analyse(chain_of("firewall", "ids"))[0][1]
    assert verdict is not None
    assert verdict.reason.startswith("firewall may drop packets, and ids would")
    assert "the first" not in verdict.reason


def test_advisory_state_lets_a_reader_run_beside_a_firewall_and_nobody_who_acts() -> None:
    firewall = CATALOGUE["firewall"].profile
    kinds = {
        slug: pair_verdict(firewall, CATALOGUE[slug].profile, is_state_advisory=True).kind
        for slug in ("monitor", "ids", "firewall", "nat")
    }
    assert kinds == {
        "monitor": VerdictKind.OK,
        "ids": VerdictKind.OK,
        "firewall": VerdictKind.NO,
        "nat": VerdictKind.NO,
    }
    assert pair_verdict(firewall, CATALOGUE["monitor"].profile, output_only=True).rule == "drop_advisory"


def test_ttl_decrements_add_up_and_go_before_who_looks() -> None:
    router = ActionProfile(flags=frozenset({Flag.TTL_DEC}))
    looks = ActionProfile(reads=frozenset({Field.IP_TTL}))
    sets = ActionProfile(writes=frozenset({Field.IP_TTL}))
    assert pair_verdict(router, router).rule == "ttl_both"
    assert pair_verdict(router, looks).rule == "ttl_read"
    assert pair_verdict(looks, router).rule == "read_write"
    assert {pair_verdict(router, sets).rule, pair_verdict(sets, router).rule} == {"ttl_write"}


def test_a_header_in_front_moves_a_field() -> None:
    mark = ActionProfile(writes=frozenset({Field.IP_TOS}))
    tunnel = ActionProfile(writes=frozenset({Field.IP_TOS}), adds_header=True)
    assert pair_verdict(mark, tunnel).rule == "write_moved"
    assert pair_verdict(mark, replace(tunnel, writes=frozenset())).kind == VerdictKind.COPY_HEADER


def test_every_field_and_refusing_flag_has_words() -> None:
    assert set(FIELD_WORDS) == set(Field)
    assert set(FLAG_WORDS) == REFUSING_FLAGS


@given(profiles, profiles, fields, st.booleans())
def test_reading_more_allows_nothing_more(
    first: ActionProfile, second: ActionProfile, more: frozenset[Field], is_first: bool
) -> None:
    before = pair_verdict(first, second).kind
    changed = replace(first if is_first else second, reads=(first if is_first else second).reads | more)
    after = pair_verdict(*((changed, second) if is_first else (first, changed))).kind
    assert RANK[after] >= RANK[before]


@given(profiles, profiles, fields, st.booleans())
def test_writing_more_allows_nothing_more(
    first: ActionProfile, second: ActionProfile, more: frozenset[Field], is_first: bool
) -> None:
    before = pair_verdict(first, second).kind
    changed = replace(first if is_first else second, writes=(first if is_first else second).writes | more)
    after = pair_verdict(*((changed, second) if is_first else (first, changed))).kind
    assert RANK[after] >= RANK[before]


@given(profiles, profiles)
def test_relaxing_allows_nothing_less_and_both_orders_know_flags(
    first: ActionProfile, second: ActionProfile
) -> None:
    strict = pair_verdict(first, second)
    assert RANK[pair_verdict(first, second, is_state_advisory=True).kind] <= RANK[strict.kind]
    back = pair_verdict(second, first)
    assert strict.rule.startswith("flag_") == back.rule.startswith("flag_")
    assert (strict.rule == "shared_state") == (back.rule == "shared_state")
    if strict.kind in (VerdictKind.COPY_HEADER, VerdictKind.COPY_FULL):
        both = first.needs_payload and second.needs_payload
        assert (strict.kind == VerdictKind.COPY_FULL) == both
    assert strict.reason.endswith(".")
