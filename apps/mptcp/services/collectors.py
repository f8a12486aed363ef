"""Collectors: whose samples (sFlow, IPFIX) a device takes, at which ports, and how many of them."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction

from apps.mptcp.models import AssociationDomain, Observer
from apps.mptcp.selectors import (
    COLLECTOR_ROLE,
    DATAGRAM_RATE_MAX,
    IPFIX_PORT,
    SFLOW_PORT,
    collector_exporters,
)
from apps.mptcp.services.samples import observers_make
from nfvportal.audit.services import audit_record
from nfvportal.inventory.models import DesiredState, Device
from nfvportal.inventory.services import desired_state_set
from nfvportal.lib.errors import InvalidInputError

EXPORTERS_MAX: Final = 256
RATE_MAX: Final = 100_000
PORT_MAX: Final = 65_535
_OBSERVER_MAX: Final = 65_535  # what a record has room for
Network = IPv4Network | IPv6Network


def collector_set(
    *,
    device: Device,
    user: User,
    exporters: Sequence[str],
    sflow_port: int | None = SFLOW_PORT,
    ipfix_port: int | None = IPFIX_PORT,
    datagram_rate_max: int = DATAGRAM_RATE_MAX,
) -> list[Observer]:
    """Take samples of exporters from now on; each is an observation point of the domain of the device's site.

    Args:
        exporters: 1 to 256 addresses or networks of routers and switches; datagrams of others are dropped.
        sflow_port: where sFlow version 5 is heard, 1..65535; ``None``: nowhere.
        ipfix_port: where IPFIX is heard, likewise.
        datagram_rate_max: datagrams per second taken from one address, 1..100000.

    Raises:
        InvalidInputError: a field breaks its limit; names it.
    """
    names = [
        str(network) if network.num_addresses > 1 else str(network[0]) for network in _networks(exporters)
    ]
    _check_range("sflow_port", sflow_port, PORT_MAX)
    _check_range("ipfix_port", ipfix_port, PORT_MAX)
    if sflow_port is None and ipfix_port is None:
        raise InvalidInputError("sflow_port", "or ipfix_port must be given")
    if sflow_port == ipfix_port:
        raise InvalidInputError("ipfix_port", "must be another port than sflow_port")
    _check_range("datagram_rate_max", datagram_rate_max, RATE_MAX)
    with transaction.atomic():
        domain, _ = AssociationDomain.objects.get_or_create(site=device.site)
        observers = observers_make(domain, device, names)
        if max(row.number for row in observers) > _OBSERVER_MAX:
            raise InvalidInputError(
                "exporters", f"need more than the {_OBSERVER_MAX} observation points that a site can have"
            )
        spec = {
            # Who listens for IPv6 hears IPv4 too; a device without IPv6 could not listen there at all.
            "address": "::" if any(":" in name for name in names) else "0.0.0.0",
            "sflow_port": sflow_port,
            "ipfix_port": ipfix_port,
            "datagram_rate_max": datagram_rate_max,
            "exporters": [
                {"address": name, "observer": row.number} for name, row in zip(names, observers, strict=True)
            ],
        }
        _spec_set(device, user, spec)
    return observers


def collector_stop(*, device: Device, user: User) -> None:
    """Take samples of nobody any more; what was found stays."""
    with transaction.atomic():
        if DesiredState.objects.filter(device=device, role=COLLECTOR_ROLE).exists():
            _spec_set(device, user, {})


def _spec_set(device: Device, user: User, spec: dict[str, Any]) -> None:
    old = DesiredState.objects.filter(device=device, role=COLLECTOR_ROLE).first()
    desired_state_set(device=device, role=COLLECTOR_ROLE, spec=spec)
    audit_record(
        actor=user,
        action="mptcp.collector_set",
        subject=device.name,
        before=_audited(old.spec) if old else None,
        after=_audited(spec),
    )


def _audited(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what a person chose."""
    chosen = {name: value for name, value in spec.items() if name != "address"}
    return {**chosen, "exporters": collector_exporters(spec)}


def _networks(exporters: Sequence[str]) -> list[Network]:
    """Return the exporters in their order, each of which can be reached: the first that fits a sender counts."""
    if not 1 <= len(exporters) <= EXPORTERS_MAX:
        raise InvalidInputError("exporters", f"must be 1 to {EXPORTERS_MAX} addresses or networks")
    networks: list[Network] = []
    for text in exporters:
        network = _network(text)
        if network in networks:
            raise InvalidInputError("exporters", f"must name {text} once")
        if before := next((one for one in networks if _holds(one, network)), None):
            raise InvalidInputError("exporters", f"must name {text} before {before}, which holds it")
        networks.append(network)
    return networks


def _network(text: str) -> Network:
    try:
        if "%" in text:
            raise ValueError
        network = ip_network(text)
    except ValueError as error:
        limit = "must be addresses, or networks without host bits, such as 192.0.2.1 or 198.51.100.0/24"
        raise InvalidInputError("exporters", f"{limit}; {text[:64]!r} is neither") from error
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:  # a sender of IPv4, whichever socket hears it
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _holds(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)


def _check_range(field: str, value: int | None, highest: int) -> None:
    if value is not None and not 1 <= value <= highest:
        raise InvalidInputError(field, f"must be from 1 to {highest}")
