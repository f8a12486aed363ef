"""Proofs on the wire: one capture through a chain in sequence and through its hybrid plan, both in namespaces.

Both must give the bytes and the states of the chain run packet by packet in one process (``run_sequential``), with
network functions killed meanwhile. Packets have stepped times, so that states that hold times can be compared.
"""

import json
import signal
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apps.chains.agent.specs import Stepped
from apps.chains.engine.blocks import is_valid_root
from apps.chains.engine.capture_file import read_pcap, write_pcap
from apps.chains.engine.chain import Chain
from apps.chains.engine.foreign import FOREIGN
from apps.chains.engine.hybrid import Node
from apps.chains.engine.nfs.network_function import state_digest
from apps.chains.engine.packet import parse
from tests.support.foreign import make_twin
from tests.support.rack import SERVERS, Rack, Run
from tests.support.rack_window import came, came_map
from tests.support.waiting import wait_until

WINDOW = 256
PATIENT_US = 30_000_000
STEP_US = 50
TRAFFIC = ("-m", "tests.support.rack_window")
# Counters that must stay zero: any other loss has a name too, and these are all of the names.
LOSS_COUNTERS = ("late", "lost", "timed_out", "held_full", "no_table", "overflow")


@dataclass(frozen=True, slots=True)
class Truth:
    """What a chain must make of frames.

    Args:
        frames: as sent. outputs: as they must come out. due: the numbers of those packets.
        dropped_by: per index of a network function. digests: hexadecimal, per network function.
    """

    frames: Sequence[bytes]
    outputs: Sequence[bytes]
    due: Sequence[int]
    dropped_by: dict[int, int]
    digests: tuple[str, ...]
    times: Stepped


@dataclass(frozen=True, slots=True)
class Proof:
    """What one run gave, and everything that is not as it must be.

    Args:
        seconds: from the first packet out to the last.
        kills: processes of network functions killed meanwhile; ``restarts``: those that came back.
        problems: in words; empty when the run proves what it should.
    """

    name: str
    packets: int
    outputs: int
    seconds: float
    packets_per_second: float
    dropped_by: dict[str, int]
    kills: int
    restarts: int
    digests: dict[str, str]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def truth_of(chain: Chain, frames: Sequence[bytes], times: Stepped) -> Truth:
    """Run the chain packet by packet in this process."""
    nfs = [make_twin(nf) for nf in chain.nfs]
    outputs, due, dropped_by = [], [], Counter[int]()
    for number, frame in enumerate(frames):
        packet = parse(frame)
        at_us = times.start_us + (number + 1) * times.step_us
        dropper = next((index for index, nf in enumerate(nfs) if not nf.process(packet, at_us)), None)
        if dropper is None:
            outputs.append(bytes(packet.data))
            due.append(number)
        else:
            dropped_by[dropper] += 1
    # A foreign function has no state to give.
    digests = tuple(
        "" if nf.type in FOREIGN else state_digest(made.state())[0].hex()
        for nf, made in zip(chain.nfs, nfs, strict=True)
    )
    return Truth(frames, outputs, due, dict(dropped_by), digests, times)


def times_now() -> Stepped:
    """Return stepped times that begin now."""
    return Stepped(time.time_ns() // 1000, STEP_US)


def prove(
    rack: Rack, name: str, chain: Chain, root: Node, truth: Truth, *, path: int, kill_rounds: int
) -> Proof:
    """Send the frames of ``truth`` through a plan and compare.

    Args:
        path: not used before in this rack, so that packets are numbered from 1.
        kill_rounds: how often all network functions of one server are killed, servers in turn, evenly over the run.
    """
    assert not is_valid_root(chain, root)
    run = Run(chain, root, path=path, timeout_us=PATIENT_US, is_checked=True)
    stepped = asdict(truth.times)
    _install(rack, run, stepped)
    restarts = -_restarts(rack)
    found, told, kills = pass_through_window(rack, truth.frames, truth.due, kill_rounds)
    digests = _digests(rack, run, nonce=f"state of {path}")
    _install(rack, run, stepped)  # tells the counters of this moment
    counters = rack.events("dc-classifier", "chains.classifier.state")[-1]
    flow = counters["flows"][str(path)]
    problems = [*_differences(truth, found), *_unexplained(rack, truth, flow, counters, told)]
    wanted = dict(zip((f"{chain.name}/{nf.name}" for nf in chain.nfs), truth.digests, strict=True))
    problems += [
        f"state of {instance}: {digests.get(instance, 'none')[:12]}, must be {digest[:12]}"
        for instance, digest in wanted.items()
        if digests.get(instance) != digest
    ]
    restarts += _restarts(rack)
    if restarts < kills:
        problems.append(f"{kills} processes were killed, {restarts} came back")
    rack.install([])
    seconds = float(told["capture"].get("seconds", 0.0))
    return Proof(
        name,
        len(truth.frames),
        len(found),
        round(seconds, 2),
        round(len(truth.frames) / max(seconds, 1e-9), 1),
        {chain.nfs[int(index)].name: count for index, count in flow["dropped_by"].items()},
        kills,
        restarts,
        digests,
        tuple(problems),
    )


def _install(rack: Rack, run: Run, stepped: dict[str, int]) -> None:
    for server in SERVERS:
        rack.want(server, "chains.server", rack.server_spec(server, [run]))
    spec = {**rack.classifier_spec([run]), "stepped": stepped}
    rack.want("dc-classifier", "chains.classifier", spec)


def pass_through_window(
    rack: Rack, frames: Sequence[bytes], due: Sequence[int], kill_rounds: int = 0
) -> tuple[list[bytes], dict[str, dict[str, Any]], int]:
    """Send and capture, as fast as the rack takes; return what came out, what both sides tell, and processes killed.

    Args:
        due: numbers of the packets that must come out.
    """
    limit_s = 120 + len(frames) / 200
    with tempfile.TemporaryDirectory(dir=rack.directory) as directory:
        sent = Path(directory, "sent.pcap")
        with sent.open("wb") as file:
            write_pcap(file, ((0, frame) for frame in frames))
        sent.with_suffix(".due").write_bytes(array("I", due).tobytes())
        sent.with_suffix(".came").write_bytes(bytes(8))
        told: dict[str, dict[str, Any]] = {}
        threads = []
        for node, words in (
            ("dc-sink", ("capture", str(sent), str(len(due)))),
            ("dc-generator", ("send", str(sent), str(WINDOW))),
        ):
            threads.append(_start(rack, node, words, limit_s, told))
            if words[0] == "capture":
                wait_until(sent.with_suffix(".ready").exists, "the capture runs")
        kills = _kill_in_turn(rack, sent, len(due), kill_rounds, threads[1])
        for thread in threads:
            thread.join()
        with sent.with_suffix(".out").open("rb") as file:
            return [frame for _, frame in read_pcap(file)], told, kills


def _start(
    rack: Rack, node: str, words: Sequence[str], limit_s: float, told: dict[str, dict[str, Any]]
) -> threading.Thread:
    def work() -> None:
        answer = rack.lab.exec(node, [sys.executable, *TRAFFIC, *words], limit_s)
        told[words[0]] = json.loads(answer["stdout"]) if answer["exit_code"] == 0 else {"failed": answer}

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _kill_in_turn(rack: Rack, sent: Path, due: int, rounds: int, sending: threading.Thread) -> int:
    """Kill the network functions of one server after the other, each at its share of the way."""
    shared, kills = came_map(sent), 0
    for number in range(rounds):
        at = due * (number + 1) // (rounds + 1)
        wait_until(
            lambda at=at: came(shared) >= at or not sending.is_alive(),  # type: ignore[misc]  # bound now
            "packets come out",
            within_s=600,
        )
        if sending.is_alive():
            kills += kill_workers(rack, SERVERS[number % len(SERVERS)])
    return kills


def kill_workers(rack: Rack, server: str) -> int:
    """Kill every network function's process of a server; return how many."""
    answer = rack.lab.exec(server, ["pgrep", "-f", f"apps.chains.agent.forwarder server {server}"])
    # The forwarder came first; what it forked has the same command line.
    doomed = sorted(int(pid) for pid in answer["stdout"].split())[1:]
    if doomed:
        rack.lab.exec(server, ["kill", f"-{signal.SIGKILL.value}", *map(str, doomed)])
    return len(doomed)


def _restarts(rack: Rack) -> int:
    return sum(len(rack.events(server, "chains.nf_restarted")) for server in SERVERS)


def _digests(rack: Rack, run: Run, nonce: str) -> dict[str, str]:
    """Ask every network function for the digest of its state."""
    wanted: set[str] = set()
    for server in SERVERS:
        wanted |= run.nfs_on(server).keys()
        spec = {**rack.server_spec(server, [run]), "state": {"nonce": nonce}}
        rack.want(server, "chains.server", spec)

    def answers() -> dict[str, str]:
        return {
            event["instance"]: event["digest"]
            for server in SERVERS
            for event in rack.events(server, "chains.nf_state")
            if event["nonce"] == nonce
        }

    wait_until(lambda: answers().keys() >= wanted, "all states are told", within_s=30)
    return answers()


def _differences(truth: Truth, found: Sequence[bytes]) -> list[str]:
    problems = []
    if len(found) != len(truth.outputs):
        problems.append(f"{len(found)} packets came out, must be {len(truth.outputs)}")
    for number, (one, other) in enumerate(zip(truth.outputs, found, strict=False)):
        if one != other:
            problems.append(f"packet {truth.due[number]} differs, the first of them")
            break
    return problems


def _unexplained(
    rack: Rack,
    truth: Truth,
    flow: dict[str, Any],
    counters: dict[str, Any],
    told: dict[str, dict[str, Any]],
) -> list[str]:
    """Return losses that no network function's verdict explains."""
    problems = [f"{who} {words}" for who, words in told.items() if "failed" in words]
    if told.get("send", {}).get("is_stalled"):
        problems.append(f"nothing came out any more: {told['send']}")
    if told.get("capture", {}).get("overflow"):
        problems.append(f"the capture lost {told['capture']['overflow']} frames")
    dropped_by = {int(index): count for index, count in flow["dropped_by"].items()}
    if dropped_by != truth.dropped_by:
        problems.append(f"dropped by network function {dropped_by}, must be {truth.dropped_by}")
    if flow.get("in", 0) != len(truth.frames):
        problems.append(f"the classifier took {flow.get('in', 0)} of {len(truth.frames)} packets")
    losses = {name: flow.get(name, 0) or 0 for name in LOSS_COUNTERS}
    losses["classifier overflow"] = counters["overflow"]
    losses["in flight"] = flow["in_flight"]
    for server in SERVERS:
        state = rack.events(server, "chains.server.state")[-1]
        losses |= {f"{server} {name}": count for name, count in state["counters"].items()}
        losses[f"{server} not sent"] = state["fabric_dropped"]
        losses |= {
            f"{server} {nf} {name}": row.get(name, 0)
            for nf, row in state["nfs"].items()
            for name in ("queue_full", "lost", "error")
        }
    return [*problems, *(f"{name}: {count}" for name, count in losses.items() if count)]
