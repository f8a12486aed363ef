"""Every network function of ours does what its catalogue profile says, and nothing else; and its state is all of it."""

import json
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.engine.analysis import reads_of
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.fields import Field
from apps.chains.engine.nfs.network_function import NetworkFunction
from apps.chains.engine.nfs.registry import MAKERS, make_nf
from apps.chains.engine.packet import Packet, parse
from apps.chains.engine.profiles import StateScope
from nfvportal.lib.errors import InvalidInputError
from tests.chains.engine.checking import SAMPLES, all_fields, are_checksums_right
from tests.chains.engine.nf_cases import PARAMS, timed_frames

TYPES = sorted(MAKERS)
DROPPING = ("firewall", "ips", "rate_limiter", "url_filter")
WRITING = ("header_enrichment", "load_balancer", "nat", "vpn")


def run(nf: NetworkFunction, frames: Sequence[tuple[int, bytes]]) -> list[bytes | None]:
    """Return what comes out of a network function."""
    out: list[bytes | None] = []
    for at_us, frame in frames:
        packet = parse(frame)
        out.append(bytes(packet.data) if nf.process(packet, at_us) else None)
    return out


def test_every_implementation_in_the_catalogue_exists() -> None:
    """Foreign programs aside: they run in a namespace of their own."""
    named = {entry.implementation for entry in CATALOGUE.values() if entry.implementation}
    assert set(MAKERS) <= named
    assert set(PARAMS) == set(MAKERS)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_only_declared_fields_change_and_only_declared_drops_happen(name: str, seed: int) -> None:
    profile = CATALOGUE[name].profile
    nf = make_nf(name, PARAMS[name])
    for at_us, frame in timed_frames(seed, 40):
        packet = parse(frame)
        before, size = all_fields(packet), len(packet.data)
        is_whole = packet.ip_version and not packet.is_fragment and not packet.is_broken
        was_right = is_whole and are_checksums_right(packet)
        assert nf.process(packet, at_us) or profile.drops
        after = all_fields(packet)
        assert {field for field in Field if before[field] != after[field]} <= profile.writes
        assert len(packet.data) == size or profile.changes_structure
        assert are_checksums_right(packet) or not was_right
        assert all_fields(parse(bytes(packet.data))) == after, "other fields than the next server will see"
        if not packet.ip_version:
            assert bytes(packet.data) == frame


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_what_is_not_read_decides_nothing(name: str, seed: int) -> None:
    """Change undeclared fields at random: drops, writes and state stay the same."""
    rng = random.Random(seed)
    profile = CATALOGUE[name].profile
    free = [field for field in SAMPLES if field not in reads_of(profile) | profile.writes]
    one, other = make_nf(name, PARAMS[name]), make_nf(name, PARAMS[name])
    for at_us, frame in timed_frames(seed, 40):
        left, right = parse(frame), parse(frame)
        for field in rng.sample(free, min(4, len(free))):
            # Payloads keep their length: lengths are free to read.
            old = right.get(field)
            right.set(
                field, rng.randbytes(len(old)) if isinstance(old, bytes) else rng.choice(SAMPLES[field])
            )
        assert one.process(left, at_us) == other.process(right, at_us)
        for field in profile.writes:
            assert left.get(field) == right.get(field)
    assert one.state() == other.state()


@pytest.mark.parametrize("name", [name for name in TYPES if not CATALOGUE[name].profile.needs_payload])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_headers_alone_are_enough(name: str, seed: int) -> None:
    one, other = make_nf(name, PARAMS[name]), make_nf(name, PARAMS[name])
    for at_us, frame in timed_frames(seed, 40):
        whole = parse(frame)
        headers = whole.header_copy()
        assert one.process(whole, at_us) == other.process(headers, at_us)
        assert bytes(whole.data).startswith(bytes(headers.data))
    assert one.state() == other.state()


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**9), cut=st.integers(0, 60))
def test_a_restored_function_goes_on_as_if_nothing_had_happened(name: str, seed: int, cut: int) -> None:
    frames = timed_frames(seed, 60)
    whole, first, second = (make_nf(name, PARAMS[name]) for _ in range(3))
    expected = run(whole, frames)
    out = run(first, frames[:cut])
    second.restore(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    assert out + run(second, frames[cut:]) == expected
    assert json.dumps(second.state()) == json.dumps(whole.state())


@pytest.mark.parametrize("name", TYPES)
def test_stateless_types_have_no_state(name: str) -> None:
    nf = make_nf(name, PARAMS[name])
    run(nf, timed_frames(1, 50))
    assert bool(nf.state()) == (CATALOGUE[name].profile.state is not StateScope.NONE)


def test_the_traffic_makes_each_function_do_its_work() -> None:
    """Else the properties above would hold for functions that do nothing."""
    frames = timed_frames(3, 400)
    for name in TYPES:
        out = run(make_nf(name, PARAMS[name]), frames)
        kept = [(frame, got) for (_, frame), got in zip(frames, out, strict=True) if got is not None]
        assert (len(kept) < len(frames)) == (name in DROPPING), name
        assert len(kept) > 50, name
        changed = sum(frame != got for frame, got in kept if _keeps_checksum_form(frame))
        assert (changed > 20) == (name in WRITING), name


def _keeps_checksum_form(frame: bytes) -> bool:
    return bytes(parse(frame).data) == frame


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("params", [{"nonsense": 1}, [], "text"])
def test_unknown_parameters_are_refused(name: str, params: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make_nf(name, params)  # type: ignore[arg-type]
    assert caught.value.field.startswith("params")


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("firewall", {"rules": [{"action": "reject"}]}, "params.rules[0].action"),
        ("firewall", {"rules": [{"src": "10.0.0.0/99"}]}, "params.rules[0].src"),
        ("firewall", {"rules": [{"dst_port": ["90-80"]}]}, "params.rules[0].dst_port"),
        ("firewall", {"rules": [{"proto": 256}]}, "params.rules[0].proto"),
        ("firewall", {"flows_max": 0}, "params.flows_max"),
        ("firewall", {"is_stateful": "yes"}, "params.is_stateful"),
        ("firewall", {"default": "maybe"}, "params.default"),
        ("monitor", {"flows_max": True}, "params.flows_max"),
        ("load_balancer", {"backends": []}, "params.backends"),
        ("load_balancer", {"vip": "here"}, "params.vip"),
        ("load_balancer", {"backends": [{"address": "::1"}]}, "params.backends[0].address"),
        ("load_balancer", {"backends": [{"address": "192.168.0.1"}]}, "params.backends[0].address"),
        ("nat", {"inside": ""}, "params.inside"),
        ("nat", {"public": "10.0.0.1"}, "params.public"),
        ("nat", {"port_high": 5}, "params.port_high"),
        ("vpn", {"key": "short"}, "params.key"),
        ("vpn", {"spi": 3}, "params.spi"),
        ("ids", {"signatures": [{"name": "a"}]}, "params.signatures[0].pattern"),
        ("ids", {"signatures": [{"name": "a", "pattern_hex": "0g"}]}, "params.signatures[0].pattern_hex"),
        (
            "ids",
            {"signatures": [{"name": "a", "pattern": "x"}, {"name": "a", "pattern": "y"}]},
            "params.signatures[1].name",
        ),
        ("url_filter", {"blocked": ["/path"]}, "params.blocked"),
        ("rate_limiter", {"rate_bps": 1}, "params.rate_bps"),
        ("header_enrichment", {"rules": [{"dscp": 64}]}, "params.rules[0].dscp"),
        ("waiter", {"wait_us": -1}, "params.wait_us"),
    ],
)
def test_errors_name_the_parameter(name: str, changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make_nf(name, {**PARAMS[name], **changes})
    assert caught.value.field == field


def test_unknown_type_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="must be one of: dpi, firewall"):
        make_nf("teapot", {})


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(
    "state", [{"nonsense": 1}, {"flows": [["zz", 1]]}, {"flows": 7}, {"mappings": [["00", 5]]}]
)
def test_a_broken_state_is_refused(name: str, state: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make_nf(name, PARAMS[name]).restore(state)
    assert caught.value.field.startswith("state.")


def test_reading_a_packet_leaves_it_alone() -> None:
    for _, frame in timed_frames(5, 200):
        packet = parse(frame)
        before = bytes(packet.data)
        all_fields(packet)
        assert isinstance(packet, Packet)
        assert bytes(packet.data) == before
