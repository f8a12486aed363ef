"""Traffic of the data centre: at the rate asked for, from the mix or from a file, counted where it arrives."""

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from apps.chains.agent.traffic import Traffic, frames_of, parse_traffic_spec
from apps.chains.engine.capture_file import write_pcap
from nfvportal.lib.errors import InvalidInputError
from tests.nfvportal.agent.in_namespace import in_namespace


class Context:
    """Keeps what the role samples."""

    device, role, state_dir = "t", "chains.traffic", None

    def __init__(self) -> None:
        self.samples: list[Mapping[str, Sequence[object]]] = []

    def emit(self, event: str, data: Mapping[str, object], at_s: float | None = None) -> None:
        raise AssertionError("traffic has no events")

    def sample(self, columns: Mapping[str, Sequence[object]]) -> None:
        self.samples.append(columns)


async def exchange(rate_pps: float, seconds: float) -> tuple[int, int]:
    """Send over a veth pair for a time; return how many were sent and received."""
    sender, receiver = Traffic(Context()), Traffic(Context())  # type: ignore[arg-type]
    await receiver.apply({"part": "receiver", "interface": "right"})
    await sender.apply({"part": "sender", "interface": "left", "rate_pps": rate_pps})
    await asyncio.sleep(seconds)
    await sender.apply({})
    sent_before = receiver.snapshot()["packets"]
    await asyncio.sleep(0.3)
    counts = receiver.snapshot()["packets"]
    assert isinstance(sent_before, int)
    assert isinstance(counts, int)
    await sender.close()
    await receiver.close()
    return sent_before, counts


@in_namespace
def test_it_sends_about_as_many_as_asked_for_and_stops() -> None:
    lines = "link add left type veth peer name right\nlink set left up\nlink set right up\n"
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    before, after = asyncio.run(exchange(400, 1.5))
    # A machine that pauses sends less, never much more.
    assert 200 <= before <= 700
    assert after - before <= 50, "nothing goes on after the stop"


def test_a_capture_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "caught.pcap"
    frames = [bytes(60), bytes(range(80)), bytes(1600), bytes(5)]
    with path.open("wb") as file:
        write_pcap(file, ((0, frame) for frame in frames))
    spec = parse_traffic_spec({"part": "sender", "interface": "lan0", "rate_pps": 10, "capture": str(path)})
    assert frames_of(spec) == frames[:2], "what does not fit an interface is left out"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"part": "both"}, "part"),
        ({"interface": ""}, "interface"),
        ({"rate_pps": 0}, "rate_pps"),
        ({"rate_pps": True}, "rate_pps"),
        ({"rate_pps": 1e9}, "rate_pps"),
        ({"seed": -1}, "seed"),
        ({"capture": 5}, "capture"),
    ],
)
def test_other_specs_are_refused(change: dict[str, Any], field: str) -> None:
    good = {"part": "sender", "interface": "lan0", "rate_pps": 10}
    parse_traffic_spec(good)
    with pytest.raises(InvalidInputError) as caught:
        parse_traffic_spec({**good, **change})
    assert caught.value.field == field


def test_a_file_that_is_not_there_is_named() -> None:
    spec = parse_traffic_spec(
        {"part": "sender", "interface": "lan0", "rate_pps": 10, "capture": "/nowhere/x.pcap"}
    )
    with pytest.raises(InvalidInputError, match="capture: must be readable"):
        frames_of(spec)
