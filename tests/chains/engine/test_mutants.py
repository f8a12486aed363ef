"""Mutants: break one rule, one profile or one step of the merge, and the differential suite must find it.

Each test first lets the suite find the mutant, then runs the very same case unbroken and wants no difference. So the
suite of ``test_differential`` would have failed had the product been the mutant.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import pytest

from apps.chains.engine import analysis, compile, merging, packet, synthetic_nf
from apps.chains.engine.analysis import decrements_ttl, writes_of
from apps.chains.engine.chain import Chain
from apps.chains.engine.differential import case_frames, make_case, run_case
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Copy, Verdict
from apps.chains.engine.merging import Conflict, Merger, Released, merge_packets
from apps.chains.engine.operators import MergeRule
from apps.chains.engine.packet import Packet
from apps.chains.engine.profiles import ActionProfile, Flag

CASES_MAX = 6000
SEED = 7_000_000

Patch = Callable[[pytest.MonkeyPatch], None]


@cache
def frames() -> tuple[bytes, ...]:
    return tuple(case_frames(SEED))


def first_difference(declare: Callable[[ActionProfile], ActionProfile] | None = None) -> int | None:
    """Return the seed of the first case that shows a difference."""
    for seed in range(SEED, SEED + CASES_MAX):
        if run_case(make_case(seed, frames(), declare)) is not None:
            return seed
    return None


def must_be_killed(
    monkeypatch: pytest.MonkeyPatch,
    patch: Patch | None,
    declare: Callable[[ActionProfile], ActionProfile] | None = None,
) -> None:
    """Assert that the mutant is found, and that the same case is fine without it."""
    with monkeypatch.context() as context:
        if patch is not None:
            patch(context)
        seed = first_difference(declare)
    assert seed is not None, "the mutant survived"
    difference = run_case(make_case(seed, frames()))
    assert difference is None, f"unbroken, seed {seed} differs as well: {difference}"


# Rules of the analysis.


def without_rule(name: str) -> Patch:
    def patch(context: pytest.MonkeyPatch) -> None:
        rules = tuple(rule for rule in analysis._RULES if rule.__name__ != name)
        assert len(rules) == len(analysis._RULES) - 1
        context.setattr(analysis, "_RULES", rules)

    return patch


def transposed_verdicts(context: pytest.MonkeyPatch) -> None:
    """Judge every pair as if the second came first."""

    def analyse(chain: Chain) -> tuple[tuple[Verdict | None, ...], ...]:
        backwards = replace(chain, nfs=chain.nfs[::-1])
        matrix, last = analysis.analyse(backwards), len(chain.nfs) - 1
        return tuple(
            tuple(matrix[last - j][last - i] if i < j else None for j in range(last + 1))
            for i in range(last + 1)
        )

    context.setattr(synthetic_nf, "analyse", analyse)


def unread_drop_tests(context: pytest.MonkeyPatch) -> None:
    """Forget that a decision to drop depends on fields."""
    context.setattr(analysis, "reads_of", lambda profile: profile.reads)


def free_advice(context: pytest.MonkeyPatch) -> None:
    """Let advisory state have its way even where outputs depend on it."""
    context.setattr(analysis._Pair, "is_advice_enough", lambda pair: True)


def blind_to(field: Field) -> Patch:
    """Never see a conflict over one field."""

    def patch(context: pytest.MonkeyPatch) -> None:
        context.setattr(analysis, "writes_of", lambda profile: writes_of(profile) - {field})

    return patch


def headers_for_all(context: pytest.MonkeyPatch) -> None:
    """Give header-only copies to those who need the payload."""

    def copies(
        rng: random.Random, chain: Chain, verdicts: object, nodes: Sequence[object]
    ) -> tuple[Copy, ...]:
        return (Copy.FULL, *(Copy.HEADER for _ in nodes[1:]))

    context.setattr(synthetic_nf, "random_copies", copies)


def one_buffer_for_all(context: pytest.MonkeyPatch) -> None:
    """Share one buffer where a copy is needed."""

    def copies(
        rng: random.Random, chain: Chain, verdicts: object, nodes: Sequence[object]
    ) -> tuple[Copy, ...]:
        return tuple(Copy.SHARED for _ in nodes)

    context.setattr(synthetic_nf, "random_copies", copies)


# Not among them: ``_write_moved`` and ``_ttl_both``. The first is stricter than our packets need (their fields are
# found again behind any header), the second asks for a copy that only executions on one buffer would miss, and those
# are not allowed to decrement TTLs anyway. Without either rule no output changes.
RULES: dict[str, Patch] = {
    **{
        name: without_rule(name)
        for name in (
            "_shared_state",
            "_drop_first",
            "_structure_first",
            "_ttl",
            "_write_read",
            "_write_write",
            "_read_write",
            "_structure_second",
        )
    },
    "transposed": transposed_verdicts,
    "unread_drop_tests": unread_drop_tests,
    "free_advice": free_advice,
    "blind_to_payload": blind_to(Field.PAYLOAD),
    "blind_to_destination": blind_to(Field.IP_DST),
    "headers_for_all": headers_for_all,
    "one_buffer_for_all": one_buffer_for_all,
}


@pytest.mark.parametrize("name", RULES)
def test_broken_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    must_be_killed(monkeypatch, RULES[name])


# Profiles that say less than the truth.

LIES: dict[str, Callable[[ActionProfile], ActionProfile]] = {
    "hides_a_write": lambda profile: replace(profile, writes=frozenset(sorted(profile.writes)[1:])),
    "hides_all_writes": lambda profile: replace(profile, writes=frozenset()),
    "hides_a_read": lambda profile: replace(profile, reads=frozenset(sorted(profile.reads)[1:])),
    "hides_all_reads": lambda profile: replace(profile, reads=frozenset(), drop_reads=frozenset()),
    "hides_payload": lambda profile: replace(profile, reads=profile.reads - {Field.PAYLOAD}),
    "hides_drop": lambda profile: replace(profile, drops=False, drop_reads=frozenset()),
    "hides_drop_reads": lambda profile: replace(profile, drop_reads=frozenset()),
    "hides_added_header": lambda profile: replace(profile, adds_header=False),
    "hides_removed_header": lambda profile: replace(profile, removes_header=False),
    "hides_new_length": lambda profile: replace(profile, flags=profile.flags - {Flag.LEN_CHANGE}),
    "hides_ttl": lambda profile: replace(profile, flags=profile.flags - {Flag.TTL_DEC}),
    "hides_shared_state": lambda profile: replace(profile, shared_state=""),
}


@pytest.mark.parametrize("name", LIES)
def test_wrong_profile_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    must_be_killed(monkeypatch, None, LIES[name])


# The merge.


def wrong_rule(change: Callable[[MergeRule, Chain, Sequence[compile._Input]], MergeRule]) -> Patch:
    true_rule = compile.merge_rule

    def patch(context: pytest.MonkeyPatch) -> None:
        context.setattr(
            compile, "merge_rule", lambda chain, inputs: change(true_rule(chain, inputs), chain, inputs)
        )

    return patch


def first_writer(rule: MergeRule, chain: Chain, inputs: Sequence[compile._Input]) -> MergeRule:
    """Take the first writer of a field instead of the last."""
    first: dict[Field, tuple[int, int]] = {}
    for branch, entry in enumerate(inputs):
        for index in entry.indexes:
            for field in writes_of(chain.nfs[index].profile):
                first[field] = min(first.get(field, (index, branch)), (index, branch))
    return replace(
        rule,
        overlays=tuple((field, branch) for field, (_, branch) in first.items() if branch != rule.base),
    )


def ttl_of_everybody(rule: MergeRule, chain: Chain, inputs: Sequence[compile._Input]) -> MergeRule:
    """Count the decrements of the branch that the TTL comes from once more."""
    count = sum(decrements_ttl(chain.nfs[index].profile) for entry in inputs for index in entry.indexes)
    return replace(rule, ttl_decrements=count)


def base_zero(rule: MergeRule, chain: Chain, inputs: Sequence[compile._Input]) -> MergeRule:
    """Take the first whole branch as the base, whoever changes the structure."""
    base = next((branch for branch, entry in enumerate(inputs) if entry.is_whole), 0)
    overlays = tuple((field, branch) for field, branch in rule.overlays if branch != base)
    return replace(rule, base=base, overlays=overlays)


def merging_with(merge: Callable[[MergeRule, Sequence[Packet]], Packet | Conflict]) -> Patch:
    def patch(context: pytest.MonkeyPatch) -> None:
        context.setattr(
            merging, "merge_packets", lambda rule, branches, *, is_checked=False: merge(rule, branches)
        )

    return patch


def stale_checksums(rule: MergeRule, branches: Sequence[Packet]) -> Packet | Conflict:
    """Lay fields over each other and leave the transport checksum as it was."""
    base = branches[rule.base]
    at = base.l4_sum
    before = base.data[at : at + 2]
    merged = merge_packets(rule, branches)
    if at:
        base.data[at : at + 2] = before
    return merged


def exclusive_or(rule: MergeRule, branches: Sequence[Packet]) -> Packet | Conflict:
    """Combine what branches wrote by XOR with each other, as if only one of them could have."""
    base = branches[rule.base]
    for field, branch in rule.overlays:
        mine, value = base.get(field), branches[branch].get(field)
        if isinstance(mine, int) and isinstance(value, int) and field in rule.writes[rule.base]:
            value ^= mine
        if value is not None:
            base.set(field, value)
    return merge_packets(replace(rule, overlays=()), branches)


def first_branch_wins(rule: MergeRule, branches: Sequence[Packet]) -> Packet | Conflict:
    return branches[0]


def nil_ignored(context: pytest.MonkeyPatch) -> None:
    """Release what another branch kept, although one branch dropped the packet."""
    true_push = Merger.push

    def push(merger: Merger, branch: int, *args: object, **more: object) -> list[Released]:
        """Keep the other branch's packet beside, and give it out in place of the nil."""
        released = true_push(merger, branch, *args, **more)  # type: ignore[arg-type]
        if isinstance(args[1], Packet):
            kept[args[0]] = args[1]
        return [one._replace(packet=one.packet or kept.get(one.packet_id)) for one in released]

    kept: dict[object, Packet] = {}
    context.setattr(merging.Merger, "push", push)


def swapped_release(context: pytest.MonkeyPatch) -> None:
    """Hold every odd packet back until the next one is out."""
    true_push = Merger.push
    held: list[Released] = []

    def push(merger: Merger, *args: object, **more: object) -> list[Released]:
        out: list[Released] = []
        for one in true_push(merger, *args, **more):  # type: ignore[arg-type]
            if one.packet_id == 1:
                held[:] = [one]
            else:
                out += [one, *held]
                held.clear()
        return out

    context.setattr(merging.Merger, "push", push)


def copies_by_reference(context: pytest.MonkeyPatch) -> None:
    """Let a copy be the thing itself."""
    context.setattr(packet.Packet, "copy", lambda self: self)


def unmended_address(context: pytest.MonkeyPatch) -> None:
    """Forget the checksum while the merge writes, not while network functions do."""
    true_merge, true_mend = merge_packets, Packet.mend_ip

    def merge(rule: MergeRule, branches: Sequence[Packet], *, is_checked: bool = False) -> Packet | Conflict:
        context.setattr(packet.Packet, "mend_ip", lambda self, old, new: None)
        try:
            return true_merge(rule, branches, is_checked=is_checked)
        finally:
            context.setattr(packet.Packet, "mend_ip", true_mend)

    context.setattr(merging, "merge_packets", merge)


MERGES: dict[str, Patch] = {
    "first_writer": wrong_rule(first_writer),
    "no_overlays": wrong_rule(lambda rule, chain, inputs: replace(rule, overlays=())),
    "one_overlay_less": wrong_rule(lambda rule, chain, inputs: replace(rule, overlays=rule.overlays[1:])),
    "ttl_ignored": wrong_rule(lambda rule, chain, inputs: replace(rule, ttl_decrements=0)),
    "ttl_of_everybody": wrong_rule(ttl_of_everybody),
    "base_zero": wrong_rule(base_zero),
    "undeclared_by_rule": wrong_rule(
        lambda rule, chain, inputs: replace(rule, writes=tuple(frozenset() for _ in rule.writes))
    ),
    "stale_checksums": merging_with(stale_checksums),
    "unmended_address": unmended_address,
    "exclusive_or": merging_with(exclusive_or),
    "first_branch_wins": merging_with(first_branch_wins),
    "nil_ignored": nil_ignored,
    "swapped_release": swapped_release,
    "copies_by_reference": copies_by_reference,
}


@pytest.mark.parametrize("name", MERGES)
def test_broken_merge_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    must_be_killed(monkeypatch, MERGES[name])


def test_there_are_enough_mutants() -> None:
    assert len(RULES) + len(LIES) + len(MERGES) >= 40
