"""What sampling costs: formulas against simulation, the comparison against a dumb count, the job on a real capture."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import given
from hypothesis import strategies as st

from apps.mptcp.accuracy import (
    PACKETS,
    RATIOS,
    compare,
    expected_missed,
    missed_probability,
    packets_needed,
    seen_probability,
)
from apps.mptcp.engine.values import Connection, FlowKey, Subflow, SubflowState
from nfvportal.jobs.runner import run_job
from tests.support.mptcp_scene import capture_of, whole
from tests.support.people import token_client

FLOWS = [FlowKey("10.0.0.1", port, "10.0.0.2", 80) for port in range(1, 13)]


def connection(*flows: FlowKey) -> Connection:
    subflows = tuple(
        Subflow(
            id=index, flow=flow, epoch=0, state=SubflowState.ACTIVE, is_a_client=None, first_s=0, last_s=1,
            packet_count=1, seen_by=(), dsn_low=(None, None), dsn_high=(None, None),
        )
        for index, flow in enumerate(flows)
    )  # fmt: skip
    return Connection(
        id=0, subflows=subflows, evidence=(), confidence=1, is_blockable=True, is_ended=False,
        coverage=(None, None), tokens=(), first_s=0, last_s=1,
    )  # fmt: skip


def test_a_subflow_of_460_packets_is_seen_with_99_percent_at_one_percent() -> None:
    """Brief, 'What it must beat': a subflow is seen at 1 % with 99 % probability from 460 data packets on."""
    assert seen_probability(460, 0.01) > 0.99
    assert packets_needed(0.01) <= 460
    assert all(
        seen_probability(packets_needed(ratio) - 1, ratio)
        < 0.99
        <= seen_probability(packets_needed(ratio), ratio)
        for ratio in (0.5, 0.1, 0.01, 0.001)
    )


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 1), (2, 2), (3, 2), (4, 4)])
def test_missed_overlap_is_the_share_of_orders_without_one(a: int, b: int) -> None:
    """The dumb twin: of all orders of a and b samples, those in which one side's all come first."""
    orders = list(combinations(range(a + b), a))
    apart = sum(max(places) == a - 1 or min(places) == b for places in orders)
    assert missed_probability(a, b) == pytest.approx(min(1.0, apart / comb(a + b, a)))


def test_every_point_of_the_pictures_is_a_probability() -> None:
    points = [
        (expected_missed(count, ratio), seen_probability(count, ratio))
        for ratio in RATIOS
        for count in PACKETS
    ]
    assert all(0 <= value <= 1 for point in points for value in point)
    assert missed_probability(1, 999) == pytest.approx(2 / 1000)


@pytest.mark.parametrize(("packets", "ratio"), [(200, 0.01), (400, 0.01), (100, 0.05)])
def test_expected_miss_agrees_with_simulation(packets: int, ratio: float) -> None:
    rng = np.random.default_rng(7)
    missed = total = 0
    for _ in range(4000):
        a, b = (rng.random(packets)[rng.random(packets) < ratio] for _ in range(2))
        if len(a) and len(b):
            total += 1
            missed += bool(a.max() < b.min() or b.max() < a.min())
    assert missed / total == pytest.approx(expected_missed(packets, ratio), abs=4 * 0.5 / total**0.5)


@given(
    st.lists(st.integers(0, 3), min_size=12, max_size=12),
    st.lists(st.integers(-1, 3), min_size=12, max_size=12),
)
def test_comparison_agrees_with_counting_pairs(truth: list[int], found: list[int]) -> None:
    def grouped(labels: list[int]) -> list[Connection]:
        groups: dict[int, list[FlowKey]] = {}
        for flow, label in zip(FLOWS, labels, strict=True):
            if label >= 0:
                groups.setdefault(label, []).append(flow)
        return [connection(*flows) for flows in groups.values()]

    result = compare(grouped(truth), grouped(found))
    seen = [index for index in range(12) if found[index] >= 0]
    pairs = list(combinations(seen, 2))
    true = {pair for pair in pairs if truth[pair[0]] == truth[pair[1]]}
    said = {pair for pair in pairs if found[pair[0]] == found[pair[1]]}
    assert result.recall == (len(true & said) / len(true) if true else None)
    assert result.precision == (len(true & said) / len(said) if said else None)
    assert result.unseen_ratio == pytest.approx(1 - len(seen) / 12)
    assert result.pair_count == len(true)


@pytest.mark.django_db
def test_job_measures_on_a_capture_and_the_panel_shows_it() -> None:
    client = token_client("operator", can_write=True)
    content = capture_of([segment for number in range(1, 5) for segment in whole(number, data_count=600)])
    made = client.post("/api/v1/mptcp/captures/", {"file": SimpleUploadedFile("walk.pcap", content)}).json()
    address = f"/api/v1/mptcp/captures/{made['id']}/accuracy/"
    assert client.post(address).status_code == 400, "it was not read yet"
    run_job(made["job"])
    started = client.post(address)
    assert started.status_code == 202
    run_job(started.json()["id"])
    rows = client.get(f"/api/v1/mptcp/captures/{made['id']}/").json()["report"]["accuracy"]
    assert [(row["sample"], row["width32"]) for row in rows][:2] == [(0.1, False), (0.01, False)]
    assert all(row["precision"] in (None, 1.0) for row in rows)
    assert rows[0]["unseen_ratio"] <= rows[3]["unseen_ratio"]
    panel = client.get("/api/v1/mptcp/accuracy/").json()
    assert {row["sample"]: row["packets"] for row in panel["packets_needed"]}[0.01] == packets_needed(0.01)
    assert panel["captures"][0]["rows"] == rows
    assert len(panel["seen"]["data"]) == 4
