"""After a failover, sends again what was under way on the failed link: over the links its virtual subnets moved to.

The peer's probes echo ours: what left before the last echoed probe has arrived, but for what waited in the link's
queue, which probes overtake. Everything younger is sent again, oldest first, at half the rate of the new link. Only
TCP: it sorts out what arrives twice; to other protocols a duplicate may mean something.

Source: the project's brief on WAN-aware MPTCP, which proposes a ring of the frames sent per link. Deviation: the kernel
keeps the ring.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from apps.wan.agent.gateway_spec import GatewayLink, GatewaySpec
from apps.wan.agent.replay_ring import ReplayRing, SentPacket
from apps.wan.engine.map_planner import Move

logger = logging.getLogger(__name__)
KEEP_EVERY_S = 0.01
# How long frames may have waited behind a probe that overtook them.
QUEUE_S = 0.01
# The kernel hands over a block that is not full after RETIRE_MS, by timers of up to 10 ms.
LATE_BLOCK_S = 0.03
PACE_S = 0.001
# The rest of the new link's rate is for those who were there before.
RATE_SHARE = 0.5
FRAME_OVERHEAD_BYTES = 14
ARP_TABLE = Path("/proc/net/arp")


@dataclass(frozen=True, slots=True)
class _Order:
    link: str
    moves: tuple[Move, ...]
    since_s: float
    ordered_s: float


class Replayer(threading.Thread):
    """Keeps a ring per link and replays when told.

    Raises:
        OSError: the kernel does not allow packet sockets here.
    """

    def __init__(self, spec: GatewaySpec) -> None:
        super().__init__(name="wan-replayer", daemon=True)
        self._links = {link.name: link for link in spec.links}
        self._address_at = 12 if spec.side == "a" else 16
        self._networks = {index: IPv4Network(prefix) for index, prefix in spec.subnets.items()}
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._rings: dict[str, ReplayRing] = {}
        try:
            for link in spec.links:
                self._rings[link.name] = ReplayRing(link.interface, link.rate_bps)
        except OSError:
            self._close_rings()
            raise

    def replay(self, link: str, moves: Sequence[Move], since_s: float) -> None:
        """Send again what left by ``link`` since a moment (epoch seconds), where its subnets moved; returns at once."""
        mine = tuple(move for move in moves if move.from_link == link and move.to_link in self._rings)
        if mine:
            self._orders.put(_Order(link, mine, since_s - QUEUE_S, time.monotonic()))

    def stop(self) -> None:
        """End the thread and give the rings back."""
        self._orders.put(None)
        if self.is_alive():
            self.join()
        self._close_rings()

    def run(self) -> None:
        """Keep the rings, replay when told, until stopped."""
        while True:
            try:
                order = self._orders.get(timeout=KEEP_EVERY_S)
            except queue.Empty:
                self._keep()
                continue
            if order is None:
                return
            try:
                count = self._carry_out(order)
                logger.info("sent %d packets of %s again", count, order.link)
            except (OSError, ValueError) as error:
                logger.warning("could not replay %s: %s", order.link, error)

    def _carry_out(self, order: _Order) -> int:
        """Replay what the ring holds, then what the kernel hands over a moment later; return the number of packets."""
        macs = neighbours(ARP_TABLE.read_text())
        ring, count, since_s = self._rings[order.link], 0, order.since_s
        while True:
            is_last = time.monotonic() >= order.ordered_s + LATE_BLOCK_S
            ring.keep()
            packets = list(ring.packets(since_s))
            due_s = time.monotonic()
            for packet, target in self._sorted(packets, order.moves):
                mac = macs.get((target.peer, target.interface))
                if mac is not None:
                    self._rings[target.name].send(packet.data, mac)
                    count += 1
                    due_s += (len(packet.data) + FRAME_OVERHEAD_BYTES) * 8 / (target.rate_bps * RATE_SHARE)
                    if (early_s := due_s - time.monotonic()) > PACE_S:
                        time.sleep(early_s)
            if packets:
                since_s = packets[-1].at_s + 1e-6
            if is_last:
                return count
            time.sleep(LATE_BLOCK_S / 8)

    def _sorted(
        self, packets: Sequence[SentPacket], moves: Sequence[Move]
    ) -> Iterator[tuple[SentPacket, GatewayLink]]:
        """Yield the packets of moved subnets with the link each goes to now."""
        ranges = [
            (
                int(self._networks[move.index].network_address),
                int(self._networks[move.index].netmask),
                move.to_link,
            )
            for move in moves
        ]
        for packet in packets:
            address = int.from_bytes(packet.data[self._address_at : self._address_at + 4])
            for network, mask, link in ranges:
                if address & mask == network:
                    yield packet, self._links[link]
                    break

    def _keep(self) -> None:
        for ring in self._rings.values():
            ring.keep()

    def _close_rings(self) -> None:
        for ring in self._rings.values():
            ring.close()


def neighbours(table: str) -> Mapping[tuple[str, str], bytes]:
    """Return (address, interface) -> hardware address, from the text of /proc/net/arp."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) == 6 and fields[2] != "0x0":
            found[fields[0], fields[5]] = bytes.fromhex(fields[3].replace(":", ""))
    return found
