"""Who may follow which live topic, asked over the real websocket; every topic and every socket has a row here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from django.conf import settings
from django.test import Client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from apps.chains.chain_definition import definition_parse
from apps.chains.models import Chain
from apps.mptcp.models import AssociationDomain, Connection
from nfvportal.accounts.access import RANK, Role
from nfvportal.inventory.models import Site
from nfvportal.jobs.models import Job
from nfvportal.live.topics import TOPICS
from nfvportal.routing import websocket_urlpatterns
from tests.support.live import Follower
from tests.support.people import session_client, token_make
from tests.support.web import WebServer, in_database, user_make, web_serve

pytestmark = pytest.mark.django_db(transaction=True)

TOPIC_ROLES = {
    "wan": Role.VIEWER,
    "chains": Role.VIEWER,
    "chain": Role.VIEWER,
    "mptcp": Role.VIEWER,
    "mptcp_connection": Role.VIEWER,
    "events": Role.VIEWER,
    "jobs": Role.VIEWER,
    "job": Role.VIEWER,
    "health": Role.VIEWER,
}
SOCKETS = {"ws/live/", "ws/agent/"}


def test_every_topic_and_every_socket_has_a_row() -> None:
    assert {name: topic.min_role for name, topic in TOPICS.items()} == TOPIC_ROLES
    assert {str(pattern.pattern) for pattern in websocket_urlpatterns} == SOCKETS


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebServer]:
    async with web_serve(tmp_path) as web:
        yield web


def _cookie(client: Client) -> dict[str, str]:
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"}


def _credentials(kind: str, role: str | None) -> dict[str, str]:
    if kind == "session":
        return _cookie(session_client(role))
    return {"Authorization": f"Bearer {token_make(user_make('program', role), state=kind)}"}


def _connection_key() -> str:
    domain = AssociationDomain.objects.create(site=Site.objects.create(name="asked-for"))
    row = Connection.objects.create(
        domain=domain, engine_id=1, confidence=1.0, is_blockable=True, first_s=1.0, last_s=2.0
    )
    return str(row.pk)


async def _answers(server: WebServer, headers: dict[str, str]) -> dict[str, str]:
    """Return topic -> type of the answer, ``snapshot`` or the error's code."""
    job = await in_database(lambda: Job.objects.create(kind="lab.fault", params={}))
    body = {"name": "asked-for", "rate_pps": 10, "nfs": [{"name": "monitor", "type": "monitor"}]}
    await in_database(lambda: Chain.objects.create(name="asked-for", definition=definition_parse(body)))
    keys = {"job": str(job.pk), "chain": "asked-for", "mptcp_connection": await in_database(_connection_key)}
    answers = {}
    async with connect(f"{server.url}/ws/live/", additional_headers=headers) as socket:
        browser = Follower(socket)
        for name, topic in TOPICS.items():
            full_name = f"{name}:{keys[name]}" if topic.has_key else name
            await browser.subscribe(full_name)
            frame = await browser.frame_of(full_name)
            answers[name] = frame.get("code", frame["type"])
    return answers


@pytest.mark.parametrize("kind", ["session", "active"])
@pytest.mark.parametrize("role", list(Role))
async def test_roles_follow_what_they_may(server: WebServer, kind: str, role: Role) -> None:
    headers = await in_database(_credentials, kind, role.value)
    expected = {
        name: "snapshot" if RANK[role] >= RANK[minimum] else "forbidden"
        for name, minimum in TOPIC_ROLES.items()
    }
    assert await _answers(server, headers) == expected


@pytest.mark.parametrize(
    ("kind", "role", "code"),
    [("session", None, 4403), ("active", None, 4403), ("expired", "admin", 4401), ("revoked", "admin", 4401),
     ("unknown", "admin", 4401), ("none", None, 4401)],
)  # fmt: skip
async def test_the_rest_follows_nothing(server: WebServer, kind: str, role: str | None, code: int) -> None:
    headers = {} if kind == "none" else await in_database(_credentials, kind, role)
    with pytest.raises(ConnectionClosed) as closed:
        await _answers(server, headers)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


async def test_a_person_cannot_pose_as_a_device(server: WebServer) -> None:
    headers = await in_database(_credentials, "active", "admin")
    async with connect(f"{server.url}/ws/agent/", additional_headers=headers) as socket:
        refusal = await socket.recv()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert '"type":"refused"' in str(refusal).replace(" ", "")
