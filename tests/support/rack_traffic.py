"""Run inside a node: ``send PCAP RATE_PPS``, or ``capture PCAP COUNT IDLE_S`` what arrives."""

import json
import select
import socket
import sys
import time
from pathlib import Path

from apps.chains.agent.packet_sockets import PacketSocket
from apps.chains.engine.capture_file import read_pcap, write_pcap

INTERFACE = "lan0"
# From the start of the capture to the first frame: the sender's interpreter starts meanwhile.
FIRST_WITHIN_S = 8


def send(path: Path, rate_pps: float) -> dict[str, float]:
    """Send all frames of a file, each at its time; return how many and how long it took."""
    with path.open("rb") as file:
        frames = [frame for _, frame in read_pcap(file)]
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.bind((INTERFACE, 0))
    started_s = time.monotonic()
    for number, frame in enumerate(frames):
        wait_s = started_s + number / rate_pps - time.monotonic()
        if wait_s > 0.0002:
            time.sleep(wait_s)
        link.send(frame)
    return {"sent": len(frames), "seconds": time.monotonic() - started_s}


def capture(path: Path, count: int, idle_s: float) -> dict[str, float]:
    """Write up to ``count`` frames to a file; stop when nothing came for ``idle_s``, after the first one."""
    link = PacketSocket(INTERFACE, is_promiscuous=True)
    frames: list[tuple[int, bytes]] = []
    path.with_suffix(".ready").touch()
    poll = select.poll()
    poll.register(link, select.POLLIN)
    while len(frames) < count and poll.poll((idle_s if frames else FIRST_WITHIN_S) * 1000):
        frames += [(time.time_ns() // 1000, frame) for frame in link.frames()]
    with path.open("wb") as file:
        write_pcap(file, frames)
    seconds = (frames[-1][0] - frames[0][0]) / 1e6 if frames else 0.0
    return {"captured": len(frames), "seconds": seconds}


if __name__ == "__main__":
    if sys.argv[1] == "send":
        print(json.dumps(send(Path(sys.argv[2]), float(sys.argv[3]))))
    else:
        print(json.dumps(capture(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
