"""Run inside a node: ``send PCAP WINDOW`` or ``capture PCAP COUNT``, paced by what came out of the rack.

Both share two files beside the capture sent: ``.due``, numbers of the packets that must come out (32 bits each), and
``.came``, how many came so far. The sender stays at most WINDOW packets ahead of the next one that is due, so that the
rack always has work and no queue of it or of the kernel overflows, however fast the machine is at the moment.
"""

import json
import mmap
import select
import socket
import struct
import sys
import time
from array import array
from pathlib import Path

from apps.chains.agent.packet_sockets import PacketSocket
from apps.chains.engine.capture_file import read_pcap, write_pcap

INTERFACE = "lan0"
FIRST_WITHIN_S = 20.0
# Nothing came out for so long although something is due: who waits gives up and says so.
STALLED_S = 20.0
# Once all that is due has come: whatever comes now is too much.
LATER_S = 0.5
# What a frame of any size costs a receiving socket, and the share of its room we use.
SKB_BYTES = 2304
ROOM_SHARE = 3


def came_map(path: Path) -> mmap.mmap:
    """Open the shared count."""
    with path.with_suffix(".came").open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)


def came(shared: mmap.mmap) -> int:
    """Return how many packets came out so far."""
    return int(struct.unpack_from("<Q", shared)[0])


def window_of(wanted: int) -> int:
    """Return how many packets may be under way: fewer where this user gets small sockets."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        except PermissionError:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        room = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return max(16, min(wanted, room // SKB_BYTES // ROOM_SHARE))


def send(path: Path, wanted: int) -> dict[str, object]:
    """Send all frames of a file; return how many, in which time, and whether it had to give up."""
    with path.open("rb") as file:
        frames = [frame for _, frame in read_pcap(file)]
    due = array("I", path.with_suffix(".due").read_bytes())
    shared, window = came_map(path), window_of(wanted)
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.bind((INTERFACE, 0))
    started_s = last_s = time.monotonic()
    known, limit = -1, 0
    for number, frame in enumerate(frames):
        while number >= limit:
            count = came(shared)
            now_s = time.monotonic()
            if count != known:
                known, last_s = count, now_s
                limit = due[count] + window if count < len(due) else len(frames)
            elif now_s - last_s > STALLED_S:
                return {"sent": number, "seconds": now_s - started_s, "window": window, "is_stalled": True}
            else:
                time.sleep(0.0005)
        link.send(frame)
    seconds = time.monotonic() - started_s
    return {"sent": len(frames), "seconds": seconds, "window": window, "is_stalled": False}


def capture(path: Path, count: int) -> dict[str, object]:
    """Write what arrives beside the file that is sent, as ``.out``; stop a moment after ``count`` frames came."""
    link = PacketSocket(INTERFACE, is_promiscuous=True)
    shared = came_map(path)
    frames: list[tuple[int, bytes]] = []
    path.with_suffix(".ready").touch()
    poll = select.poll()
    poll.register(link, select.POLLIN)
    wait_s = FIRST_WITHIN_S
    while poll.poll(wait_s * 1000):
        frames += [(time.time_ns() // 1000, frame) for frame in link.frames()]
        struct.pack_into("<Q", shared, 0, len(frames))
        wait_s = LATER_S if len(frames) >= count else STALLED_S + 2
    with path.with_suffix(".out").open("wb") as file:
        write_pcap(file, frames)
    seconds = (frames[-1][0] - frames[0][0]) / 1e6 if frames else 0.0
    return {"captured": len(frames), "seconds": seconds, "overflow": link.overflow_count()}


if __name__ == "__main__":
    run = send if sys.argv[1] == "send" else capture
    print(json.dumps(run(Path(sys.argv[2]), int(sys.argv[3]))))
