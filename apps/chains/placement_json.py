"""Placements as JSON, and what a new one needs of an older one. Pure: REST, command line and stored rows share it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from apps.chains.chain_definition import fields_of, list_of, text_of
from apps.chains.engine.hybrid import Infeasible
from apps.chains.engine.placement import PlacedChain, Placement, PlacementTask
from apps.chains.engine.placement_answer import Spot
from apps.chains.plan_json import JsonObject
from nfvportal.lib.errors import InvalidInputError

INSTANCES_MAX: Final = 100_000
CHAINS_MAX: Final = 5000


def placement_to_json(answer: Placement | Infeasible, task: PlacementTask) -> JsonObject:
    """Return a placement, or why there is none, with all that is needed to check it."""
    common: JsonObject = {
        "buckets": task.buckets,
        "constants": asdict(task.constants),
        "servers": [asdict(server) for server in task.servers],
    }
    if isinstance(answer, Infeasible):
        return {"kind": "infeasible", "reason": answer.kind, "witness": answer.witness, **common}
    return {
        "kind": "placement",
        **common,
        "method": answer.method,
        "is_optimal": answer.is_optimal,
        "terms": asdict(answer.terms),
        "bounds": asdict(answer.bounds),
        "gaps": asdict(answer.gaps),
        "servers": [
            {
                **asdict(load.server),
                "cores_owned": load.cores_owned,
                "cores_busy": load.cores_busy,
                "link_used_bps": load.link_bps,
            }
            for load in answer.loads
        ],
        "instances": _instances(answer),
        "chains": [_chain(answer, chain) for chain in answer.chains],
        "refused": [
            {
                "name": row.demand.name,
                "weight": row.demand.weight,
                "rate_pps": row.demand.rate_pps,
                "slo_p99_us": row.demand.slo_p99_us,
                "reason": row.kind,
                "witness": row.witness,
            }
            for row in answer.refused
        ],
        "moved_buckets": answer.moved_buckets,
        "kept_buckets": answer.kept_buckets,
    }


def _instances(answer: Placement) -> list[JsonObject]:
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    rows = []
    for instance in answer.instances:
        at = (instance.kind.key, instance.server)
        rows.append(
            {
                "name": instance.name,
                "kind": instance.kind.key,
                "type": instance.kind.type,
                "server": instance.server,
                "number": numbers[at],
                "cores": instance.kind.cores,
                "service_us": instance.kind.service_us,
                "is_single": instance.kind.is_single,
                "rate_pps": instance.rate_pps,
                "busy": instance.busy,
                "busy_limit": instance.busy_limit,
            }
        )
        numbers[at] += 1
    return rows


def _chain(answer: Placement, chain: PlacedChain) -> JsonObject:
    demand = chain.demand
    return {
        "name": demand.name,
        "weight": demand.weight,
        "rate_pps": demand.rate_pps,
        "slo_p99_us": demand.slo_p99_us,
        "mean_us": chain.mean_us,
        "p99_us": chain.p99_us,
        "busy_limit": chain.busy_limit,
        "servers": list(chain.servers),
        "crossed": chain.crossed,
        "moved_buckets": chain.moved_buckets,
        "segments": [[demand.nfs[nf].name for nf in segment] for segment in demand.segments],
        "nfs": [
            {
                "name": nf.name,
                "type": nf.kind.type,
                "has_flow_state": nf.kind.has_flow_state,
                "shares": _shares(answer, owners),
                # Instance and how many buckets, from bucket 0 on.
                "runs": [[owner, len(list(same))] for owner, same in groupby(owners)],
            }
            for nf, owners in zip(demand.nfs, chain.owners, strict=True)
        ],
    }


def _shares(answer: Placement, owners: Sequence[int]) -> list[JsonObject]:
    counts: dict[int, int] = defaultdict(int)
    for owner in owners:
        counts[owner] += 1
    return [
        {
            "instance": answer.instances[owner].name,
            "server": answer.instances[owner].server,
            "buckets": count,
        }
        for owner, count in sorted(counts.items())
    ]


def before_from_json(field: str, data: object) -> dict[tuple[str, str], tuple[Spot, ...]]:
    """Return what a new placement compares itself with; only the owners of buckets are read.

    Raises:
        InvalidInputError: this is no placement; naming the field and the limit.
    """
    if not isinstance(data, Mapping) or data.get("kind") != "placement":
        raise InvalidInputError(field, "must be a placement, as the command and the API print it")
    spots = []
    for index, row in enumerate(
        list_of(f"{field}.instances", data.get("instances"), 0, INSTANCES_MAX, "rows")
    ):
        at = f"{field}.instances[{index}]"
        values = (
            {name: row.get(name) for name in ("kind", "server", "number")} if isinstance(row, Mapping) else {}
        )
        fields_of(at, values, required=("kind", "server", "number"))
        if not isinstance(values["number"], int):
            raise InvalidInputError(f"{at}.number", "must be a whole number")
        spots.append(
            (
                text_of(f"{at}.kind", values["kind"], 200),
                text_of(f"{at}.server", values["server"], 64),
                values["number"],
            )
        )
    before: dict[tuple[str, str], tuple[Spot, ...]] = {}
    for index, chain in enumerate(list_of(f"{field}.chains", data.get("chains"), 0, CHAINS_MAX, "chains")):
        for name, nf, runs in _runs(f"{field}.chains[{index}]", chain):
            before[name, nf] = tuple(_owners(f"{field}.chains[{index}]", runs, spots))
    return before


def _runs(field: str, chain: object) -> Iterator[tuple[str, str, list[Any]]]:
    if not isinstance(chain, Mapping) or not isinstance(chain.get("nfs"), list):
        raise InvalidInputError(field, "must be a chain with nfs")
    for nf in chain["nfs"]:
        if not isinstance(nf, Mapping) or not isinstance(nf.get("runs"), list):
            raise InvalidInputError(field, "must be a chain whose nfs have runs")
        yield str(chain.get("name")), str(nf.get("name")), nf["runs"]


def _owners(field: str, runs: Sequence[Any], spots: Sequence[Spot]) -> list[Spot]:
    owners: list[Spot] = []
    for run in runs:
        is_run = isinstance(run, list) and len(run) == 2 and all(isinstance(number, int) for number in run)
        if not is_run or not 0 <= run[0] < len(spots) or not 0 < run[1] <= 1024 - len(owners):
            raise InvalidInputError(
                field, "must have runs of [instance, buckets], at most 1024 buckets in all"
            )
        owners += [spots[run[0]]] * run[1]
    return owners


def terms_words(terms: Mapping[str, float]) -> str:
    """Return the objective in words."""
    return (
        f"weight refused {terms['missed']:g}, servers crossed {terms['crossed']:.2f},"
        f" mean {terms['mean_us']:.1f} us, {terms['copies']:.0f} instances"
    )


def placement_lines(placement: Mapping[str, Any]) -> Iterator[str]:
    """Yield a placement, or why there is none, in lines for people."""
    if placement["kind"] == "infeasible":
        yield f"no placement ({placement['reason']}): {placement['witness']}"
        return
    gaps = placement["gaps"]
    yield f"admitted    {len(placement['chains'])} chains, {len(placement['refused'])} refused"
    yield f"objective   {terms_words(placement['terms'])}"
    proof = "proven best" if placement["is_optimal"] else placement["method"]
    yield (
        f"at best     {terms_words(placement['bounds'])} ({proof}; gaps {gaps['missed']:.2%}, {gaps['crossed']:.2%},"
        f" {gaps['mean_us']:.2%}, {gaps['copies']:.2%})"
    )
    yield f"moved       {placement['moved_buckets']} buckets, {placement['kept_buckets']} stayed"
    for server in placement["servers"]:
        yield (
            f"server      {server['name']}: {server['cores_owned']:g} of {server['cores']:g} cores owned,"
            f" {server['cores_busy']:.2f} busy, {server['link_used_bps'] / 1e6:,.1f} Mbit/s"
        )
    for chain in placement["chains"]:
        target = "no target" if chain["slo_p99_us"] is None else f"target {chain['slo_p99_us'] / 1000:g} ms"
        yield (
            f"{chain['name']}: {', '.join(chain['servers'])}; p99 {chain['p99_us'] / 1000:.3f} ms, {target};"
            f" instances at most {chain['busy_limit']:.0%} busy"
        )
        for nf in chain["nfs"]:
            shares = ", ".join(f"{share['instance']} {share['buckets']}" for share in nf["shares"])
            yield f"  {nf['name']}: {shares} of {placement['buckets']} buckets"
    yield from (f"{row['name']}: REFUSED ({row['reason']}): {row['witness']}" for row in placement["refused"])
