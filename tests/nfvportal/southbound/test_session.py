"""The portal's side of an agent session: every state, every refusal, nothing that arrives breaks it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nfvportal.lib import wire
from nfvportal.southbound.refusals import MAX_SOURCES, PERIOD_S, RefusalBrake
from nfvportal.southbound.session import (
    HEARTBEAT_S,
    HELLO_WITHIN_S,
    SILENT_BEATS,
    Close,
    ForwardSamples,
    GoOnline,
    Identity,
    Ignore,
    LoadDesired,
    Refuse,
    Seen,
    Send,
    Session,
    SessionState,
    StoreApplied,
    StoreEvent,
)

GW_A = Identity("gw-a", frozenset({"wan.gateway"}))
HELLO = {
    "type": "hello", "protocol": 1, "device": "gw-a", "version": "0.1.0", "roles": ["wan.gateway"],
    "capabilities": {"mptcp": True}, "boot_id": "b1",
}  # fmt: skip
EVENT = {
    "type": "event", "id": 17, "boot_id": "b1", "role": "wan.gateway", "event": "wan.link_failed", "at_s": 1.0,
    "data": {},
}  # fmt: skip


def _open(now_s: float = 0.0) -> Session:
    session = Session(GW_A, now_s)
    assert session.start() == ()
    session.received(json.dumps(HELLO), now_s)
    assert session.state == SessionState.OPEN
    return session


def _code(actions: tuple[Any, ...]) -> str:
    (refusal,) = actions
    assert isinstance(refusal, Refuse)
    assert wire.decode(wire.encode(refusal.frame), wire.FROM_PORTAL)["code"] == refusal.code
    assert 4400 <= refusal.close_code < 4500
    return refusal.code


def test_hello_of_the_tokens_device_opens() -> None:
    session = Session(GW_A, 0.0)
    online, welcome, load = session.received(json.dumps(HELLO), 0.1)
    assert online == GoOnline("0.1.0", "b1", {"mptcp": True})
    assert welcome == Send({"type": "welcome", "heartbeat_s": HEARTBEAT_S})
    assert load == LoadDesired()
    assert session.desired([("wan.gateway", 3, {"a": 1})]) == (
        Send({"type": "desired", "role": "wan.gateway", "revision": 3, "spec": {"a": 1}}),
    )


def test_wrong_token_is_refused_before_anything_is_read() -> None:
    session = Session(None, 0.0)
    assert _code(session.start()) == "bad_token"
    assert session.received(json.dumps(HELLO), 0.0) == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (json.dumps({**HELLO, "protocol": 2}), "bad_version"),
        (json.dumps({**HELLO, "device": "gw-b"}), "unknown_device"),
        (json.dumps(EVENT), "malformed"),
        ("not json", "malformed"),
        ("[" * 100_000, "malformed"),
        (b"\x00\xff", "malformed"),
        ("x" * (wire.MAX_FRAME_BYTES + 1), "oversized"),
        ("é" * (wire.MAX_FRAME_BYTES // 2 + 1), "oversized"),
    ],
)
def test_what_is_refused_instead_of_hello(text: str | bytes, code: str) -> None:
    session = Session(GW_A, 0.0)
    assert _code(session.received(text, 0.0)) == code
    assert session.received(json.dumps(HELLO), 0.0) == ()


def test_silence_instead_of_hello_is_refused() -> None:
    session = Session(GW_A, 0.0)
    assert session.tick(HELLO_WITHIN_S) == ()
    assert _code(session.tick(HELLO_WITHIN_S + 0.1)) == "malformed"


def test_event_is_acknowledged_only_after_its_commit() -> None:
    session = _open()
    assert session.received(json.dumps(EVENT), 1.0) == (StoreEvent(EVENT),)
    assert session.committed(17) == (Send({"type": "ack", "id": 17}),)


@pytest.mark.parametrize(
    "change",
    [{"role": "wan.host"}, {"event": "inventory.device_offline"}, {"event": "wan"}, {"event": "wanton.x"}],
)
def test_a_device_cannot_speak_for_others(change: dict[str, str]) -> None:
    ignored, ack = _open().received(json.dumps({**EVENT, **change}), 1.0)
    assert isinstance(ignored, Ignore)
    assert ack == Send({"type": "ack", "id": 17})


def test_samples_applied_and_pings() -> None:
    session = _open()
    samples = {"type": "samples", "role": "wan.gateway", "columns": {"at_s": [1.0]}}
    assert session.received(json.dumps(samples), 1.0) == (ForwardSamples("wan.gateway", {"at_s": [1.0]}),)
    applied = {"type": "applied", "role": "wan.gateway", "revision": 3, "ok": True, "error": None}
    assert session.received(json.dumps(applied), 1.0) == (StoreApplied(applied),)
    assert session.received('{"type":"ping","at_s":5}', 1.0) == (Send({"type": "pong", "at_s": 5}),)
    assert session.received('{"type":"pong","at_s":5}', 1.0) == ()


def test_roles_given_and_taken_while_connected_count() -> None:
    session = _open()
    other = json.dumps({**EVENT, "role": "mptcp.collector", "event": "mptcp.collector.state"})
    assert not any(isinstance(action, StoreEvent) for action in session.received(other, 0.0))
    session.roles_are(frozenset({"mptcp.collector"}))
    assert any(isinstance(action, StoreEvent) for action in session.received(other, 0.0))
    assert not any(isinstance(action, StoreEvent) for action in session.received(json.dumps(EVENT), 0.0))


def test_device_is_seen_once_per_heartbeat() -> None:
    session = _open()
    ping = '{"type":"ping","at_s":5}'
    seen = [now_s for now_s in range(30) if Seen() in session.received(ping, float(now_s))]
    assert seen == [5, 10, 15, 20, 25]


def test_silence_closes() -> None:
    session = _open()
    limit_s = SILENT_BEATS * HEARTBEAT_S
    assert session.tick(limit_s) == ()
    (close,) = session.tick(limit_s + 0.1)
    assert isinstance(close, Close)
    assert session.tick(limit_s + 9) == ()


@pytest.mark.parametrize(("end", "code"), [("replaced", "replaced"), ("token_rotated", "bad_token")])
def test_endings_from_the_portal(end: str, code: str) -> None:
    session = _open()
    assert _code(getattr(session, end)()) == code
    assert getattr(session, end)() == ()
    assert session.committed(1) == session.desired([("wan.gateway", 1, {})]) == ()


class AnySession(RuleBasedStateMachine):
    """Whatever arrives in whatever order, a closed session stays silent and an open one never raises."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(GW_A, 0.0)
        self.now_s = 0.0
        self.refusals = 0

    def _took(self, was_closed: bool, actions: tuple[Any, ...]) -> None:
        assert not (was_closed and actions)
        self.refusals += sum(isinstance(action, Refuse | Close) for action in actions)

    @rule(text=st.text() | st.binary() | st.sampled_from([json.dumps(frame) for frame in (HELLO, EVENT)]))
    def receive(self, text: str | bytes) -> None:
        was_closed = self.session.state == SessionState.CLOSED
        self._took(was_closed, self.session.received(text, self.now_s))

    @rule(step_s=st.floats(0, 20))
    def tick(self, step_s: float) -> None:
        self.now_s += step_s
        was_closed = self.session.state == SessionState.CLOSED
        self._took(was_closed, self.session.tick(self.now_s))

    @rule()
    def replace(self) -> None:
        was_closed = self.session.state == SessionState.CLOSED
        self._took(was_closed, self.session.replaced())

    @invariant()
    def ends_once(self) -> None:
        assert self.refusals == (self.session.state == SessionState.CLOSED)


TestAnySession = AnySession.TestCase


def test_brake_tells_once_per_period_and_counts_the_rest() -> None:
    brake = RefusalBrake()
    assert [brake.admit("a", "bad_token", float(now_s)) for now_s in range(5)] == [0, None, None, None, None]
    assert brake.admit("b", "bad_token", 5.0) == 0
    assert brake.admit("a", "bad_token", PERIOD_S) == 4


@given(st.lists(st.tuples(st.text(max_size=5), st.floats(0, 1e6)), max_size=50))
def test_brake_never_raises(calls: list[tuple[str, float]]) -> None:
    brake = RefusalBrake()
    for source, now_s in calls:
        brake.admit(source, "malformed", now_s)


def test_brake_is_bounded() -> None:
    brake = RefusalBrake()
    for index in range(MAX_SOURCES * 2):
        brake.admit(str(index), "bad_token", 0.0)
    assert len(brake._told) == MAX_SOURCES
