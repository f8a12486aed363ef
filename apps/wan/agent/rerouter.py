"""Carries out maps: the fast path replaces pre-packed nexthops, the slow path reconciles everything."""

import logging
import socket
import threading
from collections.abc import Mapping, Sequence

from apps.wan.agent.gateway_spec import GatewaySpec
from apps.wan.agent.kernel_routes import (
    NEXTHOP_BASE,
    PROTOCOL,
    nexthop_of,
    reconcile,
    routes_of,
    wanted_routes,
)
from apps.wan.engine.map_planner import Move
from nfvportal.agent import netlink
from nfvportal.agent.netlink import Netlink, NetlinkError

logger = logging.getLogger(__name__)
MAX_RETRIES = 5


class Rerouter:
    """Holds the map that the kernel of this gateway should follow.

    ``flip`` is for the probing thread, ``reconcile`` for any other; a lock keeps the slow path from undoing the
    fast one.
    """

    def __init__(self, spec: GatewaySpec) -> None:
        self._lock = threading.Lock()
        self._fast = Netlink()
        self._slow = Netlink()
        self._version = 0
        self._mapping: dict[int, str] = {}
        self._adopt(spec)

    def _adopt(self, spec: GatewaySpec) -> None:
        self._spec = spec
        self._numbers = {link.interface: socket.if_nametoindex(link.interface) for link in spec.links}
        # Losing its carrier makes the kernel drop a link's nexthops and their routes: a flip sets both.
        self._packed_nexthops = {
            (index, link.name): netlink.pack_nexthop_replace(
                nexthop_of(spec, index, link.name, self._numbers)
            )
            for index in spec.subnets
            for link in spec.links
        }
        self._packed_routes = {
            index: [netlink.pack_route_replace(route) for route in routes_of(spec, index)]
            for index in spec.subnets
        }

    def close(self) -> None:
        """Close the sockets; the kernel's routes stay."""
        self._fast.close()
        self._slow.close()

    @property
    def mapping(self) -> Mapping[int, str]:
        """The map that was last carried out."""
        return self._mapping

    def adopt(self, spec: GatewaySpec, mapping: Mapping[int, str]) -> None:
        """Follow a new spec, starting from a map.

        Raises:
            OSError: an interface of the spec does not exist.
        """
        with self._lock:
            self._adopt(spec)
            self._mapping = dict(mapping)
            self._version += 1

    def held_mapping(self) -> dict[int, str]:
        """Return the map that the kernel holds now, as far as its nexthops are ours and known."""
        by_path = {(link.peer, self._numbers[link.interface]): link.name for link in self._spec.links}
        mapping = {}
        for nexthop in self._slow.nexthops(PROTOCOL):
            index = nexthop.id - NEXTHOP_BASE
            link = by_path.get((nexthop.gateway, nexthop.oif))
            if index in self._spec.subnets and link is not None:
                mapping[index] = link
        return mapping

    def flip(self, moves: Sequence[Move]) -> bool:
        """Move virtual subnets at once, all nexthops first; return whether the kernel took everything."""
        with self._lock:
            messages = [self._packed_nexthops[move.index, move.to_link] for move in moves]
            for move in moves:
                messages.extend(self._packed_routes[move.index])
                self._mapping[move.index] = move.to_link
            self._version += 1
            try:
                return not any(self._fast.send(messages))
            except OSError as error:
                logger.warning("a flip was not answered: %s", error)
                self._fast.close()  # late answers must not be taken for those of the next flip
                self._fast = Netlink()
                return False

    def reconcile(self) -> int:
        """Make the kernel follow the map, whatever others did to our entries; return the number of changes.

        Raises:
            NetlinkError: the kernel refused a change.
        """
        for _ in range(MAX_RETRIES):
            version = self._version
            wanted = wanted_routes(self._spec, self._mapping, self._numbers)
            with self._lock:
                if version == self._version:
                    return reconcile(self._slow, wanted)
        return 0


def try_reconcile(rerouter: Rerouter) -> bool:
    """Reconcile; a refusal is logged and tried again next time. Return whether the kernel now follows the map."""
    try:
        changes = rerouter.reconcile()
    except (NetlinkError, OSError) as error:
        logger.warning("could not reconcile routes: %s", error)
        return False
    if changes:
        logger.info("reconciled %d kernel entries", changes)
    return True
