"""``python -m nfvportal.lab.traffic``: one end of a flow for a time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.traffic.loopback import ADDRESS, free_port

ROOT = Path(__file__).parents[3]


def _start(part: str, port: int, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "nfvportal.lab.traffic",
            part,
            "--address",
            ADDRESS,
            "--port",
            str(port),
            *words,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _both(port: int, sender: list[str], receiver: list[str]) -> dict[str, Any]:
    """Run both ends, return what the receiver printed."""
    with (
        _start("receive", port, *receiver, "--seconds", "1.5") as receives,
        _start("send", port, *sender, "--seconds", "1.5") as sends,
    ):
        output, errors = receives.communicate(timeout=60)
        assert sends.communicate(timeout=60) == ("", "")
    assert (receives.returncode, sends.returncode, errors) == (0, 0, "")
    result: dict[str, Any] = json.loads(output)
    return result


def test_bulk_arrives_in_bins_with_the_time_of_each_arrival() -> None:
    flow = ["--protocol", "tcp"]
    result = _both(free_port(), [*flow, "--rate-bps", "4000000"], [*flow, "--arrivals"])
    starts = [start for start, _ in result["bins"]]
    assert starts == sorted(set(starts))
    total_bytes = sum(size for _, size in result["bins"])
    assert 0 < total_bytes <= 4_000_000 / 8 * 3
    filled = {start for start, size in result["bins"] if size}
    # Clocks of float: an arrival on the border of a bin may be counted on either side.
    assert {round(int(at_s * 100 + 1e-4) / 100, 2) for at_s in result["arrivals"]} >= filled


def test_voice_without_arrivals() -> None:
    flow = ["--kind", "voice", "--protocol", "udp"]
    result = _both(free_port(), [*flow, "--interval-ms", "2", "--message-bytes", "100"], flow)
    sizes = [size for _, size in result["bins"] if size]
    assert result["arrivals"] is None
    assert sizes
    assert all(size % 100 == 0 for size in sizes)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seconds", "1", "--kind", "voice"], "flows[0].protocol: must be udp for voice"),
        (["--seconds", "1", "--rate-bps", "1"], "flows[0].rate_bps: must be a number from 1000 to"),
        (["--seconds", "0"], "seconds: must be more than 0"),
        (["--seconds", "-1"], "seconds: must be more than 0"),
        (["--seconds", "nan"], "seconds: must be more than 0"),
        (["--seconds", "1e9"], "seconds: must be more than 0 and at most 86400"),
    ],
)
def test_a_wrong_argument_is_named(words: list[str], says: str) -> None:
    with _start("receive", 5001, *words) as program:
        output, errors = program.communicate(timeout=60)
    assert (program.returncode, output) == (2, "")
    assert errors.startswith(says)
    assert "Traceback" not in errors
