"""Chains as the rows and bodies that tests start from."""

import time
import uuid
from typing import Any

from django.utils import timezone

from apps.chains.chain_definition import definition_parse
from apps.chains.models import Chain, Deployment, NfType, Plan
from apps.chains.services.chains import chain_create
from apps.chains.services.deployments import deployment_activate, deployment_begin, deployment_finish
from apps.chains.services.plans import plan_make
from nfvportal.events.models import Event
from nfvportal.inventory.models import DesiredState, Device, Interface, Site
from nfvportal.inventory.services import desired_state_applied

Body = dict[str, Any]
VPN_CHAIN = ("vpn", "monitor", "firewall", "load_balancer")


def chain_body(name: str = "web-vpn", types: tuple[str, ...] = VPN_CHAIN, **fields: Any) -> Body:
    """Return a chain as people send it."""
    nfs = [{"name": type_.replace("_", "-"), "type": type_} for type_ in types]
    return {"name": name, "title": "", "nfs": nfs, "rate_pps": 1000.0, **fields}


def chain_make(name: str = "web-vpn", types: tuple[str, ...] = VPN_CHAIN, **fields: Any) -> Chain:
    """Return a stored chain."""
    return chain_create(definition=definition_parse(chain_body(name, types, **fields)), actor=None)


def type_body(slug: str = "waf", **fields: Any) -> Body:
    """Return a type of network function as people send it."""
    profile = {"reads": ["ip_src", "payload"], "drops": True, "drop_reads": ["payload"], "state": "flow"}
    return {"slug": slug, "title": "Web application firewall", "profile": profile, **fields}


def nf_type(slug: str) -> NfType:
    """Return a stored type."""
    return NfType.objects.get(slug=slug)


def fabric_make() -> dict[str, Device]:
    """Return a classifier and three servers with addresses on the fabric, as the data centre of the lab has them."""
    site = Site.objects.create(name="dc")
    devices = {}
    roles = {"dc-classifier": "chains.classifier", **{f"dc-server-{n}": "chains.server" for n in (1, 2, 3)}}
    for number, (name, role) in enumerate(roles.items(), 1):
        devices[name] = Device.objects.create(
            name=name, site=site, kind="server", roles=[role], capabilities={"cores": 4}
        )
        Interface.objects.create(device=devices[name], name="fabric", mac=f"02:00:00:00:00:{number:02x}")
    return devices


def plan_of(chain: Chain) -> Plan:
    """Return a new plan of a chain, which must be feasible."""
    plan = plan_make(chain=chain)
    assert plan.is_feasible, plan.content
    return plan


# Settings with which each type of the sample chains can run.
PARAMS: dict[str, Body] = {
    "load_balancer": {"vip": "10.9.0.1", "backends": [{"address": "10.9.0.11"}, {"address": "10.9.0.12"}]},
    "firewall": {"default": "allow"},
    "vpn": {"key": "00112233445566778899aabbccddeeff"},
}


def runnable(name: str = "web-vpn", types: tuple[str, ...] = VPN_CHAIN, **fields: Any) -> Chain:
    """Return a stored chain whose network functions have all settings that they need."""
    body = chain_body(name, types, **fields)
    for nf in body["nfs"]:
        nf["params"] = PARAMS.get(nf["type"], {})
    return chain_create(definition=definition_parse(body), actor=None)


def devices_answer(*, ok: bool = True, error: str = "", role: str = "") -> None:
    """Say for all devices that they applied (or refused) what they shall hold."""
    states = DesiredState.objects.filter(role__startswith=role) if role else DesiredState.objects.all()
    for state in states:
        desired_state_applied(
            device_id=state.device_id, role=state.role, revision=state.revision, ok=ok, error=error
        )


def agent_event(type_: str, device: str = "dc-classifier", **data: Any) -> Event:
    """Return a device's stored report."""
    now = timezone.now()
    return Event.objects.create(
        type=type_, at=now, severity="info", device_name=device, data=data, dispatched_at=now
    )


def deployed(chain: Chain, plan: Plan | None = None) -> Deployment:
    """Return a live deployment of a plan, with devices that obey at once."""
    plan = plan or plan_of(chain)
    row = deployment_begin(plan_id=plan.pk, job_id=uuid.uuid4(), actor=None)
    devices_answer()
    deployment_activate(row)
    devices_answer()
    deployment_finish(row, {"held_packets": 3, "waited_ms": 1.5, "lost": 0})
    devices_answer()
    return Deployment.objects.select_related("chain", "plan").get(pk=row.pk)


def classifier_columns(row: Deployment, at_s: float | None = None, count: int = 100, **changes: Any) -> Body:
    """Return one second of a chain as its classifier sends it."""
    return {
        "at_s": [time.time() if at_s is None else at_s],
        "path": [row.chain.path],
        "epoch": [row.epoch],
        "in": [count],
        "out": [count - 2],
        "dropped": [1],
        "timed_out": [0],
        "in_flight": [1],
        "held": [0],
        "latency_us_p50": [200.0],
        "latency_us_p95": [700.0],
        "latency_us_p99": [900.0],
        "latency_bins": [[0] * 7 + [60, 39] + [0] * 23],
        **changes,
    }


def server_columns(row: Deployment, at_s: float | None = None, **changes: Any) -> Body:
    """Return one second of a chain's first two operators as their server sends it."""
    zeros = ("drop", "copy", "merge", "timeout", "lost", "late", "conflict", "queue")
    return {
        "at_s": [time.time() if at_s is None else at_s] * 2,
        "path": [row.chain.path] * 2,
        "epoch": [row.epoch] * 2,
        "operator": [1, 2],
        "kind": ["nf", "mirror"],
        "nf": ["web-vpn/vpn", None],
        "in": [100, 90],
        "out": [90, 180],
        **{name: [0, 0] for name in zeros},
        "latency_us_p50": [20.0, 2.0],
        "latency_us_p99": [60.0, 4.0],
        "latency_bins": [[0] * 4 + [70, 20] + [0] * 26, None],
        **changes,
    }
