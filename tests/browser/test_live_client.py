"""The websocket client's numbering: gaps, reordering, duplicates, a numbering that starts anew."""

from typing import Any

import pytest
from playwright.sync_api import Page

# Feeds frames to a client without a socket and returns what its subscriber saw and what it sent.
DRIVE = """
async (frames) => {
  const { LiveStream } = await import("/static/js/live.js");
  const stream = new LiveStream("ws://unused.invalid/");
  const seen = [];
  const sent = [];
  stream.send = (frame) => sent.push(frame);
  stream.subscribe("wan", (data) => seen.push(`snapshot ${data}`), (event) => seen.push(event));
  sent.length = 0;
  for (const frame of frames) {
    if (frame.wait_ms) await new Promise((done) => setTimeout(done, frame.wait_ms));
    else stream.receive(JSON.stringify({ topic: "wan", at_s: 1, ...frame }));
  }
  return { seen, sent, state: stream.state, dropped: stream.droppedCount };
}
"""


def snapshot(seq: int) -> dict[str, Any]:
    return {"type": "snapshot", "seq": seq, "data": seq}


def event(seq: int) -> dict[str, Any]:
    return {"type": "event", "seq": seq, "event": f"e{seq}", "data": {}}


RESYNC = {"subscribe": ["wan"]}
CASES = {
    "in order": ([snapshot(4), event(5), event(6)], ["snapshot 4", "e5", "e6"], []),
    "before the snapshot": ([event(5), event(4), snapshot(4)], ["snapshot 4", "e5"], []),
    "already in the snapshot": ([snapshot(4), event(3), event(4), event(5)], ["snapshot 4", "e5"], []),
    "reordered by a little": ([snapshot(4), event(6), event(5)], ["snapshot 4", "e5", "e6"], []),
    "gap": (
        [snapshot(4), event(6), {"wait_ms": 300}, snapshot(6), event(7)],
        ["snapshot 4", "snapshot 6", "e7"],
        [RESYNC],
    ),
    "gap, newer event kept": (
        [snapshot(4), event(7), {"wait_ms": 300}, snapshot(6)],
        ["snapshot 4", "snapshot 6", "e7"],
        [RESYNC],
    ),
    "numbering starts anew": (
        [snapshot(40), {"wait_ms": 2100}, event(1), snapshot(1), event(2)],
        ["snapshot 40", "snapshot 1", "e2"],
        [RESYNC],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_numbering(module_page: Page, name: str) -> None:
    frames, seen, sent = CASES[name]
    result = module_page.evaluate(DRIVE, frames)
    assert result["seen"] == seen
    assert result["sent"] == sent
    assert result["state"] == "live"


def test_frame_without_number_is_applied_after_the_snapshot_only(module_page: Page) -> None:
    telemetry = {"type": "event", "event": "telemetry", "data": {}}
    result = module_page.evaluate(DRIVE, [telemetry, snapshot(4), telemetry])
    assert result["seen"] == ["snapshot 4", "telemetry"]
