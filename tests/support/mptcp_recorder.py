"""Records what crosses interfaces, without drops or it says so; and merges capture files by time."""

import contextlib
import json
import os
import select
import signal
import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from apps.mptcp.agent.packet_filter import cut_program
from apps.mptcp.agent.packet_ring import LINK_ETHERNET, PacketRing, pcap_head

RING_BLOCKS = 256
_PACKET = struct.Struct("=IIII")


def record(interfaces: Sequence[str], directory: Path, snaplen: int, ready_fd: int) -> None:
    """Write ``link<n>.pcap`` for each interface until SIGTERM, then counts to ``recorder.json``."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    with contextlib.ExitStack() as stack:
        rings = [
            PacketRing(name, cut_program(snaplen), block_count=RING_BLOCKS, is_ethernet=True)
            for name in interfaces
        ]
        files: list[BinaryIO] = []
        poll = select.poll()
        for number, ring in enumerate(rings):
            stack.callback(ring.close)
            files.append(stack.enter_context((directory / f"link{number}.pcap").open("wb", 1 << 20)))
            files[-1].write(pcap_head(LINK_ETHERNET, snaplen))
            poll.register(ring.fileno(), select.POLLIN)
        os.write(ready_fd, b"1")
        while True:
            poll.poll(60)
            taken = [file.write(ring.take(RING_BLOCKS)) for ring, file in zip(rings, files, strict=True)]
            if stopping and not any(taken):
                break
        counts = [ring.counts() for ring in rings]
    facts = {
        "count": sum(count.packet_count for count in counts),
        "dropped": sum(count.drop_count for count in counts),
    }
    (directory / "recorder.json").write_text(json.dumps(facts))


def merge_captures(sources: Sequence[Path], target: Path) -> None:
    """Write the packets of several files (one link type) into one, ordered by time."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(source.open("rb")) for source in sources]
        heads = [file.read(24) for file in files]
        output = stack.enter_context(target.open("wb", 1 << 20))
        output.write(heads[0])
        # Sorted, not merged: two processors write into one ring, so not even that is in order.
        packets = chain.from_iterable(_packets(file, number) for number, file in enumerate(files))
        for _, _, packet in sorted(packets, key=itemgetter(0)):
            output.write(packet)


def _packets(file: BinaryIO, number: int) -> Iterator[tuple[int, int, bytes]]:
    while head := file.read(16):
        seconds, nanoseconds, captured, _ = _PACKET.unpack(head)
        yield seconds * 1_000_000_000 + nanoseconds, number, head + file.read(captured)
