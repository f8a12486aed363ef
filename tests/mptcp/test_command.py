"""``manage.py associate``: works on files alone, without portal and database, however large or broken they are."""

import json
import os
import resource
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.support import mptcp_packets as packets
from tests.support.mptcp_containers import Seen, pcap
from tests.support.mptcp_packets import Segment

ROOT = Path(__file__).resolve().parents[2]
KEY, PEER_KEY = 0x1122334455667788, 0x99AABBCCDDEEFF00
PORTS = (40_001, 40_002, 40_003)
BIG_BYTES = 1 << 30
MEMORY_BYTES = 700 << 20


def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which no portal runs."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    return kept | {"NFV_STATE_DIR": str(tmp_path), "NFV_RUN_DIR": str(tmp_path)}


def run(tmp_path: Path, *arguments: object, code: int = 0) -> tuple[str, str]:
    """Run the command; return what it printed and what it complained of."""
    done = subprocess.run(
        [sys.executable, "manage.py", "associate", *map(str, arguments)],
        cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def answer(tmp_path: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    """Run the command with ``--json``; return what it printed."""
    found: dict[str, Any] = json.loads(run(tmp_path, *arguments, "--json", code=code)[0])
    return found


def answer_here(*arguments: object) -> dict[str, Any]:
    """Run the command with ``--json`` in this process; each of its own takes seconds to start."""
    out = StringIO()
    call_command("associate", *map(str, arguments), "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def data_segment(port: int, number: int, base: int) -> Segment:
    """Return a segment of a mapping of its own; all ports share one data stream."""
    dsn = base + 1000 * number
    options = packets.dss(ack=(base ^ 0x5555) + 100 * number, dsn=dsn, ssn=1 + 1000 * number, map_bytes=1000)
    return Segment(src_port=port, seq=1 + 1000 * number, options=options, payload=bytes(1000))


def talk(base: int, ports: tuple[int, ...], count: int = 30) -> list[bytes]:
    """Return frames of one connection whose subflows take turns."""
    return [packets.frame(data_segment(ports[n % len(ports)], n, base)) for n in range(count)]


def write(path: Path, frames: list[bytes]) -> Path:
    """Write a capture with a packet every 10 ms."""
    path.write_bytes(pcap(Seen(1_700_000_000_000_000 + 10_000 * n, frame) for n, frame in enumerate(frames)))
    return path


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Two connections between one pair of hosts."""
    one, other = talk(1 << 50, PORTS), talk(1 << 60, (41_001, 41_002))
    return write(tmp_path / "two.pcap", [frame for pair in zip(one, other, strict=True) for frame in pair])


def groups(found: dict[str, Any]) -> list[list[int]]:
    """Return the clients' ports of each connection."""
    return sorted(
        sorted(max(flow["a_port"], flow["b_port"]) for flow in connection["subflows"])
        for connection in found["connections"]
    )


def test_connections_with_confidence_and_evidence_in_words(tmp_path: Path, capture: Path) -> None:
    found = answer(tmp_path, capture)
    assert groups(found) == [list(PORTS), [41_001, 41_002]]
    for connection in found["connections"]:
        assert connection["confidence"] > 0.999999
        assert len(connection["evidence"]) >= len(connection["subflows"]) - 1
        assert all(evidence["words"].endswith(".") for evidence in connection["evidence"])
    numbers = found["statistics"]
    assert (numbers["packet_count"], numbers["record_count"], numbers["subflow_count"]) == (60, 60, 5)
    assert numbers["packets_per_s"] > 0
    assert found["files"][0]["input_format"] == "pcap"
    words = run(tmp_path, capture)[0]
    assert "10.0.0.1:40001 <-> 10.0.0.2:443  10 packets" in words
    assert "2 connections, 2 with several subflows, 5 subflows; 60 packets in" in words


def test_two_observation_points_make_one_picture(tmp_path: Path) -> None:
    frames = talk(1 << 50, PORTS)
    one = write(tmp_path / "one.pcap", [frame for n, frame in enumerate(frames) if n % 3 != 1])
    other = write(tmp_path / "other.pcap", [frame for n, frame in enumerate(frames) if n % 3 != 0])
    found = answer(tmp_path, one, other)
    assert groups(found) == [list(PORTS)]
    seen = {max(f["a_port"], f["b_port"]): f["seen_by"] for f in found["connections"][0]["subflows"]}
    assert seen == {40_001: [0], 40_002: [1], 40_003: [0, 1]}


def test_as_if_less_had_been_seen(capture: Path) -> None:
    sampled = answer_here(capture, "--sample", "0.5", "--seed", "3")
    assert 10 < sampled["statistics"]["record_count"] < 50
    again = answer_here(capture, "--sample", "0.5", "--seed", "3")
    assert again["connections"] == sampled["connections"]
    assert answer_here(capture, "--start-after", "0.3")["statistics"]["record_count"] == 30
    assert answer_here(capture, "--direction", "s2c")["connections"] == []
    assert answer_here(capture, "--direction", "c2s")["statistics"]["record_count"] == 60
    narrow = answer_here(capture, "--width32", "--without-tokens")
    assert narrow["statistics"]["record_count"] == 60
    assert narrow["options"] == {
        "sample": 1.0, "seed": 1, "start_after_s": 0.0, "direction": "", "without_tokens": True, "width32": True,
    }  # fmt: skip


def test_files_that_cannot_be_read_are_named(tmp_path: Path, capture: Path) -> None:
    nowhere, empty, garbage = tmp_path / "nowhere.pcap", tmp_path / "empty.pcap", tmp_path / "garbage.pcap"
    empty.write_bytes(b"")
    garbage.write_bytes(os.urandom(100_000))
    assert f"{nowhere} cannot be read: No such file" in run(tmp_path, nowhere, code=1)[1]
    assert f"{empty} is empty" in run(tmp_path, empty, code=1)[1]
    assert f"{garbage} is neither pcap nor pcapng" in run(tmp_path, capture, garbage, code=1)[1]
    assert f"{tmp_path} cannot be read: Is a directory" in run(tmp_path, tmp_path, code=1)[1]


def test_a_file_that_is_cut_off_tells_what_it_holds(tmp_path: Path, capture: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-5])
    out, complaint = run(tmp_path, cut, "--json", code=3)
    assert json.loads(out)["statistics"]["packet_count"] == 59
    assert f"{cut} ends within a packet" in complaint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sample", "0"), "--sample must be above 0"),
        (("--sample", "nan"), "--sample must be above 0"),
        (("--start-after", "-1"), "--start-after must be 0 to"),
        (("--seed", "-1"), "--seed must be from 0"),
    ],
)
def test_options_beyond_their_limits_are_named(
    tmp_path: Path, capture: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in run(tmp_path, capture, *arguments, code=1)[1]


@pytest.mark.slow
def test_a_file_larger_than_the_memory_it_may_use(tmp_path: Path) -> None:
    whole = write(tmp_path / "part.pcap", talk(1 << 50, PORTS, 600)).read_bytes()
    head, body = whole[:24], whole[24:] * 4
    reader, writer = os.pipe()
    command = [sys.executable, "manage.py", "associate", "/dev/stdin", "--json"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(tmp_path), stdin=reader, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES)),
    )  # fmt: skip
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        pipe.write(head)
        written = len(head)
        while written < BIG_BYTES:
            written += pipe.write(body)
    out = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    found = json.loads(out)
    assert found["files"][0]["byte_count"] == written > MEMORY_BYTES
    assert groups(found) == [list(PORTS)]
