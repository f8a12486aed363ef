"""The demo inventory: the devices of the lab's topologies, with their tokens. Safe to repeat."""

from importlib import import_module
from pathlib import Path

from django.db import transaction

from nfvportal.inventory import services
from nfvportal.inventory.models import Device, DeviceKind, Interface, Link, LinkKind, Site
from nfvportal.lab.topology import Node, NodeKind, Topology, load_topology

SITES = {"branch": "Branch office", "hq": "Headquarters", "datacenter": "Data centre"}
HQ_NODES = {"gw-b", "hq-server"}
PROVIDERS = {"fiber": "Northline", "dsl": "Copperband", "lte": "Airwave"}
LAN_RATE_BPS = 1_000_000_000
KINDS: dict[NodeKind, DeviceKind] = {
    "host": DeviceKind.HOST,
    "gateway": DeviceKind.GATEWAY,
    "bridge": DeviceKind.SWITCH,
    "middlebox": DeviceKind.GATEWAY,
    "server": DeviceKind.SERVER,
}

# TABLE: seeds of the apps, run in this order after the inventory's own.
APP_SEEDS = ("apps.wan.seeds:seed_demo", "apps.chains.seeds:seed_demo", "apps.mptcp.seeds:seed_demo")


def seed_demo(agents_dir: Path, topology_names: str = "branch") -> None:
    """Make sites, devices, interfaces, links, device tokens, then what the apps add.

    Args:
        agents_dir: token files are written to ``<agents_dir>/<device>/token``, readable by the owner only.
        topology_names: what the lab runs, several joined by ``+``.
    """
    topologies = [load_topology(name) for name in topology_names.split("+")]
    with transaction.atomic():
        for topology in topologies:
            for node in topology.nodes:
                name = "hq" if node.name in HQ_NODES else topology.name
                site, _ = Site.objects.get_or_create(name=name, defaults={"title": SITES.get(name, name)})
                _seed_device(node, site)
            _seed_links(topology)
        names = [node.name for topology in topologies for node in topology.nodes]
        for device in Device.objects.exclude(roles=[]).filter(name__in=names):
            device_token_ensure(device, agents_dir)
        for dotted in APP_SEEDS:
            module, _, function = dotted.partition(":")
            getattr(import_module(module), function)()


def device_token_ensure(device: Device, agents_dir: Path) -> None:
    """Write the device's token file; a file that still holds the valid token stays."""
    path = agents_dir / device.name / "token"
    if path.exists() and services.token_hash(path.read_text().strip()) == device.token_hash:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(services.device_token_rotate(device=device, actor=None) + "\n")


def _seed_device(node: Node, site: Site) -> None:
    device, _ = Device.objects.get_or_create(
        name=node.name, defaults={"site": site, "kind": KINDS[node.kind], "roles": list(node.roles)}
    )
    for interface in node.interfaces:
        Interface.objects.get_or_create(
            device=device,
            name=interface.name,
            defaults={"addresses": list(interface.addresses), "mac": interface.mac},
        )


def _seed_links(topology: Topology) -> None:
    ends = {(end.device.name, end.name): end for end in Interface.objects.select_related("device")}
    for link in topology.links:
        is_wan = link.shape is not None
        Link.objects.get_or_create(
            name=link.name,
            defaults={
                "kind": LinkKind.WAN if is_wan else LinkKind.LAN,
                "a": ends[link.a.node, link.a.interface],
                "b": ends[link.b.node, link.b.interface],
                "capacity_bps": (link.shape.rate_bps if link.shape else None) or LAN_RATE_BPS,
                "delay_ms": link.shape.delay_ms if link.shape else None,
                "provider": PROVIDERS.get(link.name, ""),
            },
        )
