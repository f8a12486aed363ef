"""Small programs that run inside nodes of the lab and print one JSON object: echo, round trips, flood and sink."""

import json
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nfvportal.lab.kernel import schedule_realtime, wait_precisely

PORT = 5_999
DSCP_CS6_TOS = 48 << 2
END = b"end"


def _socket(port: int = 0) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    udp.bind(("", port))
    return udp


def echo(seconds: str) -> dict[str, Any]:
    """Send every datagram back until time is up."""
    udp, deadline_s, count = _socket(PORT), time.monotonic() + float(seconds), 0
    # Answers carry the mark of the question, so that both ways of a marked round trip use the priority lane.
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    tos_now = 0
    while (left_s := deadline_s - time.monotonic()) > 0:
        if not select.select([udp], [], [], left_s)[0]:
            break
        data, ancillary, _, sender = udp.recvmsg(2_048, 64)
        tos = ancillary[0][2][0] if ancillary else 0
        if tos != tos_now:
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            tos_now = tos
        if data == END:
            break
        udp.sendto(data, sender)
        count += 1
    return {"count": count}


def round_trips(
    address: str, count: str, interval_ms: str, size_bytes: str, tos: str, timeout_s: str
) -> dict[str, Any]:
    """Send numbered datagrams at an interval and match the echoes; the payload is padded to ``size_bytes``."""
    udp, total, size = _socket(), int(count), int(size_bytes)
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, int(tos))
    sent_at_s: list[float] = []
    rtt_ms: list[float] = []
    # One round trip ahead, so that no address request is measured with the first.
    udp.sendto(b"warm-up", (address, PORT))
    if select.select([udp], [], [], float(timeout_s))[0]:
        udp.recv(2_048)
    next_s = time.perf_counter()
    last_s = next_s + total * float(interval_ms) / 1000 + float(timeout_s)
    while len(rtt_ms) < total and (now_s := time.perf_counter()) < last_s:
        if len(sent_at_s) < total and now_s >= next_s:
            number = len(sent_at_s)
            sent_at_s.append(time.perf_counter())
            udp.sendto(number.to_bytes(4, "big").ljust(size, b"."), (address, PORT))
            next_s += float(interval_ms) / 1000
        until_s = next_s if len(sent_at_s) < total else last_s
        if select.select([udp], [], [], max(0.0, until_s - time.perf_counter()))[0]:
            data = udp.recv(2_048)
            rtt_ms.append((time.perf_counter() - sent_at_s[int.from_bytes(data[:4], "big")]) * 1000)
    udp.sendto(END, (address, PORT))
    rtt_ms.sort()
    facts: dict[str, Any] = {"sent": len(sent_at_s), "received": len(rtt_ms)}
    if rtt_ms:
        facts |= {"p50_ms": statistics.median(rtt_ms), "min_ms": rtt_ms[0], "max_ms": rtt_ms[-1]}
        facts["p99_ms"] = rtt_ms[min(len(rtt_ms) - 1, int(0.99 * len(rtt_ms)))]
    return facts


def flood(address: str, rate_bps: str, seconds: str, size_bytes: str) -> dict[str, Any]:
    """Send datagrams evenly at a rate of IP payload bits, then say that it is over; 0 = as fast as it goes."""
    udp, size, rate = _socket(), int(size_bytes), float(rate_bps)
    # Not connected: whether anyone listens at the other end is none of a flood's business.
    target = (address, PORT)
    payload, sent, start_s = b"." * size, 0, time.perf_counter()
    gap_s = size * 8 / rate if rate else 0.0
    while (now_s := time.perf_counter()) < start_s + float(seconds):
        due = int((now_s - start_s) / gap_s) if rate else sent + 32
        for _ in range(min(32, due - sent)):
            udp.sendto(payload, target)
            sent += 1
        if rate and due <= sent:
            select.select([], [], [], max(0.0, start_s + (sent + 1) * gap_s - time.perf_counter()))
    for _ in range(20):
        time.sleep(0.02)
        udp.sendto(END, target)
    return {"sent": sent}


def sink(seconds: str) -> dict[str, Any]:
    """Count datagrams by 10 ms bins of their arrival until the flood says that it is over, or time is up."""
    udp, deadline_s = _socket(PORT), time.monotonic() + float(seconds)
    count, size_bytes, first_s, last_s = 0, 0, 0.0, 0.0
    bins: dict[int, int] = {}
    while (left_s := deadline_s - time.monotonic()) > 0:
        if not select.select([udp], [], [], left_s)[0]:
            break
        data = udp.recv(2_048)
        if data == END:
            break
        last_s = time.time()
        first_s = first_s or last_s
        count, size_bytes = count + 1, size_bytes + len(data)
        index = int(last_s * 100)
        bins[index] = bins.get(index, 0) + 1
    # Last column of this socket's line: datagrams that arrived and found the receive buffer full.
    lines = Path("/proc/net/udp").read_text().splitlines()
    overflowed = sum(int(line.split()[-1]) for line in lines if f":{PORT:04X} " in line)
    return {
        "count": count,
        "overflowed": overflowed,
        "bytes": size_bytes,
        "first_at_s": first_s,
        "last_at_s": last_s,
        "bins": bins,
    }


# TABLE: word on the command line -> program.
PROGRAMS: dict[str, Callable[..., dict[str, Any]]] = {
    "echo": echo,
    "round_trips": round_trips,
    "flood": flood,
    "sink": sink,
}

if __name__ == "__main__":
    # The measure must be more punctual than what it measures, where that is permitted.
    schedule_realtime(10)
    wait_precisely()
    print(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])))
