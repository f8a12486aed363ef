"""Plans, profiles and verdicts as JSON, and back. Pure: REST, live stream, command line and stored plans share it.

A latency that is infinite (overloaded) is ``null`` in JSON.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, NotRequired, TypedDict

from apps.chains.chain_definition import (
    choice_of,
    fields_of,
    flag,
    list_of,
    service_parse,
    text_of,
)
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, Server, ServiceTime
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import (
    Copy,
    Infeasible,
    Nf,
    Node,
    Parallel,
    Plan,
    Prediction,
    Series,
    Stage,
    Verdict,
    leaves,
)
from apps.chains.engine.profiles import ActionProfile, Flag, StateScope

JsonObject = dict[str, Any]
_FIELD_NAMES: Final = tuple(field.value for field in Field)
_FLAG_NAMES: Final = tuple(flag.value for flag in Flag)


class VerdictJson(TypedDict):
    """Whether two network functions may run side by side, and why."""

    first: int
    second: int
    first_name: str
    second_name: str
    kind: str
    rule: str
    fields: list[str]
    reason: str
    is_state_advisory: NotRequired[bool]


def profile_to_json(profile: ActionProfile) -> JsonObject:
    """Return a profile with its fields in the order of the packet."""
    return {
        "reads": _in_order(profile.reads),
        "writes": _in_order(profile.writes),
        "adds_header": profile.adds_header,
        "removes_header": profile.removes_header,
        "drops": profile.drops,
        "drop_reads": _in_order(profile.drop_reads),
        "flags": [flag.value for flag in Flag if flag in profile.flags],
        "state": profile.state.value,
        "shared_state": profile.shared_state,
    }


def profile_parse(field: str, data: object) -> ActionProfile:
    """Return a profile from JSON; what is left out is empty or false.

    Raises:
        InvalidInputError: naming the field and the limit.
    """
    names = ("reads", "writes", "adds_header", "removes_header", "drops", "drop_reads", "flags", "state",
             "shared_state")  # fmt: skip
    values = fields_of(field, data, optional=names)
    return ActionProfile(
        reads=_fields(f"{field}.reads", values.get("reads", [])),
        writes=_fields(f"{field}.writes", values.get("writes", [])),
        adds_header=flag(f"{field}.adds_header", values.get("adds_header", False)),
        removes_header=flag(f"{field}.removes_header", values.get("removes_header", False)),
        drops=flag(f"{field}.drops", values.get("drops", False)),
        drop_reads=_fields(f"{field}.drop_reads", values.get("drop_reads", [])),
        flags=frozenset(map(Flag, _words(f"{field}.flags", values.get("flags", []), _FLAG_NAMES))),
        state=StateScope(
            choice_of(f"{field}.state", values.get("state", "none"), tuple(s.value for s in StateScope))
        ),
        shared_state=text_of(f"{field}.shared_state", values.get("shared_state", ""), 64),
    )


def service_to_json(service: ServiceTime) -> JsonObject:
    """Return how long a network function takes."""
    return asdict(service)


def service_from_json(field: str, data: object) -> ServiceTime:
    """Return how long a network function takes, checked."""
    return ServiceTime(**service_parse(field, data))


def chain_to_json(chain: Chain) -> JsonObject:
    """Return a chain with the profiles and times that the planner takes: the inputs of a plan."""
    nfs = [
        {
            "name": nf.name,
            "type": nf.type,
            "profile": profile_to_json(nf.profile),
            "service": service_to_json(nf.service),
            "params": dict(nf.params),
            "pinned_server": nf.pinned_server,
            "is_state_advisory": nf.is_state_advisory,
        }
        for nf in chain.nfs
    ]
    return {
        "name": chain.name,
        "nfs": nfs,
        "rate_pps": chain.rate_pps,
        "packet_bytes": chain.packet_bytes,
        "header_bytes": chain.header_bytes,
        "slo_p99_us": chain.slo_p99_us,
    }


def chain_from_json(data: Mapping[str, Any]) -> Chain:
    """Return the chain of ``chain_to_json``; only for what we wrote ourselves."""
    nfs = tuple(
        NfInstance(
            **{
                **nf,
                "profile": profile_parse("profile", nf["profile"]),
                "service": service_from_json("service", nf["service"]),
            }
        )
        for nf in data["nfs"]
    )
    return Chain(**{**data, "nfs": nfs})


def verdict_to_json(chain: Chain, first: int, second: int, verdict: Verdict) -> VerdictJson:
    """Return what was decided for an ordered pair."""
    return {
        "first": first,
        "second": second,
        "first_name": chain.nfs[first].name,
        "second_name": chain.nfs[second].name,
        "kind": verdict.kind.value,
        "rule": verdict.rule,
        "fields": _in_order(verdict.fields),
        "reason": verdict.reason,
    }


def pairs_to_json(chain: Chain, matrix: Sequence[Sequence[Verdict | None]]) -> list[VerdictJson]:
    """Return the verdicts of all pairs in chain order."""
    return [
        verdict_to_json(chain, first, second, verdict)
        for first, row in enumerate(matrix)
        for second, verdict in enumerate(row)
        if verdict is not None
    ]


def node_to_json(chain: Chain, node: Node) -> JsonObject:
    """Return a hybrid chain as a tree."""
    if isinstance(node, Nf):
        nf = chain.nfs[node.index]
        return {"kind": "nf", "index": node.index, "name": nf.name, "type": nf.type, "server": node.server}
    if isinstance(node, Series):
        return {"kind": "series", "parts": [node_to_json(chain, part) for part in node.parts]}
    return {
        "kind": "parallel",
        "branches": [node_to_json(chain, branch) for branch in node.branches],
        "copies": [copy.value for copy in node.copies],
        "server": node.server,
    }


def node_from_json(data: Mapping[str, Any]) -> Node:
    """Return the tree of ``node_to_json``; only for what we wrote ourselves."""
    if data["kind"] == "nf":
        return Nf(data["index"], data["server"])
    if data["kind"] == "series":
        return Series(tuple(node_from_json(part) for part in data["parts"]))
    branches = tuple(node_from_json(branch) for branch in data["branches"])
    return Parallel(branches, tuple(Copy(copy) for copy in data["copies"]), data["server"])


def prediction_to_json(prediction: Prediction) -> JsonObject:
    """Return a prediction; what is infinite is ``None``."""
    return {
        "mean_us": _finite(prediction.mean_us),
        "p50_us": _finite(prediction.p50_us),
        "p99_us": _finite(prediction.p99_us),
        "stages": [_stage_to_json(stage) for stage in prediction.stages],
        "wire_bytes_per_packet": prediction.wire_bytes_per_packet,
        "copied_bytes_per_packet": prediction.copied_bytes_per_packet,
        "cpu_us_per_packet": prediction.cpu_us_per_packet,
        "servers_crossed": prediction.servers_crossed,
    }


def answer_to_json(
    answer: Plan | Infeasible, chain: Chain, matrix: Sequence[Sequence[Verdict | None]]
) -> JsonObject:
    """Return the planner's answer as REST gives it, without what only storing adds (id, versions, time)."""
    if isinstance(answer, Infeasible):
        best = None if answer.best is None else plan_to_json(answer.best, matrix)
        return {
            "kind": "infeasible",
            "chain": chain.name,
            "reason": answer.kind,
            "witness": answer.witness,
            "best": best,
            "pairs": pairs_to_json(chain, matrix),
        }
    return plan_to_json(answer, matrix)


def plan_to_json(plan: Plan, matrix: Sequence[Sequence[Verdict | None]]) -> JsonObject:
    """Return a plan with all that is needed to check it."""
    chain = plan.chain
    obligations = [
        {
            **verdict_to_json(chain, row.first_index, row.second_index, row.verdict),
            "is_state_advisory": row.is_state_advisory,
        }
        for row in plan.obligations
    ]
    return {
        "kind": "plan",
        "chain": chain.name,
        "root": node_to_json(chain, plan.root),
        "sequential_root": node_to_json(chain, plan.sequential_root),
        "prediction": prediction_to_json(plan.prediction),
        "sequential": prediction_to_json(plan.sequential),
        "obligations": obligations,
        "pairs": pairs_to_json(chain, matrix),
        "constants": asdict(plan.constants),
        "is_optimal": plan.is_optimal,
        "gap_ratio": _finite(plan.gap_ratio),
        "servers": sorted({leaf.server for leaf in leaves(plan.root)}),
        "candidates": [asdict(server) for server in plan.servers],
        "rate_pps": chain.rate_pps,
        "slo_p99_us": chain.slo_p99_us,
    }


def constants_from_json(data: Mapping[str, float]) -> CostConstants:
    """Return constants that we wrote ourselves."""
    return CostConstants(**data)


def servers_from_json(rows: Iterable[Mapping[str, Any]]) -> tuple[Server, ...]:
    """Return servers of checked JSON."""
    return tuple(Server(row["name"], row["cores"], row["link_bps"]) for row in rows)


def _stage_to_json(stage: Stage) -> JsonObject:
    return {
        "label": stage.label,
        "mean_us": _finite(stage.mean_us),
        "utilization": _finite(stage.utilization),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _in_order(fields: Iterable[Field]) -> list[str]:
    wanted = frozenset(fields)
    return [field.value for field in Field if field in wanted]


def _fields(field: str, value: object) -> frozenset[Field]:
    return frozenset(map(Field, _words(field, value, _FIELD_NAMES)))


def _words(field: str, value: object, choices: tuple[str, ...]) -> list[str]:
    words = list_of(field, value, 0, len(choices), "names")
    return [choice_of(f"{field}[{index}]", word, choices) for index, word in enumerate(words)]
