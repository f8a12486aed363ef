"""The plan gives what the chain gives: random cases, small worlds, chains of real functions, and the engine itself."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from apps.chains.engine.analysis import analyse, pair_verdict
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance, ServiceTime
from apps.chains.engine.compile import compile_plan
from apps.chains.engine.differential import (
    SERVERS,
    Difference,
    Outcome,
    case_frames,
    chain_nfs,
    compare,
    has_parallel,
    make_case,
    run_case,
    run_cases,
    run_sequential,
    run_table,
    verify_plan,
)
from apps.chains.engine.fields import FIVE_TUPLE, Field
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series, VerdictKind, leaves
from apps.chains.engine.packet import parse
from apps.chains.engine.profiles import ActionProfile, StateScope
from apps.chains.engine.synthetic_nf import random_copies, random_root, synthetic_nfs
from tests.chains.engine.checking import all_fields
from tests.chains.engine.nf_cases import PARAMS, timed_frames

CASES = 1500
# Seeds at which the suite once found a wrong rule, profile or parser; what each was is in the log.
ONCE_WRONG = (
    (1, 2267),
    (1_000_000, 1_000_251),
    (1_000_000, 1_001_051),
    (1_000_000, 1_001_101),
    (1_000_000, 1_016_563),
    (1, 9087),
    (20_000, 39_175),
    (3_058_000, 3_058_813),
    (3_074_000, 3_074_190),
)


def test_random_cases_show_no_difference() -> None:
    report = run_cases(CASES, 42)
    assert report.difference_count == 0, report.differences
    assert report.cases == CASES
    assert report.parallel_cases > CASES // 3, "too few plans are parallel: the test shows little"


@pytest.mark.parametrize(("frames_seed", "seed"), ONCE_WRONG)
def test_what_once_differed_does_no_more(frames_seed: int, seed: int) -> None:
    assert run_case(make_case(seed, case_frames(frames_seed))) is None


def instance(index: int, profile: ActionProfile, is_state_advisory: bool = False) -> NfInstance:
    return NfInstance(
        f"nf{index}", "synthetic", profile, ServiceTime(10.0), is_state_advisory=is_state_advisory
    )


def small_profiles() -> list[ActionProfile]:
    """Return every profile over one header field and the payload, dropping or not, with or without memory."""
    fields = (Field.IP_TOS, Field.PAYLOAD)
    subsets = [frozenset(part) for size in range(3) for part in itertools.combinations(fields, size)]
    return [
        ActionProfile(
            reads=reads, writes=writes, drops=drops, drop_reads=reads if drops else frozenset(), state=state
        )
        for reads in subsets
        for writes in subsets
        for drops in (False, True)
        for state in (StateScope.NONE, StateScope.SHARED)
    ]


def test_every_pair_of_small_profiles_is_as_its_verdict_says() -> None:
    """All 4096 ordered pairs; whichever may run side by side does, each with the least copies and with full ones."""
    frames = [(at * 100, frame) for at, frame in enumerate(case_frames(5)[:4])]
    parallel = 0
    for first, second in itertools.product(small_profiles(), repeat=2):
        if pair_verdict(first, second).kind is VerdictKind.NO:
            continue
        parallel += 1
        chain = Chain("pair", (instance(0, first), instance(1, second)), 1000.0)
        verdicts, nodes = analyse(chain), (Nf(0, "a"), Nf(1, "a"))
        copies = random_copies(random.Random(parallel), chain, verdicts, nodes)
        for is_sharing, what in ((True, copies), (False, (Copy.FULL, Copy.FULL))):
            difference = verify_plan(
                chain,
                Parallel(nodes, what, "a"),
                frames,
                has_shared_buffers=is_sharing,
                make_nfs=lambda made=chain: synthetic_nfs(made),  # type: ignore[misc]
            )
            assert difference is None, (first, second, what, difference)
    assert parallel > 800


def test_what_is_refused_would_differ() -> None:
    """The other direction: for most refused small pairs some packets show why, so rules are not merely strict."""
    frames = [(at * 100, frame) for at, frame in enumerate(case_frames(5)[:25])]
    refused = differing = 0
    for first, second in random.Random(3).sample(list(itertools.product(small_profiles(), repeat=2)), 300):
        if pair_verdict(first, second).kind is not VerdictKind.NO:
            continue
        refused += 1
        chain = Chain("pair", (instance(0, first), instance(1, second)), 1000.0)
        root = Parallel((Nf(0, "a"), Nf(1, "a")), (Copy.FULL, Copy.FULL), "a")
        differing += (
            verify_plan(chain, root, frames, make_nfs=lambda made=chain: synthetic_nfs(made))  # type: ignore[misc]
            is not None
        )
    assert refused > 100
    assert differing > 0.7 * refused


REAL_CHAINS = {
    "north_south": ("firewall", "monitor", "load_balancer", "firewall"),
    "east_west": ("firewall", "ids", "load_balancer"),
    "gi_lan": ("dpi", "header_enrichment", "url_filter", "nat", "firewall"),
    "nfp": ("vpn", "monitor", "firewall", "load_balancer"),
    "inspection": ("ids", "monitor", "load_balancer"),
    "branch": ("monitor", "ids", "dpi", "header_enrichment", "rate_limiter"),
    "sealed": ("monitor", "ids", "header_enrichment", "vpn"),
    "everything": ("monitor", "dpi", "waiter", "ips", "header_enrichment", "url_filter", "nat", "monitor"),
}


def real_chain(types: Sequence[str]) -> Chain:
    return Chain(
        "real",
        tuple(
            NfInstance(f"{name}{index}", name, CATALOGUE[name].profile, ServiceTime(10.0), PARAMS[name])
            for index, name in enumerate(types)
        ),
        1000.0,
    )


@pytest.mark.parametrize("name", REAL_CHAINS)
@pytest.mark.parametrize("is_sharing", [False, True])
def test_chains_of_our_own_functions_keep_bytes_and_states(name: str, is_sharing: bool) -> None:
    """Several plans of each chain, parallel wherever allowed, on traffic that makes every function work."""
    chain = real_chain(REAL_CHAINS[name])
    frames = timed_frames(9, 150)
    for seed in range(4):
        root = random_root(random.Random(seed), chain, SERVERS, SERVERS)
        difference = verify_plan(chain, root, frames, schedule_seed=seed, has_shared_buffers=is_sharing)
        assert difference is None, (root, difference)


def test_some_real_chains_are_parallel() -> None:
    """Else the test above would compare the sequence with itself."""
    roots = {
        name: [random_root(random.Random(seed), real_chain(types), SERVERS, SERVERS) for seed in range(4)]
        for name, types in REAL_CHAINS.items()
    }
    parallel = {name for name, found in roots.items() if any(map(has_parallel, found))}
    assert {"nfp", "inspection", "branch", "sealed", "everything"} <= parallel


# The engine itself.


def walk(node: Node, nfs: Sequence[object], packet: object, at_us: int) -> bool:
    """Run a node by recursion on one shared buffer: the dumb twin for chains whose pairs are all independent."""
    if isinstance(node, Nf):
        return nfs[node.index].process(packet, at_us)  # type: ignore[attr-defined, no-any-return]
    parts = node.parts if isinstance(node, Series) else node.branches
    return all(walk(part, nfs, packet, at_us) for part in parts)


def test_table_run_equals_recursion_where_nothing_is_copied() -> None:
    """Independent profiles: each its own field, none drops. Then the graph may run on one buffer, in any order."""
    fields = (Field.IP_TOS, Field.IP_ID, Field.SRC_PORT, Field.TCP_ACK, Field.ETH_SRC)
    rng = random.Random(4)
    frames = [(at, frame) for at, frame in enumerate(case_frames(6)[:8])]
    for _ in range(60):
        nfs = tuple(
            instance(
                index, ActionProfile(reads=frozenset({one}), writes=frozenset({one}), state=StateScope.FLOW)
            )
            for index, one in enumerate(rng.sample(fields, rng.randint(2, 5)))
        )
        chain = Chain("free", nfs, 1000.0)
        root = random_root(rng, chain, SERVERS, SERVERS)
        found = run_table(compile_plan(chain, root), synthetic_nfs(chain), frames, schedule_seed=1)
        made, expected = synthetic_nfs(chain), []
        for number, (at_us, frame) in enumerate(frames, 1):
            packet = parse(frame)
            assert walk(root, made, packet, at_us)
            expected.append((number, bytes(packet.data)))
        assert found == Outcome(tuple(expected), tuple(nf.state() for nf in made))


def test_schedules_do_not_matter() -> None:
    """Any order in which operators work gives the same outcome."""
    frames = case_frames(8)
    for seed in range(60):
        case = make_case(seed, frames)
        if any(nf.profile.shared_state for nf in case.chain.nfs):
            continue
        table = compile_plan(case.chain, case.root)
        outcomes = [
            run_table(table, synthetic_nfs(case.chain), case.packets, schedule_seed=schedule)
            for schedule in (None, 1, 2, 3)
        ]
        assert outcomes.count(outcomes[0]) == 4


def test_random_roots_keep_every_obligation() -> None:
    frames = case_frames(8)
    for seed in range(300):
        case = make_case(seed, frames)
        indexes = [leaf.index for leaf in leaves(case.root)]
        assert sorted(indexes) == list(range(len(case.chain.nfs)))
        verdicts = analyse(case.chain)
        for i, j in itertools.combinations(range(len(indexes)), 2):
            verdict = verdicts[i][j]
            assert verdict is not None
            if verdict.kind is VerdictKind.NO:
                assert ordered(case.root, i, j)


def ordered(node: Node, i: int, j: int) -> bool:
    """Whether i comes before j on one line."""
    if isinstance(node, Nf):
        return False
    parts = node.parts if isinstance(node, Series) else node.branches
    places = [
        next((k for k, part in enumerate(parts) if one in {leaf.index for leaf in leaves(part)}), -1)
        for one in (i, j)
    ]
    if places[0] == places[1]:
        return ordered(parts[places[0]], i, j)
    return isinstance(node, Series) and places[0] < places[1]


STATE = ({"memory": {}},)


@pytest.mark.parametrize(
    ("hybrid", "kind"),
    [
        (Outcome(((2, b"b"), (1, b"a")), STATE), "order"),
        (Outcome(((1, b"a"),), STATE), "order"),
        (Outcome(((1, b"a"), (2, None)), STATE), "drop"),
        (Outcome(((1, b"a"), (2, b"c")), STATE), "bytes"),
        (Outcome(((1, b"a"), (2, b"b")), ({"memory": {"all": "1"}},)), "state"),
    ],
)
def test_every_kind_of_difference_is_told(hybrid: Outcome, kind: str) -> None:
    sequential = Outcome(((1, b"a"), (2, b"b")), STATE)
    assert compare(sequential, sequential) is None
    difference = compare(sequential, hybrid)
    assert isinstance(difference, Difference)
    assert difference.kind == kind


def test_advisory_state_may_differ_output_may_not() -> None:
    dropper = ActionProfile(reads=FIVE_TUPLE, drops=True, drop_reads=FIVE_TUPLE)
    counter = ActionProfile(reads=FIVE_TUPLE, state=StateScope.SHARED)
    root = Parallel((Nf(0, "a"), Nf(1, "b")), (Copy.SHARED, Copy.SHARED), "a")
    frames = [(at, frame) for at, frame in enumerate(case_frames(5)[:40])]
    strict = Chain("strict", (instance(0, dropper), instance(1, counter)), 1000.0)
    advisory = replace(strict, nfs=(strict.nfs[0], instance(1, counter, True)))
    assert verify_plan(advisory, root, frames) is None
    difference = verify_plan(strict, root, frames)
    assert difference is not None
    assert (difference.kind, difference.index) == ("state", 1)


def test_a_function_that_breaks_its_profile_is_stopped_at_the_merge() -> None:
    """The data plane's debug check: never released wrong."""
    honest = ActionProfile(reads=frozenset({Field.IP_SRC}))
    liar = ActionProfile(writes=frozenset({Field.IP_TOS}))
    declared = Chain("declared", (instance(0, honest), instance(1, honest), instance(2, honest)), 1000.0)
    true = replace(declared, nfs=(*declared.nfs[:2], instance(2, liar)))
    root = Parallel((Nf(0, "a"), Nf(1, "a"), Nf(2, "a")), (Copy.FULL, Copy.HEADER, Copy.HEADER), "a")
    frames = [(at, frame) for at, frame in enumerate(case_frames(5)[:40])]
    found = run_table(compile_plan(declared, root), synthetic_nfs(true), frames)
    released = [number for number, data in found.outputs if data is not None]
    is_ip = [number for number, (_, frame) in enumerate(frames, 1) if parse(frame).ip_version]
    assert not set(released) & set(is_ip)
    for number in released:
        assert found.outputs[number - 1][1] == frames[number - 1][1]


def test_sequential_run_is_the_definition() -> None:
    chain = real_chain(("firewall", "monitor"))
    frames = timed_frames(2, 30)
    outcome = run_sequential(chain_nfs(chain), frames)
    firewall, monitor = chain_nfs(chain)
    for (number, data), (at_us, frame) in zip(outcome.outputs, frames, strict=True):
        packet = parse(frame)
        is_kept = firewall.process(packet, at_us) and monitor.process(packet, at_us)
        assert data == (bytes(packet.data) if is_kept else None), number
        assert all_fields(packet) == all_fields(parse(frame))
    assert outcome.states == (firewall.state(), monitor.state())
