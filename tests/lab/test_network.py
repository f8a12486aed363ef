"""What a lab that is up looks like from inside its nodes, and what faults do to real packets."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from nfvportal.lab.client import LabClient, LabUnavailable
from nfvportal.lab.topology import load_topology
from nfvportal.lib.errors import InvalidInputError
from tests.support.waiting import wait_until

pytestmark = pytest.mark.lab

MEASURE = [sys.executable, "-m", "tests.benchmarks.lab_measure"]


@pytest.fixture(autouse=True)
def no_fault_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name, link in (("branch_lab", "fiber"), ("pair_lab", "cable")):
        if name in request.fixturenames:
            request.getfixturevalue(name).clear(link)


def output(lab: LabClient, node: str, *argv: str) -> str:
    result = lab.exec(node, argv)
    assert result["exit_code"] == 0, result
    return str(result["stdout"])


def reachable(lab: LabClient) -> set[str]:
    """The directed pairs along which a datagram arrives now."""
    failed = set(lab.self_test()["failed"])
    pairs = {f"{a.name}>{b.name}" for a, b in load_topology(lab.status()["topology"]).host_pairs}
    return pairs - failed


def measured(
    lab: LabClient, server: Sequence[object], client: Sequence[object]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a measuring program on ``right`` and its other half on ``left``; return what both print."""
    results: dict[str, dict[str, Any]] = {}

    def run(node: str, words: Sequence[object]) -> None:
        result = lab.exec(node, [*MEASURE, *map(str, words)], timeout_s=30)
        assert result["exit_code"] == 0, result
        results[node] = json.loads(result["stdout"])

    serving = threading.Thread(target=run, args=("right", server))
    serving.start()
    wait_until(lambda: ":176F" in output(lab, "right", "cat", "/proc/net/udp"), "the server listens on 5999")
    run("left", client)
    serving.join()
    return results["right"], results["left"]


def test_every_host_reaches_every_other_and_status_says_so(branch_lab: LabClient) -> None:
    status = branch_lab.status()
    assert status["topology"] == "branch"
    assert status["backend"] == "relay"
    assert status["self_test"]["ok"]
    assert status["self_test"]["checked"] == 6
    assert [node["name"] for node in status["nodes"]][:2] == ["branch-host", "branch-legacy"]
    fiber = status["links"][0]
    assert (fiber["name"], fiber["a"], fiber["rate_bps"], fiber["fault"]) == (
        "fiber",
        "gw-a/wan-fiber",
        50_000_000,
        None,
    )
    assert fiber["counters"]["ab"]["frames_out"] > 0, "the baseline route leads over the fiber"


def test_a_host_has_one_interface_and_a_gateway_forwards(branch_lab: LabClient) -> None:
    interfaces = json.loads(output(branch_lab, "branch-host", "ip", "-json", "link"))
    assert sorted(interface["ifname"] for interface in interfaces) == ["lan0", "lo"]
    settings = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/rp_filter"
    assert output(branch_lab, "gw-a", "cat", *settings).split() == ["1", "0"]
    assert output(branch_lab, "hq-server", "cat", *settings).split() == ["0", "0"]
    assert "fe80" not in output(branch_lab, "gw-a", "ip", "-6", "address"), "no IPv6 address makes itself"


def test_a_big_write_leaves_as_frames_of_the_links_size(pair_lab: LabClient) -> None:
    """With segmentation offload on, the relay would see one frame of 64 kB (and cut it off)."""
    code = (
        "import socket, sys, threading\n"
        "s = socket.create_server(('10.0.0.2', 7000)); c, _ = s.accept(); n = 0\n"
        "while d := c.recv(65536): n += len(d)\n"
        "print(n)"
    )
    got: list[str] = []
    serving = threading.Thread(
        target=lambda: got.append(output(pair_lab, "right", sys.executable, "-c", code))
    )
    serving.start()
    wait_until(
        lambda: ":1B58" in output(pair_lab, "right", "cat", "/proc/net/tcp"), "the server listens on 7000"
    )
    before = pair_lab.status()["links"][0]["counters"]["ab"]
    send = "import socket; s = socket.create_connection(('10.0.0.2', 7000)); s.sendall(bytes(1_000_000)); s.close()"
    output(pair_lab, "left", sys.executable, "-c", send)
    serving.join()
    after = pair_lab.status()["links"][0]["counters"]["ab"]
    assert got == ["1000000\n"]
    assert (after["bytes_in"] - before["bytes_in"]) / (after["frames_in"] - before["frames_in"]) <= 1_514
    assert after["bytes_in"] - before["bytes_in"] >= 1_000_000


@pytest.mark.parametrize(
    ("kind", "cut"),
    [
        ("blackhole", {"left>right", "right>left"}),
        ("carrier", {"left>right", "right>left"}),
    ],
)
def test_a_cut_link_carries_nothing_until_cleared(pair_lab: LabClient, kind: str, cut: set[str]) -> None:
    before_s = time.time()
    result = pair_lab.fault("cable", kind)
    assert before_s <= result["at_s"] <= time.time()
    assert reachable(pair_lab) == {"left>right", "right>left"} - cut
    assert pair_lab.status()["links"][0]["fault"]["kind"] == kind
    pair_lab.clear("cable")
    assert pair_lab.status()["links"][0]["fault"] is None
    assert reachable(pair_lab) == {"left>right", "right>left"}


@pytest.mark.parametrize(("kind", "still"), [("blackhole_ab", "right>left"), ("blackhole_ba", "left>right")])
def test_a_one_way_black_hole_cuts_one_direction(pair_lab: LabClient, kind: str, still: str) -> None:
    assert reachable(pair_lab) == {"left>right", "right>left"}  # also fills both neighbour tables
    pair_lab.fault("cable", kind)
    assert reachable(pair_lab) == {still}


def carrier(lab: LabClient, node: str) -> bool:
    link = json.loads(output(lab, node, "ip", "-json", "link", "show", "eth0"))[0]
    return "LOWER_UP" in link["flags"]


def test_only_carrier_loss_takes_the_carrier(pair_lab: LabClient) -> None:
    pair_lab.fault("cable", "blackhole")
    assert carrier(pair_lab, "left")
    pair_lab.fault("cable", "carrier")
    wait_until(
        lambda: not carrier(pair_lab, "left") and not carrier(pair_lab, "right"), "both ends lose carrier", 3
    )
    pair_lab.fault("cable", "delay", value=1)
    wait_until(
        lambda: carrier(pair_lab, "left") and carrier(pair_lab, "right"), "both ends regain carrier", 3
    )
    assert reachable(pair_lab) == {"left>right", "right>left"}


def test_a_fault_with_a_duration_ends_by_itself(pair_lab: LabClient) -> None:
    pair_lab.fault("cable", "blackhole", duration_s=0.3)
    assert pair_lab.status()["links"][0]["fault"]["duration_s"] == 0.3
    wait_until(lambda: pair_lab.status()["links"][0]["fault"] is None, "the fault ends", 3)
    assert len(reachable(pair_lab)) == 2


def test_a_later_fault_outlives_the_end_of_an_earlier_one(pair_lab: LabClient) -> None:
    pair_lab.fault("cable", "blackhole", duration_s=0.1)
    pair_lab.fault("cable", "loss", value=0.5)
    ended_s = time.monotonic() + 0.3
    fault = wait_until(
        lambda: time.monotonic() > ended_s and pair_lab.status()["links"][0]["fault"], "time is up", 3
    )
    assert fault["kind"] == "loss"


def test_delay_is_felt_both_ways(pair_lab: LabClient) -> None:
    pair_lab.fault("cable", "delay", value=50)
    _, facts = measured(pair_lab, ("echo", 20), ("round_trips", "10.0.0.2", 30, 10, 64, 0, 3))
    assert facts["received"] == 30
    assert 100 <= facts["min_ms"] <= 111


def test_rate_limits_what_arrives(pair_lab: LabClient) -> None:
    pair_lab.fault("cable", "rate", value=5_000_000)
    heard, _ = measured(pair_lab, ("sink", 20), ("flood", "10.0.0.2", 8_000_000, 2, 1_400))
    rate_bps = (heard["count"] - 1) * (1_400 + 42) * 8 / (heard["last_at_s"] - heard["first_at_s"])
    assert rate_bps == pytest.approx(5_000_000, rel=0.1)
    assert pair_lab.status()["links"][0]["counters"]["ab"]["lost_queue"] > 0


def test_loss_is_replayed_by_its_seed(pair_lab: LabClient) -> None:
    """The relay decides per frame, so only the two frames of the same run are compared: total lost of 500."""

    def lost() -> int:
        pair_lab.fault("cable", "loss", value=0.2, seed=7)
        before = pair_lab.status()["links"][0]["counters"]["ab"]["lost_random"]
        measured(pair_lab, ("sink", 20), ("flood", "10.0.0.2", 4_000_000, 0.5, 400))
        return int(pair_lab.status()["links"][0]["counters"]["ab"]["lost_random"] - before)

    first, second = lost(), lost()
    assert first > 0
    # The number of frames of a run differs by a few (address requests, timing of the last ones).
    assert abs(first - second) <= 0.15 * first + 10


def test_probes_pass_a_standing_queue(pair_lab: LabClient) -> None:
    pair_lab.fault("cable", "rate", value=2_000_000)
    flood = [*MEASURE, "flood", "10.0.0.2", "4000000", "3", "1400"]
    flooding = threading.Thread(target=lambda: pair_lab.exec("left", flood, timeout_s=20))
    flooding.start()
    wait_until(
        lambda: pair_lab.status()["links"][0]["counters"]["ab"]["lost_queue"] > 0, "the queue is full", 10
    )
    _, marked = measured_beside_flood(pair_lab, tos=192)
    flooding.join()
    # 20 ms of delay, at most one bulk frame (5.8 ms) ahead on the way out; a full queue would be a second.
    assert marked["received"] == marked["sent"]
    assert marked["p50_ms"] < 40


def measured_beside_flood(lab: LabClient, tos: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return measured(lab, ("echo", 10), ("round_trips", "10.0.0.2", 30, 10, 64, tos, 2))


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"op": "fly"}, "op"),
        ({"op": "fault", "link": "lan-host", "kind": "blackhole"}, "link"),
        ({"op": "fault", "link": "fiber", "kind": "loss", "value": 2}, "value"),
        ({"op": "clear", "link": "nothing"}, "link"),
        ({"op": "exec", "node": "nobody", "argv": ["true"]}, "node"),
        ({"op": "exec", "node": "gw-a", "argv": []}, "argv"),
        ({"op": "exec", "node": "gw-a", "argv": ["a\0b"]}, "argv"),
        ({"op": "exec", "node": "gw-a", "argv": ["true"], "timeout_s": -1}, "timeout_s"),
        ({"op": "agent_kill", "node": "gw-a"}, "node"),
    ],
)
def test_a_bad_request_names_its_field(
    branch_lab: LabClient, request_fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        branch_lab.ask(request_fields)
    assert caught.value.field == field


def test_exec_reports_output_code_and_time_out(branch_lab: LabClient) -> None:
    result = branch_lab.exec("gw-a", ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result["exit_code"], result["stdout"], result["stderr"]) == (3, "out\n", "err\n")
    assert branch_lab.exec("gw-a", ["no-such-command"])["exit_code"] == 127
    slow = branch_lab.exec("gw-a", ["sh", "-c", "echo begun; sleep 60 & sleep 60"], timeout_s=0.5)
    assert slow["timed_out"]
    assert slow["stdout"] == "begun\n"
    assert "sleep" not in output(
        branch_lab, "gw-a", "sh", "-c", "cat /proc/[0-9]*/comm | grep -v ^sh$ | grep -v ^cat$"
    )


def test_a_client_that_leaves_takes_its_command_along(branch_lab: LabClient) -> None:
    impatient = LabClient(branch_lab.socket_path, timeout_s=0.2)
    with pytest.raises(LabUnavailable, match="no lab answers"):
        impatient.ask({"op": "exec", "node": "gw-b", "argv": ["sleep", "77"], "timeout_s": 60})
    listing = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    wait_until(
        lambda: "sleep 77" not in output(branch_lab, "gw-b", "sh", "-c", listing), "the command is gone", 5
    )


def test_output_beyond_the_limit_is_cut_and_the_command_still_ends(branch_lab: LabClient) -> None:
    result = branch_lab.exec("gw-a", [sys.executable, "-c", "print('x' * 3_000_000)"])
    assert result["exit_code"] == 0
    assert len(result["stdout"]) == 1_048_576


def test_an_oversized_or_broken_line_is_refused_not_a_traceback(branch_lab: LabClient) -> None:
    with pytest.raises(InvalidInputError, match="JSON"):
        branch_lab.ask({"op": "status", "padding": "x" * 100_000})
    assert branch_lab.status()["self_test"]["checked"] == 6


SIGNAL_RELAY = """
import os, pathlib, sys
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
    if parent == "2" and entry.name != str(os.getpid()) and b"nfvportal.lab" in (entry / "cmdline").read_bytes():
        os.kill(int(entry.name), int(sys.argv[1]))
"""


def test_frames_that_a_late_relay_missed_are_counted(pair_lab: LabClient) -> None:
    """The relay, child of process 2 of the lab, is stopped while more frames come than the kernel keeps for it."""
    before = pair_lab.status()["links"][0]["counters"]["ab"]
    output(pair_lab, "left", sys.executable, "-c", SIGNAL_RELAY, "19")
    try:
        sent = json.loads(output(pair_lab, "left", *MEASURE, "flood", "10.0.0.2", "0", "0.5", "64"))["sent"]
    finally:
        output(pair_lab, "left", sys.executable, "-c", SIGNAL_RELAY, "18")
    after = pair_lab.status()["links"][0]["counters"]["ab"]
    late, seen = (after[name] - before[name] for name in ("lost_late", "frames_in"))
    assert late > 0
    wait_until(
        lambda: relay_saw(pair_lab) - before["frames_in"] + late >= sent, "every frame is accounted for", 5
    )
    assert seen < sent


def relay_saw(lab: LabClient) -> int:
    return int(lab.status()["links"][0]["counters"]["ab"]["frames_in"])
