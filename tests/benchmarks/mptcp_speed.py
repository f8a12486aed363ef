"""Speed and memory rows of suite ``mptcp``: each figure in a process of its own on one core, beside tshark.

Packets per second are per second of processor time of that core, so that what else the machine does hardly counts.
By itself: ``python -m tests.benchmarks.mptcp_speed capture|sweep|memory ARGUMENT`` is one such process.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from apps.mptcp.engine.associator import Associator, associate
from apps.mptcp.engine.capture import read_capture
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag
from nfvportal.bench.rows import BenchOptions, Row
from nfvportal.lab.node_processes import CHECKOUT
from tests.benchmarks.mptcp_accuracy import tshark_command
from tests.support.mptcp_packets_file import PacketsFile

PACKETS_MIN, QUICK_PACKETS_MIN = 2_000_000, 500_000
TSHARK_PACKETS, QUICK_TSHARK_PACKETS = 300_000, 60_000
REPETITIONS, QUICK_REPETITIONS = 3, 1
SWEEPS = 9
RATE_GOAL, RATIO_GOAL = 5_000_000.0, 300.0
SWEEP_GOAL_MS, MEMORY_GOAL_BYTES = 50.0, 1e9
SWEEP_SUBFLOWS, MEMORY_SUBFLOWS = 100_000, 1_000_000
SUBFLOWS_EACH = 4
START_US = 1_700_000_000_000_000
BATCH = 100_000


def speed_rows(packets: PacketsFile, options: BenchOptions, has_tshark: bool) -> list[Row]:
    """Return packets per second of us and tshark, sweep and memory."""
    with tempfile.TemporaryDirectory(prefix="nfvmptcp-") as name:
        big, small = Path(name, "big.pcap"), Path(name, "small.pcap")
        wanted = QUICK_PACKETS_MIN if options.quick else PACKETS_MIN
        big.write_bytes(packets.multiplied(-(-wanted // len(packets))))
        count = min(len(packets), QUICK_TSHARK_PACKETS if options.quick else TSHARK_PACKETS)
        small.write_bytes(packets.capture(np.arange(len(packets)) < count))
        turns = QUICK_REPETITIONS if options.quick else options.repetitions or REPETITIONS
        ours, theirs = [], []
        for _ in range(turns):
            ours.append(worker("capture", str(big)))
            if has_tshark:
                theirs.append(tshark_rate(small, count))
    rows = [rate_row(ours, options)]
    if theirs:
        ratios = [mine["rate"] / other for mine, other in zip(ours, theirs, strict=True)]
        detail = {
            "tshark_packets": count,
            "tshark_packets_per_s": round(median(theirs)),
            "quick": options.quick,
        }
        rows.append(
            Row("speed: ratio to tshark", median(ratios), "ratio", goal=RATIO_GOAL, better="higher",
                n=turns, spread=(min(ratios), max(ratios)), detail=detail)
        )  # fmt: skip
    else:
        rows.append(Row("speed: ratio to tshark", None, "ratio", goal=RATIO_GOAL, better="higher",
                        detail={"why": "tshark is not here: install the package tshark"}))  # fmt: skip
    return [*rows, sweep_row(options), memory_row(options)]


def rate_row(ours: Sequence[dict[str, Any]], options: BenchOptions) -> Row:
    """Return how fast a capture file becomes connections."""
    rates = [one["rate"] for one in ours]
    return Row(
        "speed: capture file to connections",
        median(rates),
        "packets/s",
        goal=RATE_GOAL,
        better="higher",
        n=len(rates),
        spread=(min(rates), max(rates)),
        detail={**ours[-1], "quick": options.quick},
    )


def sweep_row(options: BenchOptions) -> Row:
    """Return how long a sweep over all subflows takes when each got a new packet."""
    found = worker("sweep", str(SWEEP_SUBFLOWS))
    times = found.pop("times_ms")
    return Row(
        "speed: re-sweep of 10^5 subflows",
        median(times),
        "ms",
        goal=SWEEP_GOAL_MS,
        n=len(times),
        spread=(min(times), max(times)),
        detail={**found, "quick": options.quick},
    )


def memory_row(options: BenchOptions) -> Row:
    """Return what a domain of 10^6 subflows takes."""
    found = worker("memory", str(MEMORY_SUBFLOWS))
    return Row(
        "memory: 10^6 subflows",
        found.pop("bytes"),
        "B",
        goal=MEMORY_GOAL_BYTES,
        detail={**found, "quick": options.quick},
    )


def worker(kind: str, argument: str) -> dict[str, Any]:
    """Run one measurement in a process of its own on one core; return what it measured."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.mptcp_speed", kind, argument],
        cwd=CHECKOUT, capture_output=True, text=True, check=False, preexec_fn=use_one_core,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def use_one_core() -> None:
    """Stay on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def tshark_rate(path: Path, count: int) -> float:
    """Return packets per second of processor time that tshark needs for the same question."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        tshark_command(path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        preexec_fn=use_one_core,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return count / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure_capture(path: Path) -> dict[str, Any]:
    """Read a capture file and associate it, once to warm up and once on the clock."""
    warm_up()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    sizes: list[int] = []

    def pieces() -> Any:
        with path.open("rb", buffering=0) as file:
            for records in read_capture(file):
                sizes.append(len(records))
                yield records

    connections = associate(pieces()).connections()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {
        "rate": sum(sizes) / cpu_s,
        "records": sum(sizes),
        "cpu_s": round(cpu_s, 3),
        "wall_s": round(wall_s, 3),
        "connections": len(connections),
        "subflows": sum(len(connection.subflows) for connection in connections),
    }


def warm_up() -> None:
    """Compile everything, on a few connections."""
    machine = Associator()
    for turn in range(3):
        machine.step(flood(60, turn), seconds(turn))
        machine.tick(seconds(turn))
    machine.connections()
    with tempfile.TemporaryFile() as file:
        file.write(bytes.fromhex("4d3cb2a1020004000000000000000000ffff000001000000") + bytes(16))
        file.seek(0)
        list(read_capture(file))


def seconds(turn: int) -> float:
    """Return the time of a turn."""
    return START_US / 1e6 + turn + 1


def flood(subflow_count: int, turn: int, first: int = 0) -> PacketRecords:
    """Return a packet each way of each subflow, four subflows a connection, numbers moving on with each turn."""
    subflow = np.arange(first, first + subflow_count)
    connection = subflow // SUBFLOWS_EACH
    both = []
    for way in (0, 1):
        records = PacketRecords.zeros(subflow_count)
        number = mixed(connection, way) + np.uint64(1400) * (turn * 100 + subflow % SUBFLOWS_EACH).astype(
            np.uint64
        )
        ack = mixed(connection, 1 - way) + np.uint64(100 * turn)
        mapped = np.uint64(0xFFFF << 32)
        client = mapped + (0x0A000000 + connection).astype(np.uint64)
        server = mapped + (0xC0A80000 + connection % 512).astype(np.uint64)
        ends = [(client, (10_000 + subflow % SUBFLOWS_EACH)), (server, np.full(subflow_count, 443))]
        source, target = ends if way == 0 else ends[::-1]
        values = {
            "at_us": START_US + turn * 1_000_000 + subflow % 900_000,
            "src_lo": source[0], "src_port": source[1], "dst_lo": target[0], "dst_port": target[1],
            "seq": 1 + 1400 * turn, "ack": 1, "tcp_flags": int(TcpFlag.ACK), "payload_bytes": 1400,
            "has": int(Has.DSN | Has.DSN_64 | Has.DATA_ACK | Has.DATA_ACK_64),
            "dsn": number, "ssn": 1 + 1400 * turn, "map_bytes": 1400, "data_ack": ack,
        }  # fmt: skip
        for name, column in values.items():
            getattr(records, name)[:] = column
        both.append(records)
    return PacketRecords.joined(both)


def mixed(numbers: Any, way: int) -> Any:
    """Return a 64-bit number for each number and way, spread as keys spread initial ones."""
    mixed = (numbers.astype(np.uint64) * np.uint64(2) + np.uint64(way + 1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return mixed * np.uint64(0xBF58476D1CE4E5B9)


def measure_sweep(subflow_count: int) -> dict[str, Any]:
    """Tick an association in which every subflow has new packets."""
    warm_up()
    machine = Associator()
    times = []
    for turn in range(SWEEPS + 1):
        machine.step(flood(subflow_count, turn), seconds(turn))
        started_s = time.process_time()
        machine.tick(seconds(turn))
        times.append((time.process_time() - started_s) * 1000)
    sizes = sorted({len(connection.subflows) for connection in machine.connections()})
    assert sizes == [SUBFLOWS_EACH], sizes
    return {"times_ms": times[1:], "first_ms": round(times[0], 1), "subflows": machine.counters["subflows"]}


def measure_memory(subflow_count: int) -> dict[str, Any]:
    """Hold subflows; return the largest resident set above that of an empty association."""
    warm_up()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    machine = Associator(AssociatorConfig(max_subflows=subflow_count))
    cuts = [*range(0, subflow_count, BATCH - BATCH % SUBFLOWS_EACH), subflow_count]
    for start, end in pairwise(cuts):
        machine.step(flood(end - start, 0, start), seconds(0))
    machine.tick(seconds(0))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return {
        "held_bytes_after_the_first_sweep": held - before * 1024,
        "bytes": (after - before) * 1024,
        "process_bytes": after * 1024,
        "subflows": machine.counters["subflows"],
    }


if __name__ == "__main__":
    kind, argument = sys.argv[1:]
    measured = (
        measure_capture(Path(argument))
        if kind == "capture"
        else {"sweep": measure_sweep, "memory": measure_memory}[kind](int(argument))
    )
    print(json.dumps(measured))
