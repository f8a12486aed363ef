"""Chains in files without a portal: plan them, and prove the plan by running it. Pure.

What a file leaves out: types come from the built-in catalogue, ``SERVERS_DEFAULT`` stand for servers.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from apps.chains.chain_definition import KnownType, chain_of, settings_check
from apps.chains.chain_file import ChainFile
from apps.chains.engine.analysis import analyse
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, CostConstants, Server
from apps.chains.engine.differential import Difference, chain_nfs, verify_plan
from apps.chains.engine.hybrid import Infeasible, Node, Plan
from apps.chains.engine.nfs.network_function import NetworkFunction
from apps.chains.engine.nfs.registry import MAKERS, make_nf
from apps.chains.engine.planner import hybridize
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from apps.chains.plan_json import JsonObject, answer_to_json, servers_from_json

SERVERS_DEFAULT: Final = tuple(Server(f"server-{number}", 4.0) for number in (1, 2, 3))
SCHEDULES: Final = 4
ODD_RATIO: Final = 0.05
TimedFrame = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file's chain, and what the planner makes of it."""

    chain: Chain
    answer: Plan | Infeasible
    implementations: tuple[str, ...]

    def as_json(self) -> JsonObject:
        """Return the answer as REST gives it."""
        return answer_to_json(self.answer, self.chain, analyse(self.chain))


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """How a plan did against its chain. ``difference`` is ``None`` when all runs were equal."""

    packet_count: int
    run_count: int
    made_up: tuple[str, ...]
    difference: Difference | None

    def as_json(self) -> JsonObject:
        """Return plain data."""
        found = self.difference
        return {
            "packets": self.packet_count,
            "runs": self.run_count,
            "made_up": list(self.made_up),
            "is_equal": found is None,
            "difference": None
            if found is None
            else {"kind": found.kind, "index": found.index, "detail": found.detail[:500]},
        }


def known_types(file: ChainFile) -> dict[str, KnownType]:
    """Return the built-in types, with those of the file in front."""
    return {**built_in_types(), **file.types}


def built_in_types() -> dict[str, KnownType]:
    """Return the types that come with the product."""
    return {slug: KnownType(row.profile, row.service, row.implementation) for slug, row in CATALOGUE.items()}


def file_plan(file: ChainFile) -> FilePlan:
    """Return the planner's answer to a file.

    Raises:
        InvalidInputError: a type is not known.
    """
    types = known_types(file)
    chain = chain_of(file.definition, types)
    servers = servers_from_json(file.servers) or SERVERS_DEFAULT
    answer = hybridize(chain, servers, file.constants or CostConstants())
    return FilePlan(chain, answer, tuple(types[nf.type].implementation for nf in chain.nfs))


def file_verify(planned: FilePlan, packets: Sequence[TimedFrame], seed: int) -> VerifyReport:
    """Run a chain in sequence and its plan, in several schedules and on shared buffers, and compare bytes and states.

    Args:
        planned: of a feasible plan.
        packets: what goes in.
        seed: of the schedules.

    Raises:
        InvalidInputError: settings of a network function break a limit.
    """
    assert isinstance(planned.answer, Plan)
    for index, (nf, implementation) in enumerate(
        zip(planned.chain.nfs, planned.implementations, strict=True)
    ):
        settings_check(f"nfs[{index}]", implementation, nf.params)
    rng = random.Random(seed)  # noqa: S311 - not a secret
    runs: list[tuple[int | None, bool]] = [(None, False), (None, True)]
    runs += [(rng.getrandbits(32), False) for _ in range(SCHEDULES)]
    made_up = tuple(
        nf.name
        for nf, implementation in zip(planned.chain.nfs, planned.implementations, strict=True)
        if implementation not in MAKERS
    )
    for number, (schedule, is_shared) in enumerate(runs, 1):
        found = _run(planned, planned.answer.root, packets, schedule, is_shared)
        if found is not None:
            return VerifyReport(len(packets), number, made_up, found)
    return VerifyReport(len(packets), len(runs), made_up, None)


def _run(
    planned: FilePlan, root: Node, packets: Sequence[TimedFrame], schedule: int | None, is_shared: bool
) -> Difference | None:
    def make_nfs() -> list[NetworkFunction]:
        # Types that cannot run are stood for by machines that do exactly what their profile says.
        stand_ins = chain_nfs(planned.chain)
        return [
            make_nf(implementation, nf.params) if implementation in MAKERS else stand_in
            for nf, implementation, stand_in in zip(
                planned.chain.nfs, planned.implementations, stand_ins, strict=True
            )
        ]

    return verify_plan(
        planned.chain, root, packets, schedule_seed=schedule, has_shared_buffers=is_shared, make_nfs=make_nfs
    )


def random_packets(chain: Chain, count: int, seed: int) -> list[TimedFrame]:
    """Return packets of the published mix, some of them odd, and some for the chain's load balancer."""
    server_net = _server_net(nf.params for nf in chain.nfs)
    mix = TrafficMix(odd_ratio=ODD_RATIO, server_net=server_net)
    return list(TrafficSource(mix, seed).timed(count, chain.rate_pps))


def _server_net(settings: Iterable[Mapping[str, Any]]) -> int:
    """Return the network that servers of random packets are in: that of the first virtual address, if there is one."""
    for params in settings:
        try:
            vip = ip_address(str(params.get("vip", "")))
        except ValueError:
            continue
        if vip.version == 4:
            return int(vip) & 0xFFFF0000
    return TrafficMix().server_net


def graph_words(root: Mapping[str, Any]) -> str:
    """Return a hybrid chain on one line: ``;`` for one after the other, ``|`` for side by side.

    >>> nf = lambda name: {"kind": "nf", "name": name, "server": "s"}
    >>> graph_words({"kind": "series", "parts": [nf("a"), {"kind": "parallel", "branches": [nf("b"), nf("c")]}]})
    'a@s ; (b@s | c@s)'
    """
    if root["kind"] == "nf":
        return f"{root['name']}@{root['server']}"
    if root["kind"] == "series":
        return " ; ".join(map(graph_words, root["parts"]))
    words = [
        f"({graph_words(branch)})" if branch["kind"] == "series" else graph_words(branch)
        for branch in root["branches"]
    ]
    return f"({' | '.join(words)})"


def plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield a plan, or why there is none, in lines for people."""
    if plan["kind"] == "infeasible":
        yield f"no plan ({plan['reason']}): {plan['witness']}"
    else:
        yield f"hybrid      {graph_words(plan['root'])}"
        yield f"sequential  {graph_words(plan['sequential_root'])}"
        for name, label in (("p50_us", "p50"), ("p99_us", "p99"), ("mean_us", "mean")):
            yield f"{label:<11} {_us(plan['prediction'][name])}, in sequence {_us(plan['sequential'][name])}"
        yield f"optimal     {'yes' if plan['is_optimal'] else 'within ' + str(plan['gap_ratio'])}"
    yield from (
        f"{pair['kind']:<12}{pair['first_name']} -> {pair['second_name']}: {pair['reason']}"
        for pair in plan["pairs"]
    )


def _us(value: float | None) -> str:
    return "overloaded" if value is None else f"{value:.1f} us"
