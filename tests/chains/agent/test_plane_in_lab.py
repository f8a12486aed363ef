"""The data plane in the lab's data centre: every byte as in the sequential chain, whatever happens meanwhile."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.differential import run_sequential
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.nfs.registry import make_nf
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from tests.support.rack import SERVERS, Rack, Run, rack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.lab
ONE, TWO, THREE = SERVERS
PATIENT_US = 10_000_000
RATE_PPS = 3000
FIREWALL = {"default": "allow", "rules": [{"action": "deny", "proto": "tcp", "dst_port": 8080}]}
BALANCER = {"vip": "192.168.0.1", "backends": [{"address": "192.168.100.11"}, {"address": "192.168.100.12"}]}


@pytest.fixture(scope="module")
def lab() -> Iterator[Rack]:
    """The data centre, agents offline."""
    if reason := require_tools() or probe_isolation():
        pytest.skip(f"no lab: {reason}")
    with rack() as running:
        yield running


def chain_of(*nfs: tuple[str, str, dict[str, object]], name: str = "tested") -> Chain:
    """Return a chain of (name, type, params)."""
    return Chain(
        name,
        tuple(
            NfInstance(nf, type_, CATALOGUE[type_].profile, CATALOGUE[type_].service, params)
            for nf, type_, params in nfs
        ),
        rate_pps=RATE_PPS,
    )


def frames_of(count: int, seed: int) -> list[bytes]:
    """Return frames that an interface of 1600 bytes takes."""
    source = TrafficSource(TrafficMix(flow_count=200), seed)
    return [frame for frame in source.frames(count) if 14 <= len(frame) <= 1600]


def expected(chain: Chain, frames: Sequence[bytes]) -> list[bytes]:
    """Return what the sequential chain makes of frames."""
    nfs = [make_nf(nf.type, nf.params) for nf in chain.nfs]
    outcome = run_sequential(nfs, list(enumerate(frames)))
    return [data for _, data in outcome.outputs if data is not None]


def in_sequence(chain: Chain, server: str) -> Node:
    """Return the chain as it was drawn, on one server."""
    return Series(tuple(Nf(index, server) for index in range(len(chain.nfs))))


NORTH_SOUTH = chain_of(
    ("monitor", "monitor", {}), ("firewall", "firewall", FIREWALL), ("balancer", "load_balancer", BALANCER)
)
HYBRID = Series(
    (
        Parallel((Nf(0, ONE), Nf(1, TWO)), (Copy.SHARED, Copy.FULL), ONE),
        Nf(2, THREE),
    )
)
WIDE = chain_of(
    ("ids", "ids", {"signatures": [{"name": "attack", "pattern": "attack"}]}),
    ("monitor", "monitor", {}),
    ("balancer", "load_balancer", BALANCER),
    name="wide",
)
ALL_AT_ONCE = Parallel((Nf(0, ONE), Nf(1, TWO), Nf(2, THREE)), (Copy.SHARED, Copy.HEADER, Copy.FULL), ONE)


@pytest.mark.parametrize(
    ("chain", "root"),
    [(NORTH_SOUTH, HYBRID), (WIDE, ALL_AT_ONCE), (NORTH_SOUTH, in_sequence(NORTH_SOUTH, TWO))],
    ids=["hybrid over three servers", "three at once", "in sequence"],
)
def test_what_comes_out_is_what_the_sequential_chain_makes(lab: Rack, chain: Chain, root: Node) -> None:
    lab.install([Run(chain, root, timeout_us=PATIENT_US)])
    frames = frames_of(3000, seed=1)
    found, _ = lab.pass_through(frames, RATE_PPS)
    assert found == expected(chain, frames)
    lab.install([])


def test_tagged_frames_keep_their_tags(lab: Rack) -> None:
    lab.install([Run(NORTH_SOUTH, HYBRID, timeout_us=PATIENT_US)])
    plain = frames_of(60, seed=9)
    tags = (b"", b"\x81\x00\x00\x07", b"\x88\xa8\x00\x09\x81\x00\x00\x07")
    frames = [frame[:12] + tags[number % 3] + frame[12:] for number, frame in enumerate(plain)]
    found, _ = lab.pass_through(frames, RATE_PPS)
    assert found == expected(NORTH_SOUTH, frames)
    lab.install([])


def test_one_group_frame_serves_all_servers(lab: Rack) -> None:
    run = Run(WIDE, ALL_AT_ONCE, timeout_us=PATIENT_US)
    mirror = run.table.first
    # Mirrored at the classifier, so all three servers are remote; the bridge floods the group.
    lab.install([Run(WIDE, ALL_AT_ONCE, timeout_us=PATIENT_US, groups={str(mirror): "03:00:00:07:01:01"})])
    frames = frames_of(2000, seed=2)
    found, _ = lab.pass_through(frames, RATE_PPS)
    assert found == expected(WIDE, frames)
    lab.install([])


def test_a_killed_network_function_changes_no_byte_and_loses_none(lab: Rack) -> None:
    lab.install([Run(NORTH_SOUTH, HYBRID, timeout_us=PATIENT_US)])
    frames = frames_of(6000, seed=3)
    killed = set()
    with lab.sending(frames, RATE_PPS) as answer:
        deadline_s = time.monotonic() + 1.5
        while time.monotonic() < deadline_s:
            for server in (ONE, TWO, THREE):
                killed |= kill_workers(lab, server)
            time.sleep(0.4)
    assert len(killed) >= 3
    assert answer["frames"] == expected(NORTH_SOUTH, frames)
    told = [event["instance"] for server in SERVERS for event in lab.events(server, "chains.nf_restarted")]
    assert len(told) >= len(killed)
    lab.install([])


def kill_workers(lab: Rack, server: str) -> set[tuple[str, int]]:
    """Kill every network function's process of a server; return who they were."""
    answer = lab.lab.exec(server, ["pgrep", "-f", f"apps.chains.agent.forwarder server {server}"])
    pids = sorted(int(pid) for pid in answer["stdout"].split())
    # The forwarder came first; what it forked has the same command line.
    for pid in pids[1:]:
        lab.lab.exec(server, ["kill", f"-{signal.SIGKILL.value}", str(pid)])
    return {(server, pid) for pid in pids[1:]}


def test_a_new_epoch_takes_over_under_traffic_without_loss(lab: Rack) -> None:
    first = Run(NORTH_SOUTH, in_sequence(NORTH_SOUTH, ONE), epoch=1, timeout_us=PATIENT_US)
    # The stateful ones stay where they are: a process keeps its state across epochs.
    beside = Series((Parallel((Nf(0, ONE), Nf(1, ONE)), (Copy.SHARED, Copy.SHARED), ONE), Nf(2, ONE)))
    second = Run(NORTH_SOUTH, beside, epoch=2, timeout_us=PATIENT_US)
    lab.install([first])
    frames = frames_of(6000, seed=4)
    with lab.sending(frames, RATE_PPS) as answer:
        lab.install([first, second], active=2)
        wait_until(
            lambda: [event["epoch"] for event in lab.events("dc-classifier", "chains.epoch_active")][-1] == 2,
            "the second epoch is active",
        )
        lab.install([second])
    switched = lab.events("dc-classifier", "chains.epoch_active")[-1]
    assert switched["lost"] == 0
    assert answer["frames"] == expected(NORTH_SOUTH, frames)
    lab.install([])


def test_packets_do_not_overtake_when_a_chain_is_taken_away(lab: Rack) -> None:
    slow = chain_of(
        ("first", "waiter", {"wait_us": 4000}), ("second", "waiter", {"wait_us": 4000}), name="slow"
    )
    run = Run(slow, in_sequence(slow, ONE), timeout_us=PATIENT_US)
    lab.install([run])
    frames = frames_of(600, seed=8)
    with lab.sending(frames, 200) as answer:
        wait_until(lambda: out_count(lab) > 50, "packets come out")
        spec = lab.classifier_spec([run])
        lab.want("dc-classifier", "chains.classifier", {**spec, "rules": [], "active": {}})
        wait_until(
            lambda: lab.events("dc-classifier", "chains.epoch_active")[-1]["epoch"] == 0, "the path is empty"
        )
    assert answer["frames"] == frames
    lab.install([])


def out_count(lab: Rack) -> int:
    """Return how many packets came out of the path, as the classifier last told."""
    samples = [line["samples"] for line in lab.journal("dc-classifier") if "samples" in line]
    return int(samples[-1]["out"][0]) if samples else 0


def test_a_traced_packet_tells_its_way(lab: Rack) -> None:
    trace = {"path": 7, "count": 1, "nonce": f"n{os.getpid()}"}
    lab.install([Run(NORTH_SOUTH, HYBRID, timeout_us=PATIENT_US)], trace=trace)
    lab.pass_through(frames_of(50, seed=5), RATE_PPS)
    (told,) = [one for one in lab.events("dc-classifier", "chains.trace") if one["nonce"] == trace["nonce"]]
    assert told["fate"] in ("released", "dropped")
    hops = [
        (server, hop["kind"], hop["nf_index"])
        for server in ("dc-classifier", *SERVERS)
        for hop in lab.events(server, "chains.trace_hop")
        if hop["packet_id"] == told["packet_id"]
    ]
    assert {hop for hop in hops if hop[1] == "nf"} == {(ONE, "nf", 0), (TWO, "nf", 1), (THREE, "nf", 2)}
    assert (ONE, "merge", None) in hops
    lab.install([])


def test_an_undeclared_write_is_caught_and_no_such_packet_leaves(lab: Rack) -> None:
    liar = CATALOGUE["header_enrichment"]
    chain = Chain(
        "lying",
        (
            NfInstance(
                "marker", "header_enrichment", CATALOGUE["monitor"].profile, liar.service, {"default": 46}
            ),
            NfInstance("monitor", "monitor", CATALOGUE["monitor"].profile, liar.service),
            NfInstance("other", "monitor", CATALOGUE["monitor"].profile, liar.service),
        ),
        rate_pps=100,
    )
    root = Parallel((Nf(0, ONE), Nf(1, TWO), Nf(2, TWO)), (Copy.SHARED, Copy.FULL, Copy.FULL), ONE)
    lab.install([Run(chain, root, timeout_us=PATIENT_US, is_checked=True)])
    plain = [frame for frame in frames_of(400, seed=6) if frame[12:14] == b"\x08\x00" and not frame[15]]
    found, _ = lab.pass_through(plain, 500, idle_s=0.5) if plain else ([], 0.0)
    assert found == []
    caught = [one for server in SERVERS for one in lab.events(server, "chains.undeclared_write")]
    assert {one["field"] for one in caught} == {"ip_tos"}
    lab.install([])


def test_frames_that_mean_nothing_are_counted_and_do_no_harm(lab: Rack) -> None:
    lab.install([Run(NORTH_SOUTH, HYBRID, timeout_us=PATIENT_US)])
    noise = (
        "import os, random, socket\n"
        "link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); link.bind(('fabric', 0))\n"
        "mac = bytes.fromhex('020900000101'); rng = random.Random(1)\n"
        "head = mac + link.getsockname()[4] + b'\\x89\\x4f'\n"
        "for _ in range(300): link.send(head + rng.randbytes(rng.randrange(1, 80)))\n"
    )
    done = lab.lab.exec(TWO, [sys.executable, "-c", noise])
    assert done["exit_code"] == 0, done
    frames = frames_of(500, seed=7)
    found, _ = lab.pass_through(frames, RATE_PPS)
    assert found == expected(NORTH_SOUTH, frames)
    lab.install([Run(NORTH_SOUTH, HYBRID, epoch=2, timeout_us=PATIENT_US)])
    counters = lab.events(ONE, "chains.server.state")[-1]["counters"]
    assert sum(count for name, count in counters.items() if name.startswith(("malformed", "unknown"))) >= 290
    lab.install([])
