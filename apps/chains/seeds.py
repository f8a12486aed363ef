"""The built-in catalogue, and sample chains for the demo. Safe to repeat: what people changed stays."""

from apps.chains.chain_definition import definition_parse
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.models import Chain, NfType
from apps.chains.plan_json import profile_to_json, service_to_json
from apps.chains.services.chains import chain_create

# TABLE: sample chains: name, title, (name, type) of each network function, packets per second, p99 target in ms.
CHAINS: tuple[tuple[str, str, tuple[tuple[str, str], ...], float, float], ...] = (
    (
        "north-south",
        "Data centre, north to south",
        (
            ("edge-firewall", "firewall"),
            ("monitor", "monitor"),
            ("load-balancer", "load_balancer"),
            ("app-firewall", "firewall"),
        ),
        500.0,
        20.0,
    ),
    (
        "web-vpn",
        "Web over VPN",
        (
            ("vpn", "vpn"),
            ("monitor", "monitor"),
            ("firewall", "firewall"),
            ("load-balancer", "load_balancer"),
        ),
        500.0,
        20.0,
    ),
    (
        "east-west",
        "Data centre, east to west",
        (("firewall", "firewall"), ("ids", "ids"), ("load-balancer", "load_balancer")),
        500.0,
        20.0,
    ),
)


def seed_demo() -> None:
    """Put catalogue and sample chains in; none is applied."""
    catalogue_seed()
    for name, title, nfs, rate_pps, slo_p99_ms in CHAINS:
        if Chain.objects.filter(name=name).exists():
            continue
        body = {
            "name": name,
            "title": title,
            "nfs": [{"name": nf, "type": type_} for nf, type_ in nfs],
            "rate_pps": rate_pps,
            "slo_p99_ms": slo_p99_ms,
        }
        chain_create(definition=definition_parse(body), actor=None, note="sample")


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
