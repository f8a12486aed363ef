"""Chains moved between servers so that their packets wait less; what the terms before say stays as it is.

What a server is worth is the number of packets in its instances when left cores are spent best (``spread``). A chain
that is whole on one server moves to another where the two servers together then hold fewer packets.

Source: ours; local search with first improvement.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from apps.chains.engine.placement import Way
from apps.chains.engine.placement_instances import packets_in
from apps.chains.engine.placement_room import Room

PASSES: Final = 2
TARGETS: Final = 3
_WORTH: Final = 1e-4


@dataclass(slots=True)
class Balance:
    """Servers with chains, and the packets each server holds."""

    room: Room
    packets: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.packets = [self._packets(server) for server in range(len(self.room.task.servers))]

    def _packets(self, server: int) -> float:
        room = self.room
        loads = {
            key: (
                room.kinds[key],
                sum(user.unit * user.buckets for user in room.users[key, server]),
                room.counts[key, server],
            )
            for key in room.keys_at[server]
        }
        return packets_in(loads, room.cores[server])

    def run(self, askers: Sequence[int], is_over: Callable[[], bool]) -> None:
        """Move chains until none moves, or passes are over. Complexity: O(chains x targets x instances) per pass."""
        for _ in range(PASSES):
            moved = 0
            for number in askers:
                if is_over():
                    return
                moved += self._improve(number)
            if not moved:
                return

    def _improve(self, number: int) -> bool:
        room, demand = self.room, self.room.task.demands[number]
        ways = room.ways[number]
        if len(ways) != 1 or ways[0].visits != 1:
            return False
        if any(
            nf.pinned_server or (nf.kind.is_single and room.homes[nf.kind.key][1] > 1) for nf in demand.nfs
        ):
            return False
        source = ways[0].servers[0]
        targets = sorted(
            (server for server in range(len(room.cores)) if server != source),
            key=lambda server: (self.packets[server] / max(room.task.servers[server].cores, 1e-9), server),
        )
        room.remove(number)
        without = self._packets(source)
        for target in targets[:TARGETS]:
            way = Way((target,) * len(ways[0].servers), ways[0].buckets)
            if not room.fits(number, way):
                continue
            room.add(number, way)
            there = self._packets(target)
            before = self.packets[source] + self.packets[target]
            if without + there < before * (1 - _WORTH):
                self.packets[source], self.packets[target] = without, there
                return True
            room.remove(number)
        room.add(number, ways[0])
        return False
