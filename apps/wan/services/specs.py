"""Desired states of gateways and hosts, built from the inventory and the map."""

from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from apps.wan.mapping import home_of, mapping_to_json
from apps.wan.models import MapEpoch, SitePair, VirtualSubnet, WanLink
from nfvportal.accounts.sealing import unseal
from nfvportal.inventory.models import Device, Interface
from nfvportal.inventory.services import desired_state_set
from nfvportal.lib.errors import InvalidInputError

CLEAN_COUNT = 20
SUBFLOW_LIMIT = 8


def pair_push(pair: SitePair, epoch: MapEpoch) -> None:
    """Give both gateways of a pair the map of an epoch; unchanged specs cause nothing."""
    links = list(pair.links.select_related("link__a__device", "link__b__device"))
    subnets = list(pair.subnets.select_related("home__link"))
    for device, side in ((pair.gateway_a, "a"), (pair.gateway_b, "b")):
        spec = gateway_spec(pair, side, links, subnets, epoch)
        desired_state_set(device=device, role="wan.gateway", spec=spec)


def gateway_spec(
    pair: SitePair, side: str, links: list[WanLink], subnets: list[VirtualSubnet], epoch: MapEpoch
) -> dict[str, Any]:
    """Return the spec of ``wan.gateway`` for one side.

    Raises:
        InvalidInputError: an end of a link has no IPv4 address, or belongs to neither gateway.
    """
    device = pair.gateway_a if side == "a" else pair.gateway_b
    return {
        "side": side,
        "links": [_link_spec(link, device) for link in links],
        "virtual_subnets": [
            {"index": row.index, "prefix": row.prefix, "default": row.is_default} for row in subnets
        ],
        "remote_prefixes": pair.remote_prefixes if side == "a" else [],
        "home": mapping_to_json(home_of(subnets, links)),
        "map": epoch.mapping,
        "epoch": epoch.number,
        "probe": {
            "interval_ms": pair.probe_interval_ms,
            "multiplier": pair.probe_multiplier,
            "port": pair.probe_port,
            "key": unseal(pair.probe_key_sealed),
        },
        "hold_down": {"clean_count": CLEAN_COUNT, "base_s": pair.hold_base_s, "max_s": pair.hold_max_s},
        "reroute": True,
    }


def _link_spec(row: WanLink, device: Device) -> dict[str, Any]:
    ends = {row.link.a.device_id: (row.link.a, row.link.b), row.link.b.device_id: (row.link.b, row.link.a)}
    if device.pk not in ends:
        raise InvalidInputError(f"link {row.link.name}", f"must end at {device.name}")
    near, far = ends[device.pk]
    return {
        "name": row.link.name,
        "interface": near.name,
        "local": _address(near),
        "peer": _address(far),
        "rate_bps": row.link.capacity_bps,
    }


def _address(interface: Interface) -> str:
    for address in interface.addresses:
        parsed = IPv4Interface(address) if ":" not in address else None
        if parsed is not None:
            return str(parsed.ip)
    raise InvalidInputError(f"interface {interface}", "needs an IPv4 address in the inventory")


def host_spec(pair: SitePair, host: Device) -> dict[str, Any]:
    """Return the spec of ``wan.host``: in every virtual subnet, the host number that it has in the first.

    Raises:
        InvalidInputError: the host or the gateway has no address in a virtual subnet.
    """
    subnets = list(pair.subnets.order_by("index"))
    interface, number = _host_number(host, subnets)
    gateway_addresses = [
        IPv4Interface(address)
        for row in pair.gateway_a.interfaces.all()
        for address in row.addresses
        if ":" not in address
    ]
    addresses = []
    for subnet in subnets:
        network = IPv4Network(subnet.prefix)
        gateway = next((item.ip for item in gateway_addresses if item.ip in network), None)
        if gateway is None:
            raise InvalidInputError(f"device {pair.gateway_a.name}", f"needs an address in {network}")
        address = f"{network.network_address + number}/{network.prefixlen}"
        addresses.append({"index": subnet.index, "address": address, "gateway": str(gateway)})
    return {
        "interface": interface,
        "addresses": addresses,
        "subflow_limit": SUBFLOW_LIMIT,
        "add_addr_accepted": SUBFLOW_LIMIT,
    }


def _host_number(host: Device, subnets: list[VirtualSubnet]) -> tuple[str, int]:
    """Return the host's interface and its number within a virtual subnet."""
    for row in host.interfaces.all():
        for address in row.addresses:
            for subnet in subnets:
                network = IPv4Network(subnet.prefix)
                if ":" not in address and IPv4Interface(address).ip in network:
                    return row.name, int(IPv4Interface(address).ip) - int(network.network_address)
    raise InvalidInputError(f"device {host.name}", "needs an address in one of the virtual subnets")
