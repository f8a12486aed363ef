"""Agent and portal together: real websockets, real database, real broker."""

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
import redis
from channels.layers import get_channel_layer
from django.conf import settings
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed

from nfvportal.agent.connection import Portal
from nfvportal.agent.roles import ROLES
from nfvportal.agent.runner import Agent, AgentOptions
from nfvportal.events.models import Event
from nfvportal.inventory import consumers, sessions
from nfvportal.inventory.models import DesiredState, Device, Site
from nfvportal.inventory.services import desired_state_set, device_token_rotate
from nfvportal.lib import wire
from nfvportal.reactions import SAMPLES
from nfvportal.southbound.refusals import RefusalBrake
from tests.nfvportal.agent.echo import ECHO
from tests.support.web import WebServer, eventually, in_database, web_serve

pytestmark = pytest.mark.django_db(transaction=True)
HELLO = {
    "type": "hello", "protocol": 1, "device": "gw-a", "version": "0.1.0", "roles": ["test.echo"], "capabilities": {},
    "boot_id": "b1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROLES, "test.echo", ECHO["test.echo"])
    monkeypatch.setitem(SAMPLES, "test.echo", "test.ingest")
    monkeypatch.setattr(consumers, "_brake", RefusalBrake())
    monkeypatch.setattr(consumers, "OFFLINE_GRACE_S", 0.05)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebServer]:
    async with web_serve(tmp_path) as web:
        yield web


@pytest_asyncio.fixture
async def token(tmp_path: Path) -> str:
    def make() -> str:
        site = Site.objects.create(name="branch")
        device = Device.objects.create(name="gw-a", site=site, kind="gateway", roles=["test.echo"])
        return device_token_rotate(device=device, actor=None)

    raw = await in_database(make)
    (tmp_path / "token").write_text(raw + "\n")
    return raw


@contextlib.asynccontextmanager
async def running_agent(server: WebServer, directory: Path) -> AsyncIterator[Agent]:
    options = AgentOptions(
        "gw-a", directory / "token", Portal(server.agent_portal), directory / "agent", ("test.echo",)
    )
    agent = Agent(options, Random(1))
    running = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        agent.stop()
        await running


@contextlib.asynccontextmanager
async def raw_agent(server: WebServer, token: str) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {token}"}
    async with unix_connect(
        str(server.unix_path), "ws://nfvportal/ws/agent/", additional_headers=headers, max_size=None
    ) as socket:
        yield socket


async def _ask(socket: ClientConnection, frame: dict[str, Any] | str | bytes) -> None:
    await socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)


async def _answer(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(10):
        return wire.decode(await socket.recv(), wire.FROM_PORTAL)


def _device() -> Device:
    return Device.objects.get(name="gw-a")


async def _status(status: str) -> None:
    await eventually(lambda: in_database(lambda: Device.objects.filter(status=status).exists()))


def _want(spec: dict[str, Any]) -> DesiredState:
    return desired_state_set(device=_device(), role="test.echo", spec=spec)


async def _applied(revision: int) -> DesiredState:
    def find() -> DesiredState | None:
        return DesiredState.objects.filter(applied_revision=revision).first()

    state = await eventually(lambda: in_database(find))
    assert isinstance(state, DesiredState)
    return state


def _events(event_type: str) -> list[Event]:
    return list(Event.objects.filter(type=event_type).order_by("id"))


async def _event_count(event_type: str, count: int) -> list[Event]:
    await eventually(lambda: in_database(lambda: len(_events(event_type)) >= count))
    return await in_database(_events, event_type)


async def test_from_hello_to_applied_and_reported(server: WebServer, token: str, tmp_path: Path) -> None:
    await in_database(_want, {"events": 3})
    async with running_agent(server, tmp_path):
        state = await _applied(1)
        assert state.is_converged
        echoed = await _event_count("test.echoed", 3)
        assert [event.data["n"] for event in echoed] == [0, 1, 2]
        device = await in_database(_device)
        assert (device.status, device.agent_version) == ("online", "0.1.0")
        assert "kernel" in device.capabilities
        (told,) = await _event_count("test.echo.state", 1)
        assert told.data == {"spec": {"events": 3}}
        await in_database(_want, {"events": 0})
        assert (await _applied(2)).applied_ok
        await in_database(_want, {"refuse": True})
        assert (await _applied(3)).applied_error == "refuse: must be false"
    await _status("offline")
    kinds = await in_database(
        lambda: [event.type for event in Event.objects.filter(type__startswith="inventory")]
    )
    assert kinds == ["inventory.device_offline", "inventory.device_online"]


async def test_agent_remembers_events_and_state_while_the_portal_is_gone(token: str, tmp_path: Path) -> None:
    async with web_serve(tmp_path) as server:
        await in_database(_want, {"events": 1})
        async with running_agent(server, tmp_path):
            await _event_count("test.echoed", 1)
    # The portal is down: the agent of the next life starts on its disk alone and keeps what it wants to say.
    async with running_agent(server, tmp_path) as agent:
        await eventually(lambda: agent._outbox.pending_count >= 1)
        context = agent._context_for("test.echo")
        for index in range(100):
            context.emit("test.kept", {"n": index})
        async with web_serve(tmp_path):
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            kept = await _event_count("test.kept", 100)
            assert [event.data["n"] for event in kept] == list(range(100))
            await eventually(lambda: agent._outbox.pending_count == 0)
            assert loop.time() - started_s < 8
        # And once more on a connection that it had: nothing is told twice.
        context.emit("test.kept", {"n": 100})
        async with web_serve(tmp_path):
            assert len(await _event_count("test.kept", 101)) == 101


async def test_event_told_twice_is_stored_once_and_acknowledged_twice(server: WebServer, token: str) -> None:
    event = {
        "type": "event", "id": 7, "boot_id": "b1", "role": "test.echo", "event": "test.echoed", "at_s": 1.5,
        "data": {"link": "fiber"},
    }  # fmt: skip
    for _ in range(2):
        async with raw_agent(server, token) as socket:
            await _ask(socket, HELLO)
            assert (await _answer(socket))["type"] == "welcome"
            await _ask(socket, event)
            await _ask(socket, event)
            assert await _answer(socket) == await _answer(socket) == {"type": "ack", "id": 7}
    (stored,) = await in_database(_events, "test.echoed")
    assert (stored.subject, stored.source_key, stored.at.timestamp()) == ("fiber", "gw-a:b1:7", 1.5)


@pytest.mark.parametrize(
    ("first", "second", "code", "close_code"),
    [
        ({**HELLO, "protocol": 9}, None, "bad_version", 4426),
        ({**HELLO, "device": "gw-b"}, None, "unknown_device", 4404),
        ("nonsense", None, "malformed", 4400),
        (b"\x00\x01", None, "malformed", 4400),
        (HELLO, '{"type":"event"}', "malformed", 4400),
        (HELLO, HELLO, "malformed", 4400),
        (HELLO, "x" * (wire.MAX_FRAME_BYTES + 1), "oversized", 4413),
    ],
)  # fmt: skip
async def test_refusals_say_why_are_counted_and_leave_no_traceback(
    server: WebServer,
    token: str,
    caplog: pytest.LogCaptureFixture,
    first: Any,
    second: Any,
    code: str,
    close_code: int,
) -> None:
    before = consumers.REFUSED.labels(code)._value.get()
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            async with raw_agent(server, token) as socket:
                await _ask(socket, first)
                if second is not None:
                    assert (await _answer(socket))["type"] == "welcome"
                    await _ask(socket, second)
                refused = await _answer(socket)
                assert (refused["type"], refused["code"]) == ("refused", code)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == close_code
    assert consumers.REFUSED.labels(code)._value.get() == before + 3
    (told,) = await _event_count("inventory.agent_refused", 1)
    assert (told.data["code"], told.severity) == (code, "warning")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("wrong", ["", "nfv_dev_wrong", "nfv_api_x", "é\x7f"])
async def test_wrong_token_is_refused(server: WebServer, token: str, wrong: str) -> None:
    headers = {"Authorization": f"Bearer {wrong}"}
    async with unix_connect(
        str(server.unix_path),
        "ws://nfvportal/ws/agent/",
        additional_headers=headers if wrong.isascii() else {},
    ) as socket:
        assert (await _answer(socket))["code"] == "bad_token"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert await in_database(lambda: _device().status) == "unknown"


async def test_newer_session_replaces_the_older(server: WebServer, token: str) -> None:
    async with raw_agent(server, token) as older:
        await _ask(older, HELLO)
        assert (await _answer(older))["type"] == "welcome"
        async with raw_agent(server, token) as newer:
            await _ask(newer, {**HELLO, "boot_id": "b2"})
            assert (await _answer(newer))["type"] == "welcome"
            assert (await _answer(older))["code"] == "replaced"
            with pytest.raises(ConnectionClosed):
                await older.recv()
            await _ask(newer, {"type": "ping", "at_s": 1})
            assert (await _answer(newer))["type"] == "pong"
            # The end of the older session says nothing about the device.
            await eventually(lambda: in_database(lambda: _device().boot_id == "b2"))
            await asyncio.sleep(consumers.OFFLINE_GRACE_S * 3)
            assert await in_database(lambda: _device().status) == "online"
    await _status("offline")


async def test_rotated_token_ends_the_session(server: WebServer, token: str) -> None:
    async with raw_agent(server, token) as socket:
        await _ask(socket, HELLO)
        assert (await _answer(socket))["type"] == "welcome"
        await in_database(lambda: device_token_rotate(device=_device(), actor=None))
        assert (await _answer(socket))["code"] == "bad_token"


async def test_samples_reach_the_queue_and_unknown_roles_do_not(server: WebServer, token: str) -> None:
    with redis.Redis.from_url(settings.VALKEY_URL) as valkey:
        valkey.delete("telemetry")
        async with raw_agent(server, token) as socket:
            await _ask(socket, HELLO)
            await _answer(socket)
            for role in ("test.echo", "wan.gateway"):
                await _ask(socket, {"type": "samples", "role": role, "columns": {"at_s": [1.0]}})
            await eventually(lambda: valkey.llen("telemetry") == 1)
        (message,) = valkey.lrange("telemetry", 0, -1)
        valkey.delete("telemetry")
    assert json.loads(message)["headers"]["task"] == "test.ingest"
    assert json.loads(message)["headers"]["kwargsrepr"].startswith("{'device': 'gw-a'")


async def test_change_reaches_the_agent_even_when_its_message_is_lost(
    server: WebServer, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "TICK_S", 0.05)
    async with running_agent(server, tmp_path):
        await _status("online")
        # Written behind the services' back: nobody tells the session.
        await in_database(
            lambda: DesiredState.objects.create(
                device=_device(), role="test.echo", spec={"events": 1}, revision=5
            )
        )
        assert (await _applied(5)).applied_ok


async def test_role_given_while_the_agent_is_connected_is_applied(
    server: WebServer, token: str, tmp_path: Path
) -> None:
    await in_database(lambda: Device.objects.update(roles=[]))
    async with running_agent(server, tmp_path):
        await _status("online")
        await in_database(lambda: Device.objects.update(roles=["test.echo"]))
        state = await in_database(lambda: _want({"events": 1}))
        assert (await _applied(state.revision)).applied_ok


async def test_silent_devices_are_swept_and_come_back(server: WebServer, token: str) -> None:
    def age() -> None:
        Device.objects.update(last_seen_at="2020-01-01T00:00:00Z")

    async with raw_agent(server, token) as socket:
        await _ask(socket, HELLO)
        await _answer(socket)
        await _status("online")
        await in_database(age)
        assert await in_database(sessions.devices_sweep) == 1
        assert await in_database(sessions.devices_sweep) == 0
        device = await in_database(_device)
        assert device.status == "offline"
        seen = {"device_id": device.pk, "session_id": device.session_id}
        assert await in_database(lambda: sessions.device_seen(**seen))
        await _status("online")
        assert not await in_database(lambda: sessions.device_seen(device_id=device.pk, session_id="other"))


async def test_session_survives_a_layer_that_forgot_it(server: WebServer, token: str) -> None:
    """Valkey lost its subscriptions: the session itself lives on."""
    async with raw_agent(server, token) as socket:
        await _ask(socket, HELLO)
        await _answer(socket)
        with redis.Redis.from_url(settings.VALKEY_URL) as valkey:
            valkey.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await _ask(socket, {"type": "ping", "at_s": 1})
        assert (await _answer(socket))["type"] == "pong"
        layer = get_channel_layer()
        assert layer is not None
        await layer.group_send(f"none.{secrets.token_hex(4)}", {"type": "nothing"})
