"""The demo WAN: one site pair over the lab's three links, three virtual subnets, traffic. Safe to repeat."""

import secrets
from typing import Any

from django.utils import timezone

from apps.wan.engine.probe_codec import KEY_BYTES
from apps.wan.models import SitePair, VirtualSubnet, WanLink
from apps.wan.samples import partitions_make
from apps.wan.services.maps import map_ensure
from apps.wan.services.specs import host_spec
from nfvportal.accounts.sealing import seal
from nfvportal.inventory.models import Device, Link
from nfvportal.inventory.services import desired_state_set

PAIR = "branch-hq"
LINKS = ("fiber", "dsl", "lte")
SUBNETS = {1: "10.1.1.0/24", 2: "10.1.2.0/24", 3: "10.1.3.0/24"}
SERVER = "10.2.0.10"

# TABLE: demo traffic: name, kind, protocol, sender, port, and what else its sender needs.
TRAFFIC: tuple[tuple[str, str, str, str, int, dict[str, Any]], ...] = (
    ("bulk", "bulk", "mptcp", "branch-host", 5001, {"local_address": "10.1.1.10"}),
    ("request", "request", "mptcp", "branch-host", 5002, {"local_address": "10.1.1.10", "interval_ms": 100}),
    ("voice", "voice", "udp", "branch-legacy", 5003, {"interval_ms": 20, "message_bytes": 172}),
    ("legacy", "bulk", "tcp", "branch-legacy", 5004, {"rate_bps": 1_000_000}),
)


def seed_demo() -> None:
    """Make what is missing; what people changed stays. Without the branch's gateways there is nothing to make."""
    partitions_make(timezone.now().date())
    devices = {device.name: device for device in Device.objects.all()}
    if "gw-a" not in devices:
        return
    pair, _ = SitePair.objects.get_or_create(
        name=PAIR,
        defaults={
            "gateway_a": devices["gw-a"],
            "gateway_b": devices["gw-b"],
            "remote_prefixes": ["10.2.0.0/24"],
            "probe_key_sealed": seal(secrets.token_hex(KEY_BYTES)),
        },
    )
    for link in Link.objects.filter(name__in=LINKS):
        WanLink.objects.get_or_create(link=link, defaults={"pair": pair})
    for index, prefix in SUBNETS.items():
        VirtualSubnet.objects.get_or_create(
            pair=pair, index=index, defaults={"prefix": prefix, "is_default": index == 1}
        )
    map_ensure(pair)
    host = devices["branch-host"]
    desired_state_set(device=host, role="wan.host", spec=host_spec(pair, host))
    for name in ("branch-host", "branch-legacy", "hq-server"):
        desired_state_set(device=devices[name], role="lab.traffic", spec={"flows": _flows(name)})


def _flows(device: str) -> list[dict[str, Any]]:
    """Return a device's part of the demo traffic: it sends its own flows, the server receives all."""
    flows = []
    for name, kind, protocol, sender, port, more in TRAFFIC:
        flow = {"name": name, "kind": kind, "protocol": protocol, "address": SERVER, "port": port}
        if device == sender:
            flows.append({**flow, "part": "sender", **more})
        elif device == "hq-server":
            flows.append({**flow, "part": "receiver"})
    return flows
