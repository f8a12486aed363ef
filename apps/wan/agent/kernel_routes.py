"""What the kernel of a gateway should hold for a map, and the difference to what it holds.

Virtual subnet v has one nexthop object N_v that every route of v uses: moving v to another link is one replace of
N_v, however many routes there are. Everything carries protocol number 200 and ids from a range of our own; entries of
others are never touched.

Side ``a`` sorts by source: ``from PREFIX_v lookup T_v`` and, in table T_v, the remote prefixes over N_v. Side ``b``
sorts by destination: PREFIX_v over N_v in the main table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from apps.wan.agent.gateway_spec import GatewaySpec
from nfvportal.agent import netlink
from nfvportal.agent.netlink import EXISTS, GONE, TABLE_MAIN, Netlink, Nexthop, Route, Rule

PROTOCOL = 200
NEXTHOP_BASE = 0x4E460000
TABLE_BASE = 10_000
INDICES = range(1, 256)
PRIORITY_BASE = 10_000


@dataclass(frozen=True, slots=True)
class KernelRoutes:
    """Nexthops, routes and rules of our protocol number."""

    nexthops: frozenset[Nexthop]
    routes: frozenset[Route]
    rules: frozenset[Rule]


def nexthop_of(
    spec: GatewaySpec, index: int, link_name: str, interface_numbers: Mapping[str, int]
) -> Nexthop:
    """Return N_index when it points over a link."""
    link = next(link for link in spec.links if link.name == link_name)
    return Nexthop(NEXTHOP_BASE + index, link.peer, interface_numbers[link.interface], PROTOCOL)


def routes_of(spec: GatewaySpec, index: int) -> list[Route]:
    """Return the routes of one virtual subnet; the same whatever link it is on."""
    if spec.side == "b":
        return [Route(spec.subnets[index], TABLE_MAIN, NEXTHOP_BASE + index, PROTOCOL)]
    return [
        Route(prefix, TABLE_BASE + index, NEXTHOP_BASE + index, PROTOCOL) for prefix in spec.remote_prefixes
    ]


def wanted_routes(
    spec: GatewaySpec, mapping: Mapping[int, str], interface_numbers: Mapping[str, int]
) -> KernelRoutes:
    """Return what the kernel should hold for a map."""
    rules = frozenset(
        Rule(prefix, TABLE_BASE + index, PRIORITY_BASE + index, PROTOCOL)
        for index, prefix in spec.subnets.items()
        if spec.side == "a"
    )
    return KernelRoutes(
        frozenset(nexthop_of(spec, index, link, interface_numbers) for index, link in mapping.items()),
        frozenset(route for index in mapping for route in routes_of(spec, index)),
        rules,
    )


def read_routes(kernel: Netlink) -> KernelRoutes:
    """Return what the kernel holds of ours: of our protocol number (the host role has it too) and in our ranges."""
    return KernelRoutes(
        frozenset(item for item in kernel.nexthops(PROTOCOL) if item.id - NEXTHOP_BASE in INDICES),
        frozenset(
            item
            for item in kernel.routes(PROTOCOL)
            if item.nexthop_id - NEXTHOP_BASE in INDICES or item.table - TABLE_BASE in INDICES
        ),
        frozenset(item for item in kernel.rules(PROTOCOL) if item.table - TABLE_BASE in INDICES),
    )


def reconcile(kernel: Netlink, wanted: KernelRoutes) -> int:
    """Make the kernel hold what is wanted and nothing more of ours; return the number of changes, 0 when it did.

    Nexthops come first (routes need them), then routes, then rules; what goes, goes in the reverse order.

    Raises:
        NetlinkError: the kernel refused a change.
    """
    held = read_routes(kernel)
    additions = [netlink.pack_nexthop_replace(nexthop) for nexthop in sorted(wanted.nexthops - held.nexthops)]
    additions += [netlink.pack_route_replace(route) for route in sorted(wanted.routes - held.routes)]
    kernel.send_all(additions)
    rules = [netlink.pack_rule_add(rule) for rule in sorted(wanted.rules - held.rules)]
    kernel.send_all(rules, ignore=EXISTS)
    wanted_keys = {(route.prefix, route.table) for route in wanted.routes}
    wanted_ids = {nexthop.id for nexthop in wanted.nexthops}
    removals = [netlink.pack_rule_delete(rule) for rule in sorted(held.rules - wanted.rules)]
    removals += [
        netlink.pack_route_delete(route)
        for route in sorted(held.routes - wanted.routes)
        if (route.prefix, route.table) not in wanted_keys
    ]
    removals += [
        netlink.pack_nexthop_delete(nexthop.id)
        for nexthop in sorted(held.nexthops)
        if nexthop.id not in wanted_ids
    ]
    kernel.send_all(removals, ignore=GONE)
    return len(additions) + len(rules) + len(removals)
