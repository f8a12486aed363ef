"""What browsers are told after a commit, in one place: which change goes onto which topic."""

from collections.abc import Iterable
from typing import Final

from django.db import transaction

from apps.mptcp.models import Alarm, AssociationDomain, Capture, Connection
from apps.mptcp.selectors import (
    alarm_data,
    alarm_list,
    capture_data,
    capture_list,
    connection_data,
    connection_list,
    connection_row,
    domain_data,
    sensors_by_site,
)
from nfvportal.live.publish import followed, publish, publish_latest

LIST_TOPIC: Final = "mptcp"


def topic_of(connection_id: int) -> str:
    """Return the topic of one connection."""
    return f"mptcp_connection:{connection_id}"


def announce_connections(ids: Iterable[int]) -> None:
    """Tell that connections changed; read anew after the commit: what is told is what a snapshot would say.

    Whole connections are told only where somebody looks at one: thousands may change at once.
    """
    wanted = sorted(set(ids))

    def tell() -> None:
        looked_at = followed([topic_of(key) for key in wanted])
        for row in connection_list().filter(pk__in=wanted).order_by("pk"):
            if row.capture_id is None:
                publish(LIST_TOPIC, "connection_changed", {"connection": connection_row(row)})
            if topic_of(row.pk) in looked_at:
                publish(topic_of(row.pk), "connection_changed", {"connection": connection_data(row)})

    if wanted:
        transaction.on_commit(tell, robust=True)


def announce_counters(ids: Iterable[int]) -> None:
    """Tell newer counters of connections whose shape is the same; losing one does no harm."""
    wanted = sorted(set(ids))

    def tell() -> None:
        looked_at = followed([topic_of(key) for key in wanted])
        for row in connection_list().filter(pk__in=wanted):
            publish_latest(LIST_TOPIC, f"connection:{row.pk}", connection_row(row))
            if topic_of(row.pk) in looked_at:
                publish_latest(topic_of(row.pk), "counters", connection_data(row))

    if wanted:
        transaction.on_commit(tell, robust=True)


def announce_domain(row: AssociationDomain) -> None:
    """Tell what a domain did."""
    data = domain_data(row, sensors_by_site().get(row.site.name, ()))
    transaction.on_commit(lambda: publish_latest(LIST_TOPIC, f"domain:{row.site.name}", data), robust=True)


def announce_alarm(row: Alarm) -> None:
    """Tell that an alarm was raised or acknowledged, and show it where its connection is shown."""

    def tell() -> None:
        fresh = alarm_list().get(pk=row.pk)
        publish(LIST_TOPIC, "alarm_changed", {"alarm": alarm_data(fresh)})

    transaction.on_commit(tell, robust=True)
    if row.connection_id is not None:
        announce_connections([row.connection_id])


def announce_capture(row: Capture) -> None:
    """Tell where the reading of a capture stands."""

    def tell() -> None:
        fresh = capture_list().filter(pk=row.pk).first()
        if fresh is not None:
            publish(LIST_TOPIC, "capture_changed", {"capture": capture_data(fresh)})

    transaction.on_commit(tell, robust=True)


def announce_capture_removed(capture_id: int) -> None:
    """Tell that a capture is gone."""
    transaction.on_commit(lambda: publish(LIST_TOPIC, "capture_removed", {"id": capture_id}), robust=True)


def announce_verdict(connection: Connection) -> None:
    """Tell that a verdict began or ended."""
    announce_connections([connection.pk])
