"""Counters and latencies: stored once, rates from differences, alarms with hysteresis, what is odd left out."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.chains.models import ChainAlarm, Deployment, HopLatest, LatencySample
from apps.chains.services.alarms import slo_verdict
from apps.chains.services.telemetry import telemetry_retain
from apps.chains.services.telemetry_rows import BINS
from apps.chains.tasks import ingest_classifier_samples, ingest_server_samples
from nfvportal.events.models import Event
from nfvportal.inventory.models import Device
from tests.support.chains import classifier_columns, deployed, runnable, server_columns
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
Devices = dict[str, Device]


@pytest.fixture
def row(fabric: Devices) -> Deployment:
    return deployed(runnable(slo_p99_ms=2.0))


def test_rate_is_the_difference_of_counters(row: Deployment) -> None:
    start_s = time.time() - 5
    for second, count in enumerate((100, 600, 1200)):
        ingest_classifier_samples("dc-classifier", classifier_columns(row, start_s + second, count=count))
    rates = list(LatencySample.objects.order_by("at").values_list("rate_pps", flat=True))
    assert rates == [None, pytest.approx(500, rel=1e-3), pytest.approx(600, rel=1e-3)]


def test_repeated_and_late_seconds_change_nothing(row: Deployment) -> None:
    at_s = time.time()
    for offset in (0, 0, -1):
        ingest_classifier_samples("dc-classifier", classifier_columns(row, at_s + offset))
    assert LatencySample.objects.count() == 1


def test_counter_that_began_anew_gives_no_rate(row: Deployment) -> None:
    at_s = time.time()
    for second, count in enumerate((1000, 10)):
        ingest_classifier_samples("dc-classifier", classifier_columns(row, at_s + second, count=count))
    assert LatencySample.objects.first().rate_pps is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change",
    [{"path": [999]}, {"epoch": [9]}, {"at_s": [1.0]}, {"in": [-1]}, {"in": ["many"]}, {"in": [True]},
     {"latency_bins": [[1]]}, {"latency_us_p50": [float("nan")]}, {"epoch": []}, {"in": [1, 2]}, {"out": None}],
)  # fmt: skip
def test_what_is_odd_is_left_out(change: dict[str, Any], row: Deployment) -> None:
    columns = {**classifier_columns(row), **change}
    ingest_classifier_samples("dc-classifier", columns)
    assert not LatencySample.objects.exists()


def test_newest_counters_of_each_operator_and_its_recent_medians(row: Deployment) -> None:
    at_s = time.time() - 20
    for second in range(20):
        ingest_server_samples(
            row.servers[0], server_columns(row, at_s + second, latency_us_p50=[10.0 + second] * 2)
        )
    hops = list(HopLatest.objects.order_by("operator"))
    assert [(hop.operator, hop.counters["in"], hop.counters["kind"]) for hop in hops] == [
        (1, 100, "nf"),
        (2, 90, "mirror"),
    ]
    assert hops[0].recent == [10.0 + second for second in range(5, 20)]
    assert hops[0].device_name == row.servers[0]


def test_several_seconds_in_one_batch(row: Deployment) -> None:
    first, second = (
        server_columns(row, time.time() + offset, latency_us_p50=[10.0 + offset] * 2) for offset in (0, 1)
    )
    ingest_server_samples("dc-server-1", {name: [*first[name], *second[name]] for name in first})
    assert HopLatest.objects.count() == 2
    assert HopLatest.objects.get(operator=1).recent == [10.0, 11.0]


def test_hops_and_latency_over_rest(row: Deployment) -> None:
    client: Client = token_client("viewer")
    ingest_server_samples("dc-server-1", server_columns(row))
    ingest_classifier_samples("dc-classifier", classifier_columns(row))
    answer = client.get("/api/v1/chains/chains/web-vpn/hops/").json()
    assert (answer["epoch"], [hop["operator"] for hop in answer["hops"]]) == (1, [1, 2])
    assert answer["hops"][0].keys() >= {
        "operator", "epoch", "device", "at_s", "kind", "nf", "in", "out", "drop", "copy", "merge", "timeout", "lost",
        "late", "conflict", "latency_us_p50", "latency_us_p99", "latency_bins", "queue",
    }  # fmt: skip
    assert [sum(hop["latency_bins"]) for hop in answer["hops"]] == [90, 0]
    latency = client.get("/api/v1/chains/chains/web-vpn/latency/").json()
    assert (len(latency["newest"]["bins"]), len(latency["history"])) == (BINS, 1)
    (listed,) = client.get("/api/v1/chains/chains/").json()["results"]
    assert (listed["latency_us_p99"], listed["slo_state"]) == (900.0, "met")


def test_target_is_missed_after_3_s_and_met_again_after_10(row: Deployment) -> None:
    start_s = time.time() - 60
    states = []
    for second in range(30):
        slow = 5 <= second < 12
        columns = classifier_columns(row, start_s + second, latency_us_p99=[5000.0 if slow else 900.0])
        ingest_classifier_samples("dc-classifier", columns)
        states.append(ChainAlarm.objects.filter(cleared_at=None).exists())
    assert (states.index(True), states.index(False, 10), sum(states)) == (8, 21, 13)
    alarm = ChainAlarm.objects.get()
    assert (alarm.kind, alarm.data["target_ms"], "p99 latency is 5.0 ms" in alarm.message) == (
        "slo",
        2.0,
        True,
    )
    assert set(Event.objects.filter(type__startswith="chains.slo").values_list("type", "severity")) == {
        ("chains.slo_raised", "alarm"), ("chains.slo_cleared", "info"),
    }  # fmt: skip


def test_verdict_needs_an_unbroken_run_to_raise_and_quiet_to_clear() -> None:
    slow, fast = 9.0, 1.0
    assert not slo_verdict([], 5.0, False)
    assert slo_verdict([], 5.0, True)
    assert not slo_verdict([(t, slow) for t in range(3)], 5.0, False)
    assert slo_verdict([(t, slow) for t in range(4)], 5.0, False)
    assert not slo_verdict([(0, slow), (1, slow), (2, fast), (3, slow), (4, slow)], 5.0, False)
    assert slo_verdict([(0, slow), *((t, fast) for t in range(1, 10))], 5.0, True)
    assert not slo_verdict([(0, slow), *((t, fast) for t in range(1, 11))], 5.0, True)
    assert not slo_verdict([(t, None) for t in range(11)], 5.0, True)


def test_seconds_are_kept_for_a_day(row: Deployment) -> None:
    for age in (timedelta(hours=23), timedelta(hours=25)):
        LatencySample.objects.create(chain=row.chain, at=timezone.now() - age, epoch=1, counters={})
    assert telemetry_retain() == 1
    assert LatencySample.objects.count() == 1
