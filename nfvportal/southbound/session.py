"""Machine of one agent's session, on the portal's side.

=========  ==================================  ==========  ==================================================
state      event                               next        actions
=========  ==================================  ==========  ==================================================
greeting   hello of the token's own device     open        GoOnline, Send welcome, LoadDesired
greeting   anything else, or silence           closed      Refuse
open       event of an own role                open        StoreEvent (acknowledged by ``committed``)
open       event of a foreign role             open        Ignore, Send ack: it would come again for ever
open       samples of an own role              open        ForwardSamples
open       applied                             open        StoreApplied
open       ping                                open        Send pong
open       broken or oversized frame           closed      Refuse
open       silence of ``SILENT_BEATS`` beats   closed      Close
any        replaced, token rotated             closed      Refuse
closed     anything                            closed      nothing
=========  ==================================  ==========  ==================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal

from nfvportal.lib import wire
from nfvportal.lib.errors import InvalidInputError
from nfvportal.lib.wire import Frame

HEARTBEAT_S: Final = 5.0
HELLO_WITHIN_S: Final = 5.0
SILENT_BEATS: Final = 3
NORMAL_CLOSE: Final = 1000
SILENT_CLOSE: Final = 4408

RefusalCode = Literal["bad_token", "unknown_device", "bad_version", "malformed", "oversized", "replaced"]
CLOSE_CODES: Final[dict[RefusalCode, int]] = {
    "malformed": 4400,
    "bad_token": 4401,
    "unknown_device": 4404,
    "replaced": 4409,
    "oversized": 4413,
    "bad_version": 4426,
}


class SessionState(StrEnum):
    """Where a session stands."""

    GREETING = "greeting"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose token it was: the device's name and the roles the inventory gives it."""

    device: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Refuse:
    """Log, count and tell the refusal, send it, close."""

    code: RefusalCode
    reason: str

    @property
    def close_code(self) -> int:
        """The websocket close code."""
        return CLOSE_CODES[self.code]

    @property
    def frame(self) -> Frame:
        """The frame that says why."""
        return {"type": "refused", "code": self.code, "reason": self.reason[:2000]}


@dataclass(frozen=True, slots=True)
class Close:
    """Close without a refusal."""

    close_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class GoOnline:
    """The device is here: note version, capabilities and boot."""

    version: str
    boot_id: str
    capabilities: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadDesired:
    """Send the device everything it should make true."""


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """Commit an event, then call ``committed``."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class StoreApplied:
    """Note how far the device is."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class ForwardSamples:
    """Hand samples to whoever takes this role's."""

    role: str
    columns: dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Ignore:
    """Count and log something that is valid but not this device's to say."""

    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The device lives; at most once per heartbeat."""


Action = (
    Send
    | Refuse
    | Close
    | GoOnline
    | LoadDesired
    | StoreEvent
    | StoreApplied
    | ForwardSamples
    | Ignore
    | Seen
)


class Session:
    """One session of one agent.

    Args:
        identity: whose token came with the connection; ``None`` when it is nobody's.
        now_s: the time of the connection, of any steady clock.
    """

    def __init__(self, identity: Identity | None, now_s: float) -> None:
        self._identity = identity
        self._state = SessionState.GREETING
        self._heard_at_s = now_s
        self._seen_at_s = now_s

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._state

    def start(self) -> tuple[Action, ...]:
        """Decide on the token that came with the connection."""
        if self._identity is None:
            return self._refuse("bad_token", "the token is unknown, or was rotated")
        return ()

    def received(self, text: str | bytes, now_s: float) -> tuple[Action, ...]:
        """Handle one websocket message, whatever it holds."""
        if self._state == SessionState.CLOSED:
            return ()
        self._heard_at_s = now_s
        size_bytes = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
        if size_bytes > wire.MAX_FRAME_BYTES:
            limit = f"a frame may have {wire.MAX_FRAME_BYTES} bytes"
            return self._refuse("oversized", f"{limit}; this one has {size_bytes}")
        if isinstance(text, bytes):
            return self._refuse("malformed", "frames are text, not binary")
        try:
            frame = wire.decode(text, wire.FROM_AGENT)
        except InvalidInputError as error:
            return self._refuse("malformed", str(error))
        if self._state == SessionState.GREETING:
            return self._greet(frame, now_s)
        return self._seen(now_s) + self._handle(frame)

    def tick(self, now_s: float) -> tuple[Action, ...]:
        """Notice silence. Call about once a second."""
        silent_s = now_s - self._heard_at_s
        if self._state == SessionState.GREETING and silent_s > HELLO_WITHIN_S:
            return self._refuse("malformed", f"no hello within {HELLO_WITHIN_S:g} s")
        if self._state == SessionState.OPEN and silent_s > SILENT_BEATS * HEARTBEAT_S:
            self._state = SessionState.CLOSED
            return (Close(SILENT_CLOSE, f"silent for {silent_s:.0f} s"),)
        return ()

    def committed(self, event_id: int) -> tuple[Action, ...]:
        """Acknowledge an event that is in the database."""
        if self._state != SessionState.OPEN:
            return ()
        return (Send({"type": "ack", "id": event_id}),)

    def desired(self, states: Sequence[tuple[str, int, dict[str, Any]]]) -> tuple[Action, ...]:
        """Send desired states, each ``(role, revision, spec)``."""
        if self._state != SessionState.OPEN:
            return ()
        return tuple(
            Send({"type": "desired", "role": role, "revision": revision, "spec": spec})
            for role, revision, spec in states
        )

    def roles_are(self, roles: frozenset[str]) -> None:
        """Take the roles that the inventory gives the device now: people change them while it is connected."""
        if self._identity is not None:
            self._identity = replace(self._identity, roles=roles)

    def replaced(self) -> tuple[Action, ...]:
        """Give way to a newer session of the same device."""
        return self._refuse("replaced", "a newer session of this device took over")

    def token_rotated(self) -> tuple[Action, ...]:
        """End the session: its token is no longer good."""
        return self._refuse("bad_token", "the token was rotated")

    def closed(self) -> None:
        """Note that the connection is gone."""
        self._state = SessionState.CLOSED

    def snapshot(self) -> dict[str, Any]:
        """Return the state for logs."""
        device = self._identity.device if self._identity else None
        return {"state": self._state.value, "device": device, "heard_at_s": self._heard_at_s}

    def _refuse(self, code: RefusalCode, reason: str) -> tuple[Action, ...]:
        if self._state == SessionState.CLOSED:
            return ()
        self._state = SessionState.CLOSED
        return (Refuse(code, reason),)

    def _greet(self, frame: Frame, now_s: float) -> tuple[Action, ...]:
        assert self._identity is not None
        if frame["type"] != "hello":
            return self._refuse("malformed", f"the first frame must be hello, not {frame['type']}")
        if frame["protocol"] != wire.PROTOCOL:
            return self._refuse("bad_version", f"this portal speaks protocol {wire.PROTOCOL}")
        if frame["device"] != self._identity.device:
            return self._refuse("unknown_device", "the token is not that of a device of this name")
        self._state = SessionState.OPEN
        self._seen_at_s = now_s
        online = GoOnline(frame["version"], frame["boot_id"], frame["capabilities"])
        return (online, Send({"type": "welcome", "heartbeat_s": HEARTBEAT_S}), LoadDesired())

    def _handle(self, frame: Frame) -> tuple[Action, ...]:
        kind = frame["type"]
        if kind == "ping":
            return (Send({"type": "pong", "at_s": frame["at_s"]}),)
        if kind == "pong":
            return ()
        if kind == "hello":
            return self._refuse("malformed", "hello may come once")
        role = frame["role"]
        if not self._may_speak(role, frame["event"] if kind == "event" else role):
            ignored = Ignore(f"{kind} {frame.get('event', '')} of role {role} is not this device's to send")
            return (ignored, Send({"type": "ack", "id": frame["id"]})) if kind == "event" else (ignored,)
        if kind == "event":
            return (StoreEvent(frame),)
        if kind == "samples":
            return (ForwardSamples(role, frame["columns"]),)
        return (StoreApplied(frame),)

    def _may_speak(self, role: str, event: str) -> bool:
        """A device speaks for the roles the inventory gives it, and only within the role's own area."""
        assert self._identity is not None
        area = role.partition(".")[0]
        return role in self._identity.roles and event.startswith(area + ".")

    def _seen(self, now_s: float) -> tuple[Action, ...]:
        if now_s - self._seen_at_s < HEARTBEAT_S:
            return ()
        self._seen_at_s = now_s
        return (Seen(),)
