"""Traces: the path of one packet, hop by hop."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.db import transaction

from apps.chains.engine.compile import compile_plan
from apps.chains.engine.operators import OperatorTable
from apps.chains.events import TraceData
from apps.chains.mapping import planned_chain, planned_root
from apps.chains.models import Chain, Deployment
from apps.chains.services.announcements import announce_trace
from apps.chains.services.calibration import active_deployment
from apps.chains.services.specs import specs_push
from nfvportal.events.models import Event
from nfvportal.jobs.runner import JobHandle
from nfvportal.lib.errors import InvalidInputError

TRACE_WITHIN_S: Final = 20.0
# Servers tell their hops by themselves: some may arrive after the classifier's word.
LATE_WITHIN_S: Final = 2.0
POLL_S: Final = 0.2
HOPS_MAX: Final = 1000
AROUND: Final = timedelta(seconds=60)


def trace_run(job: JobHandle) -> dict[str, Any]:
    """Trace the next packet of ``params["chain"]``.

    The job's id is the nonce, so a second run finds the trace of the first.
    """
    name, nonce = str(job.params["chain"]), job.id
    row = active_deployment(name)
    if row is None:
        raise InvalidInputError("chain", f"{name} is not deployed; apply a plan first")
    trace_want(row.chain, nonce)
    try:
        job.progress(0.2, "waiting for a packet")
        trace = _wait(job, row, nonce)
    finally:
        trace_end(row.chain, nonce)
    announce_trace(row.chain, dict(trace))
    return dict(trace)


def trace_want(chain: Chain, nonce: str) -> None:
    """Ask the classifier to mark the chain's next packet."""
    with transaction.atomic():
        Chain.objects.filter(pk=chain.pk).update(trace_nonce=nonce)
        specs_push()


def trace_end(chain: Chain, nonce: str) -> None:
    """Stop asking, unless somebody else asks by now."""
    with transaction.atomic():
        if Chain.objects.filter(pk=chain.pk, trace_nonce=nonce).update(trace_nonce=""):
            specs_push()


def _wait(job: JobHandle, row: Deployment, nonce: str) -> TraceData:
    deadline_s = time.monotonic() + TRACE_WITHIN_S
    late_s: float | None = None
    while True:
        job.checkpoint()
        told = Event.objects.filter(type="chains.trace", data__contains={"nonce": nonce}).first()
        if told is not None:
            late_s = late_s or time.monotonic() + LATE_WITHIN_S
            hops = trace_hops(row, told)
            if _is_complete(row, hops) or time.monotonic() > late_s:
                packet_id = told.data.get("packet_id")
                return {"nonce": nonce, "packet_id": packet_id, "hops": hops, "at_s": told.at.timestamp()}
        elif time.monotonic() > deadline_s:
            raise InvalidInputError("", f"no packet took {row.chain.name} within {TRACE_WITHIN_S:.0f} s")
        time.sleep(POLL_S)


def trace_hops(row: Deployment, told: Event) -> list[dict[str, Any]]:
    """Return what every operator said of the traced packet, in the order of its times.

    Servers name the packet by path and number only. Numbers come again after a long time, so old reports are left out.
    """
    table = compile_plan(planned_chain(row.plan), planned_root(row.plan))
    packet = {"path": row.chain.path, "packet_id": told.data.get("packet_id")}
    rows = Event.objects.filter(
        type="chains.trace_hop", data__contains=packet, created_at__gte=told.created_at - AROUND
    ).order_by("id")
    hops: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in rows[:HOPS_MAX]:
        hop = _hop(row, table, event.data)
        hops.setdefault((hop["operator"], hop["server"], hop["at_us"]), hop)
    return sorted(hops.values(), key=lambda hop: (hop["at_us"] or 0, hop["operator"] or 0))


def _hop(row: Deployment, table: OperatorTable, said: Mapping[str, Any]) -> dict[str, Any]:
    number = said.get("operator")
    operator = table.by_id.get(number) if isinstance(number, int) else None
    index = operator.nf_index if operator else None
    return {
        "operator": number,
        "kind": operator.kind.value if operator else str(said.get("kind", ""))[:16],
        "nf": planned_chain(row.plan).nfs[index].name if index is not None else "",
        "server": str(said.get("server") or "")[:64],
        "branch": said.get("branch"),
        "at_us": said.get("at_us") if isinstance(said.get("at_us"), int | float) else None,
        "took_us": said.get("took_us"),
        "fate": str(said.get("fate", ""))[:32],
    }


def _is_complete(row: Deployment, hops: list[dict[str, Any]]) -> bool:
    """Whether every network function of the chain spoke."""
    spoke = {hop["nf"] for hop in hops}
    return {nf.name for nf in planned_chain(row.plan).nfs} <= spoke
