"""What agents measure: into the newest row per hop and one row per second, onto the live stream."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from apps.chains.models import OPEN_STATUSES, Chain, Deployment, HopLatest, LatencySample
from apps.chains.selectors import chain_rate, hop_list, latency_point
from apps.chains.services.alarms import slo_check
from apps.chains.services.announcements import LIST_TOPIC, topic_of
from apps.chains.services.calibration import RECENT_KEPT
from apps.chains.services.telemetry_rows import (
    CLASSIFIER_COUNTS,
    CLASSIFIER_OPTIONAL,
    CLASSIFIER_REQUIRED,
    SERVER_COUNTS,
    SERVER_OPTIONAL,
    SERVER_REQUIRED,
    Columns,
    rows_of,
)
from nfvportal.live.publish import publish_latest

CLOCK_SLACK: Final = timedelta(hours=1)
# A rate over a longer gap says nothing about a second.
RATE_GAP_MAX_S: Final = 10.0
KEEP: Final = timedelta(days=1)
DELETE_BATCH: Final = 5_000
Rows = list[dict[str, Any]]


def server_samples_ingest(*, device_name: str, columns: Columns) -> int:
    """Take one batch of a server's counters; return how many rows were stored.

    Rows of paths and epochs that are not deployed, with times far from ours or values beyond their limits are left out.
    """
    rows = rows_of("chains.server", columns, SERVER_REQUIRED, SERVER_OPTIONAL)
    stored = 0
    for chain, epoch, is_shown, told in _by_epoch(rows):
        # Of several seconds in one batch the newest counts; their medians all go into ``recent``.
        newest = {row["operator"]: row for row in told}
        known = {
            hop.operator: hop
            for hop in HopLatest.objects.filter(chain=chain, epoch=epoch, operator__in=newest)
        }
        hops = [
            _hop(chain, epoch, device_name, row, known.get(operator), told)
            for operator, row in newest.items()
        ]
        HopLatest.objects.bulk_create(
            hops,
            update_conflicts=True,
            unique_fields=["chain", "epoch", "operator"],
            update_fields=["device_name", "at", "counters", "recent"],
        )
        stored += len(hops)
        if is_shown:
            publish_latest(topic_of(chain.name), "hops", {"rows": hop_list(chain, epoch)})
    return stored


def _hop(
    chain: Chain, epoch: int, device_name: str, row: dict[str, Any], known: HopLatest | None, told: Rows
) -> HopLatest:
    medians = [
        other["latency_us_p50"]
        for other in told
        if other["operator"] == row["operator"] and other["latency_us_p50"] is not None
    ]
    return HopLatest(
        chain=chain,
        epoch=epoch,
        operator=row["operator"],
        device_name=device_name[:64],
        at=_moment(row["at_s"]),
        counters={
            "kind": row["kind"],
            "nf": row["nf"] or "",
            **{name: row[name] for name in SERVER_COUNTS},
            "latency_us_p50": row["latency_us_p50"],
            "latency_us_p99": row["latency_us_p99"],
            "latency_bins": row["latency_bins"] or [],
        },
        recent=[*(known.recent if known else []), *medians][-RECENT_KEPT:],
    )


def classifier_samples_ingest(*, columns: Columns) -> int:
    """Take one batch of the classifier's seconds; return how many were stored.

    Only the epoch that packets take counts. Late and repeated seconds change nothing.
    """
    rows = rows_of("chains.classifier", columns, CLASSIFIER_REQUIRED, CLASSIFIER_OPTIONAL)
    stored = 0
    for chain, epoch, is_shown, told in _by_epoch(rows):
        if not is_shown:
            continue
        previous = LatencySample.objects.filter(chain=chain).order_by("-at").first()
        samples = []
        for row in told:
            at = _moment(row["at_s"])
            if previous is not None and (at <= previous.at or epoch < previous.epoch):
                continue
            previous = _sample(chain, epoch, at, row, previous)
            samples.append(previous)
        LatencySample.objects.bulk_create(samples, ignore_conflicts=True)
        stored += len(samples)
        if samples:
            publish_latest(topic_of(chain.name), "latency", latency_point(samples[-1]))
            publish_latest(LIST_TOPIC, chain.name, chain_rate(samples[-1]))
            slo_check(chain)
    return stored


def _sample(
    chain: Chain, epoch: int, at: datetime, row: dict[str, Any], previous: LatencySample | None
) -> LatencySample:
    return LatencySample(
        chain=chain,
        at=at,
        epoch=epoch,
        counters={name: row[name] for name in CLASSIFIER_COUNTS},
        rate_pps=_rate(row["in"], at, previous if previous and previous.epoch == epoch else None),
        latency_us_p50=row["latency_us_p50"],
        latency_us_p95=row["latency_us_p95"],
        latency_us_p99=row["latency_us_p99"],
        bins=row["latency_bins"] or [],
    )


def _rate(count: int, at: datetime, previous: LatencySample | None) -> float | None:
    """Return packets per second since the sample before; ``None`` when there is none, or the counter began anew."""
    if previous is None:
        return None
    gap_s = (at - previous.at).total_seconds()
    more = count - int(previous.counters["in"])
    return more / gap_s if 0 < gap_s <= RATE_GAP_MAX_S and more >= 0 else None


def _by_epoch(rows: Rows) -> Iterator[tuple[Chain, int, bool, Rows]]:
    """Yield the rows of each deployed epoch, ascending in time, with whether it is the one that pages show."""
    now = timezone.now().timestamp()
    near = [row for row in rows if abs(row["at_s"] - now) < CLOCK_SLACK.total_seconds()]
    deployed = Deployment.objects.filter(
        chain__path__in={row["path"] for row in near}, status__in=OPEN_STATUSES
    ).select_related("chain")
    shown: dict[int, int] = {}
    for deployment in deployed.order_by("chain__path", "-is_active", "-id"):
        shown.setdefault(deployment.chain_id, deployment.pk)
        key = (deployment.chain.path, deployment.epoch)
        told = [row for row in near if (row["path"], row["epoch"]) == key]
        if told:
            told.sort(key=lambda row: float(row["at_s"]))
            yield deployment.chain, deployment.epoch, shown[deployment.chain_id] == deployment.pk, told


def telemetry_retain() -> int:
    """Delete seconds past their retention, in batches; return how many."""
    deleted = 0
    doomed = (
        LatencySample.objects.filter(at__lt=timezone.now() - KEEP).order_by("id").values_list("id", flat=True)
    )
    while batch := list(doomed[:DELETE_BATCH]):
        deleted += LatencySample.objects.filter(id__in=batch).delete()[0]
    return deleted


def _moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
