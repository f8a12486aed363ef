"""Webhooks: a real server gets signed changes, in order, once; what it refuses comes again later."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.utils import timezone

from apps.mptcp.models import ChangeLog, Subscription
from apps.mptcp.services.webhooks import changes_deliver, signature
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
URL = "/api/v1/mptcp/subscriptions/"


class Listener:
    """A subscriber: remembers what came and answers as told."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.got.append((dict(self.headers), body))
                self.send_response(listener.answers.pop(0) if listener.answers else 204)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?from=portal"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def seqs(self) -> list[list[int]]:
        """Return the numbers of each batch."""
        return [[change["seq"] for change in json.loads(body)["changes"]] for _, body in self.got]


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


def subscribed(listener: Listener, **fields: Any) -> dict[str, Any]:
    client = token_client("operator", can_write=True, name="subscriber")
    answer = client.post(URL, {"url": listener.url, **fields}, content_type="application/json")
    assert answer.status_code == 201, answer.content
    return answer.json()


def happened(*kinds: str) -> list[int]:
    return [ChangeLog.objects.create(kind=kind, at_s=1.0, data={"n": 1}).pk for kind in kinds]


def test_changes_arrive_signed_and_once(listener: Listener) -> None:
    happened("connection_found")
    made = subscribed(listener)
    seqs = happened("connection_found", "subflow_joined")
    assert changes_deliver() == 1
    assert listener.seqs() == [seqs], "what was before the subscription is not told"
    headers, body = listener.got[0]
    expected = signature(made["secret"], headers["X-Nfvportal-Timestamp"], body)
    assert headers["X-Nfvportal-Signature"] == expected
    assert json.loads(body)["last_seq"] == seqs[-1]
    assert changes_deliver() == 0
    assert len(listener.got) == 1


def test_replay_begins_behind_a_number_and_keeps_to_the_kinds(listener: Listener) -> None:
    seqs = happened("connection_found", "subflow_joined", "subflow_left", "subflow_joined")
    subscribed(listener, after=seqs[0], kinds=["subflow_joined"])
    changes_deliver()
    assert listener.seqs() == [[seqs[1], seqs[3]]]
    assert Subscription.objects.get().sent_seq == seqs[3]


@pytest.mark.parametrize("answer", [500, 302, 404])
def test_what_is_not_taken_comes_again_after_a_pause(listener: Listener, answer: int) -> None:
    subscribed(listener)
    seqs = happened("connection_found")
    listener.answers = [answer]
    assert changes_deliver() == 0
    row = Subscription.objects.get()
    assert (row.failure_count, row.last_error) == (1, f"answered {answer}")
    assert changes_deliver() == 0
    assert len(listener.got) == 1, "not before the pause is over"
    Subscription.objects.update(retry_at=timezone.now())
    assert changes_deliver() == 1
    assert listener.seqs() == [seqs, seqs]
    assert Subscription.objects.get().failure_count == 0


def test_pause_doubles_up_to_a_limit(listener: Listener) -> None:
    subscribed(listener)
    happened("connection_found")
    pauses = []
    for failures in (0, 1, 5, 30):
        listener.answers = [503]
        Subscription.objects.update(retry_at=None, failure_count=failures)
        changes_deliver()
        retry_at = Subscription.objects.get().retry_at
        assert retry_at is not None
        pauses.append(round((retry_at - timezone.now()).total_seconds()))
    assert pauses == [1, 2, 32, 300]


def test_subscriber_that_is_away_is_noted(listener: Listener) -> None:
    subscribed(listener)
    happened("connection_found")
    listener.server.server_close()
    listener.server.shutdown()
    assert changes_deliver() == 0
    assert "refused" in Subscription.objects.get().last_error


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "http://",
        "http://user:word@host/",
        "file:///etc/passwd",
        "http://169.254.169.254/",
        "http://0.0.0.0/",
    ],
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    client = token_client("operator", can_write=True)
    answer = client.post(URL, {"url": url}, content_type="application/json")
    assert answer.status_code == 400


def test_secret_is_shown_once_and_subscriptions_end(listener: Listener) -> None:
    made = subscribed(listener)
    client = token_client("operator", can_write=True, name="other")
    shown = client.get(f"{URL}{made['id']}/").json()
    assert "secret" not in shown
    assert made["secret"] not in Subscription.objects.get().secret_sealed
    assert client.delete(f"{URL}{made['id']}/").status_code == 204
    happened("connection_found")
    assert changes_deliver() == 0
