"""The built-in catalogue, and sample chains for the demo. Safe to repeat: what people changed stays."""

from typing import Any

from apps.chains.chain_definition import definition_parse
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.models import Chain, NfType
from apps.chains.plan_json import profile_to_json, service_to_json
from apps.chains.services.chains import chain_create
from apps.chains.services.specs import CLASSIFIER_ROLE, specs_push
from nfvportal.inventory.models import Device
from nfvportal.inventory.services import desired_state_set

# Addresses of the published mix: its most frequent servers are 192.168.0.1 and following.
BALANCER: dict[str, Any] = {
    "vip": "192.168.0.1",
    "backends": [{"address": "192.168.100.11"}, {"address": "192.168.100.12"}],
}

EDGE: dict[str, Any] = {
    "default": "allow",
    "rules": [
        {"action": "deny", "proto": "tcp", "dst_port": [23]},
        {"action": "deny", "src": "203.0.113.0/24"},
    ],
}
OPEN: dict[str, Any] = {"default": "allow"}
SIGNATURES: dict[str, Any] = {"signatures": [{"name": "passwd", "pattern": "/etc/passwd"}]}

# TABLE: sample chains: name, title, (name, type, settings) of each network function.
CHAINS: tuple[tuple[str, str, tuple[tuple[str, str, dict[str, Any]], ...]], ...] = (
    (
        "north-south",
        "Data centre, north to south",
        (
            ("edge-firewall", "firewall", EDGE),
            ("monitor", "monitor", {}),
            ("load-balancer", "load_balancer", BALANCER),
            ("app-firewall", "firewall", OPEN),
        ),
    ),
    (
        "web-vpn",
        "Web over VPN",
        (
            ("vpn", "vpn", {"key": "demo key, not a secret"}),
            ("monitor", "monitor", {}),
            ("firewall", "firewall", EDGE),
            ("load-balancer", "load_balancer", BALANCER),
        ),
    ),
    (
        "east-west",
        "Data centre, east to west",
        (
            ("firewall", "firewall", EDGE),
            ("ids", "ids", SIGNATURES),
            ("load-balancer", "load_balancer", BALANCER),
        ),
    ),
)
RATE_PPS = 200.0
TRAFFIC_ROLE = "chains.traffic"
TRAFFIC: dict[str, dict[str, Any]] = {
    "dc-generator": {"part": "sender", "interface": "lan0", "rate_pps": RATE_PPS, "seed": 1},
    "dc-sink": {"part": "receiver", "interface": "lan0"},
}
SLO_P99_MS = 20.0


def seed_demo() -> None:
    """Put catalogue, sample chains and traffic in; no chain is applied, packets pass the classifier as they are."""
    catalogue_seed()
    for name, title, nfs in CHAINS:
        if Chain.objects.filter(name=name).exists():
            continue
        body = {
            "name": name,
            "title": title,
            "nfs": [{"name": nf, "type": type_, "params": params} for nf, type_, params in nfs],
            "rate_pps": RATE_PPS,
            "slo_p99_ms": SLO_P99_MS,
        }
        chain_create(definition=definition_parse(body), actor=None, note="sample")
    for device in Device.objects.filter(name__in=TRAFFIC):
        if TRAFFIC_ROLE in device.roles:
            desired_state_set(device=device, role=TRAFFIC_ROLE, spec=TRAFFIC[device.name])
    if Device.objects.filter(roles__contains=[CLASSIFIER_ROLE]).exists():
        specs_push()


def catalogue_seed() -> None:
    """Put the built-in types in; a type that nobody changed follows the engine's catalogue."""
    for slug, built_in in CATALOGUE.items():
        fields = {
            "title": built_in.title,
            "description": built_in.description,
            "profile": profile_to_json(built_in.profile),
            "service": service_to_json(built_in.service),
            "provenance": built_in.provenance,
            "implementation": built_in.implementation,
            "is_builtin": True,
        }
        row, is_new = NfType.objects.get_or_create(slug=slug, defaults=fields)
        if not is_new and row.is_builtin and row.version == 1:
            NfType.objects.filter(pk=row.pk).update(**fields)
