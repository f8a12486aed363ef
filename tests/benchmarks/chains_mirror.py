"""What one more copy of a frame costs, per driver of the switch and in user space: rows ``mirror:`` of the suite.

A bridge in a namespace of its own. A round sends frames to a group of one member, then to one of four, with each driver
in turn; a frame is delivered before its send returns, so the time of a round is the time of all its copies. In user
space the sender sends a frame per member. Open vSwitch forwards when it gets to it: there its processor time counts.
Frames that are no group's pass all the same: what 256 groups cost them is the other figure.

By itself: ``python -m tests.benchmarks.chains_mirror``.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from apps.chains.agent.packet_sockets import PacketSocket
from apps.chains.agent.switch_drivers import PREFERENCE, choose_driver
from apps.chains.agent.switch_openflow import OpenFlow
from nfvportal.bench.rows import BenchOptions, Row, format_table
from nfvportal.lab.isolation import probe_isolation
from tests.chains.agent.switch_bed import GROUP, frame_to, make_bridge, sh
from tests.nfvportal.agent.in_namespace import enter
from tests.support.open_vswitch import open_vswitch, why_not

PORTS = tuple(f"p{number}" for number in range(1, 7))
MEMBERS = PORTS[1:5]
FRAME_BYTES = 720
FRAMES, QUICK_FRAMES = 4000, 1000
ROUNDS, QUICK_ROUNDS = 9, 3
GROUPS = {f"03:00:00:01:{number:02x}:01": frozenset(MEMBERS[:2]) for number in range(256)}
# What a copy by the kernel's mirror action was measured to cost on two cores.
KERNEL_GOAL_US = 1.1
OVS_BURST, OVS_PAUSE_S = 20, 0.002
USER_SPACE = "user space"
BESIDE = "other frames beside 256 groups"
Figures = dict[str, list[float]]


def mirror_rows(options: BenchOptions) -> list[Row]:
    """Return the cost of one more copy, per driver and in user space, all in one run."""
    if reason := probe_isolation():
        return [Row("mirror: not measured", None, "us", detail={"why": reason})]
    frames = QUICK_FRAMES if options.quick else FRAMES
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    argv = [sys.executable, "-m", "tests.benchmarks.chains_mirror", "measure", str(frames), str(rounds)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        return [Row("mirror: not measured", None, "us", detail={"why": done.stderr[-300:]})]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return rows_of(found["figures"], found["probed"], frames, options)


def rows_of(figures: Figures, probed: Mapping[str, str], frames: int, options: BenchOptions) -> list[Row]:
    """Return rows of the measured times in us, user space and a driver that does not work here included."""
    rows = []
    goals = {f"{kind.name}, one more copy": KERNEL_GOAL_US for kind in PREFERENCE}
    for name, values in figures.items():
        rows.append(
            Row(
                f"mirror: {name}",
                round(median(values), 3),
                "us",
                goal=goals.get(name),
                n=len(values),
                spread=(round(min(values), 3), round(max(values), 3)),
                detail={"frames": frames, "bytes": FRAME_BYTES, "is_quick": options.quick},
            )
        )
    for name, answer in probed.items():
        if answer != "ok" and name != OpenFlow.name:
            rows.append(Row(f"mirror: {name}, one more copy", None, "us", detail={"why": answer}))
    chosen = next((kind.name for kind in PREFERENCE if f"{kind.name}, one more copy" in figures), "")
    if chosen:
        measured = (figures[f"{name}, one more copy"] for name in (USER_SPACE, chosen))
        pairs = zip(*measured, strict=True)
        ratios = [slow / fast for slow, fast in pairs if fast > 0]
        rows.append(
            Row(
                "mirror: user space against the driver chosen here",
                round(median(ratios), 2),
                "ratio",
                goal=1.0,
                better="higher",
                n=len(ratios),
                spread=(round(min(ratios), 2), round(max(ratios), 2)),
                detail={"driver": chosen, "is_quick": options.quick},
            )
        )
    return rows


def measure(frames: int, rounds: int) -> None:
    """Measure in a new namespace; print one line of JSON."""
    enter()
    make_bridge(PORTS)
    _, probed = asyncio.run(choose_driver())
    names = [kind.name for kind in PREFERENCE if probed[kind.name] == "ok"]
    ends = {port: PacketSocket(port.replace("p", "e")) for port in PORTS}
    macs = {port: f"02:00:00:00:00:{number:02x}" for number, port in enumerate(PORTS, 1)}
    for port, end in ends.items():
        # The bridge learns where everybody is, so that nothing is flooded.
        end.send(bytes.fromhex("ffffffffffff" + macs[port].replace(":", "") + "aaaa") + bytes(60))
    for port in PORTS[1:]:
        ends[port].close()
    targets = [frame_to(macs[port], FRAME_BYTES) for port in MEMBERS]
    figures: Figures = {f"{name}, one more copy": [] for name in [*names, USER_SPACE]}
    figures |= {f"{name}, {BESIDE}": [] for name in names}
    for _ in range(rounds):
        for name in names:
            driver, _ = asyncio.run(choose_driver(name))
            one, many = (
                _group_us(driver.apply, ends["p1"], members, frames) for members in (MEMBERS[:1], MEMBERS)
            )
            figures[f"{name}, one more copy"].append((many - one) / (len(MEMBERS) - 1))
            asyncio.run(driver.apply({}))
            alone = _send_us(ends["p1"], targets[:1], frames)
            asyncio.run(driver.apply(GROUPS))
            figures[f"{name}, {BESIDE}"].append(_send_us(ends["p1"], targets[:1], frames) - alone)
            asyncio.run(driver.apply({}))
        one, many = (_send_us(ends["p1"], wanted, frames) for wanted in (targets[:1], targets))
        figures[f"{USER_SPACE}, one more copy"].append((many - one) / (len(MEMBERS) - 1))
    figures |= _open_vswitch_figures(ends["p1"], frames, rounds)
    print(json.dumps({"figures": figures, "probed": probed}))


def _group_us(
    apply: Callable[[Mapping[str, frozenset[str]]], Any],
    end: PacketSocket,
    members: Sequence[str],
    frames: int,
) -> float:
    """Return the time of a frame to a group of these members; all copies were delivered, or it is an error."""
    asyncio.run(apply({GROUP: frozenset(members)}))
    before = _delivered(members)
    took_us = _send_us(end, [frame_to(GROUP, FRAME_BYTES)], frames)
    got = {port: count - before[port] for port, count in _delivered(members).items()}
    assert all(frames <= count <= frames * 1.01 for count in got.values()), got
    return took_us


def _send_us(end: PacketSocket, targets: Sequence[bytes], frames: int) -> float:
    started_ns = time.perf_counter_ns()
    for _ in range(frames):
        for frame in targets:
            end.send(frame)
    assert not end.dropped
    return (time.perf_counter_ns() - started_ns) / frames / 1000


def _delivered(ports: Sequence[str]) -> dict[str, int]:
    rows = json.loads(sh("ip -json -statistics link show"))
    counts = {row["ifname"]: row["stats64"]["rx"]["packets"] for row in rows}
    return {port: counts[port.replace("p", "e")] for port in ports}


def _open_vswitch_figures(end: PacketSocket, frames: int, rounds: int) -> Figures:
    """Return the switch's processor time of one more copy, in us; nothing without Open vSwitch."""
    if why_not():
        return {}
    sh("ip link del br0")
    found: list[float] = []
    with tempfile.TemporaryDirectory(prefix="nfvovs-") as name, open_vswitch(Path(name), PORTS) as switch:
        driver = OpenFlow(switch.connection)
        for _ in range(rounds):
            one, many = (
                _ovs_us(driver, switch.pid, end, members, frames) for members in (MEMBERS[:1], MEMBERS)
            )
            if one is not None and many is not None:
                found.append((many - one) / (len(MEMBERS) - 1))
    return {"openflow (Open vSwitch's processor time), one more copy": found} if found else {}


def _ovs_us(
    driver: OpenFlow, pid: int, end: PacketSocket, members: Sequence[str], frames: int
) -> float | None:
    """Return the switch's processor time per frame, ``None`` when it lost some: it was kept waiting."""
    asyncio.run(driver.apply({GROUP: frozenset(members)}))
    wanted = {port: count + frames for port, count in _delivered(members).items()}
    before_us = _processor_us(pid)
    frame = frame_to(GROUP, FRAME_BYTES)
    for number in range(frames):
        end.send(frame)
        if number % OVS_BURST == 0:
            time.sleep(OVS_PAUSE_S)
    deadline_s = time.monotonic() + 1
    while any(count < wanted[port] for port, count in _delivered(members).items()):
        if time.monotonic() > deadline_s:
            return None
        time.sleep(0.02)
    return (_processor_us(pid) - before_us) / frames


def _processor_us(pid: int) -> float:
    """Return the time a process has run, by the scheduler's own clock."""
    return sum(
        int(Path(task, "schedstat").read_text().split()[0]) / 1000
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def main() -> None:
    """Print the table, or measure for one."""
    if sys.argv[1:2] == ["measure"]:
        measure(int(sys.argv[2]), int(sys.argv[3]))
    else:
        print(format_table(mirror_rows(BenchOptions(quick="--quick" in sys.argv))))


if __name__ == "__main__":
    main()
