"""Network functions made from profiles obey them, and use all of what they declare."""

import random

from apps.chains.engine.analysis import reads_of
from apps.chains.engine.differential import case_frames
from apps.chains.engine.fields import Field
from apps.chains.engine.packet import parse
from apps.chains.engine.profiles import ActionProfile, Flag, StateScope
from apps.chains.engine.synthetic_nf import SyntheticNf, random_chain, random_profile
from tests.chains.engine.checking import SAMPLES, all_fields

FRAMES = case_frames(11)


def random_profiles(count: int) -> list[ActionProfile]:
    rng = random.Random(1)
    return [random_profile(rng, rng.sample(list(Field), 6)) for _ in range(count)]


def test_undeclared_fields_never_change() -> None:
    for index, profile in enumerate(random_profiles(300)):
        nf = SyntheticNf(profile, index)
        allowed = profile.writes | ({Field.IP_TTL} if Flag.TTL_DEC in profile.flags else set())
        for at_us, frame in enumerate(FRAMES[index : index + 12]):
            packet = parse(frame)
            before, size = all_fields(packet), len(packet.data)
            if not nf.process(packet, at_us):
                assert profile.drops
                assert all_fields(packet) == before
                continue
            after = all_fields(packet)
            assert {field for field in Field if before[field] != after[field]} <= allowed
            assert len(packet.data) == size or profile.changes_structure


def test_undeclared_fields_decide_nothing() -> None:
    rng = random.Random(2)
    for index, profile in enumerate(random_profiles(300)):
        one, other = SyntheticNf(profile, index), SyntheticNf(profile, index)
        free = [field for field in SAMPLES if field not in reads_of(profile) | profile.writes]
        free = [field for field in free if field is not Field.IP_TTL and field is not Field.PAYLOAD]
        for at_us, frame in enumerate(FRAMES[index : index + 8]):
            left, right = parse(frame), parse(frame)
            for field in rng.sample(free, min(3, len(free))):
                right.set(field, rng.choice(SAMPLES[field]))
            assert one.process(left, at_us) == other.process(right, at_us)
            for field in profile.writes:
                assert left.get(field) == right.get(field)
        assert one.state() == other.state()


def test_declared_fields_do_decide() -> None:
    """Every field read shows in the memory, so that a wrong value is always seen."""
    for field in Field:
        profile = ActionProfile(reads=frozenset({field}), state=StateScope.SHARED)
        frame = next(one for one in FRAMES if parse(one).get(field) is not None and parse(one).l4)
        if field is Field.IP_PROTO:
            continue
        one, other = SyntheticNf(profile, 1), SyntheticNf(profile, 1)
        left, right = parse(frame), parse(frame)
        right.set(field, b"other" if field is Field.PAYLOAD else 1234567)
        assert one.process(left, 5)
        assert other.process(right, 5)
        assert one.state() != other.state()


def test_state_is_restored_exactly() -> None:
    profile = ActionProfile(
        reads=frozenset({Field.IP_SRC}), writes=frozenset({Field.IP_TOS}), drops=True, state=StateScope.FLOW
    )
    whole, first, second = (SyntheticNf(profile, 3) for _ in range(3))
    for at_us, frame in enumerate(FRAMES[:30]):
        part = first if at_us < 15 else second
        if at_us == 15:
            second.restore(first.state())
        left, right = parse(frame), parse(frame)
        assert whole.process(left, at_us) == part.process(right, at_us)
        assert left.data == right.data
    assert second.state() == whole.state()


def test_random_chains_are_varied() -> None:
    rng = random.Random(3)
    profiles = [nf.profile for _ in range(200) for nf in random_chain(rng, 4).nfs]
    for has in (
        lambda one: one.adds_header,
        lambda one: one.removes_header,
        lambda one: one.drops and not one.drop_reads,
        lambda one: one.drops and one.drop_reads,
        lambda one: one.shared_state,
        lambda one: Flag.TTL_DEC in one.flags,
        lambda one: Flag.LEN_CHANGE in one.flags,
        lambda one: Field.PAYLOAD in one.writes,
        lambda one: one.state is StateScope.NONE,
    ):
        assert 10 < sum(map(bool, map(has, profiles))) < 700
