"""Driver ``openflow``: tells a switch its groups over OpenFlow 1.3, on a connection that the switch listens for.

Each change is one short conversation: read what is there, send the difference, wait for the barrier. Entries of others
are neither read nor touched: ours have a cookie and group numbers of their own.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_address
from typing import Final, TypeVar

from apps.chains.engine.openflow import (
    VERSION,
    BarrierReply,
    BarrierRequest,
    EchoReply,
    EchoRequest,
    Error,
    FeaturesReply,
    FeaturesRequest,
    FlowEntry,
    FlowStatsReply,
    FlowStatsRequest,
    GroupDescReply,
    GroupDescRequest,
    GroupEntry,
    Hello,
    Message,
    PortDescReply,
    PortDescRequest,
)
from apps.chains.engine.openflow_codec import Stream, encode
from apps.chains.engine.openflow_steering import (
    COOKIE_MASK,
    COOKIE_PREFIX,
    Change,
    error_words,
    steering_changes,
    steering_held,
)
from apps.chains.engine.openflow_structs import Port
from nfvportal.lib.errors import InvalidInputError

ANSWER_WITHIN_S: Final = 10.0
UNIX_PATH_MAX: Final = 107
_RECEIVE_BYTES: Final = 1 << 16
_TCP = re.compile(r"tcp:(\[[0-9a-fA-F:]+\]|[0-9.]+):([0-9]{1,5})")
ReplyT = TypeVar("ReplyT", bound=FlowStatsReply | GroupDescReply | PortDescReply)


class SwitchError(Exception):
    """The conversation failed; the message says how."""


def check_connection(connection: object) -> None:
    """Check ``unix:/path`` or ``tcp:address:port``.

    Raises:
        InvalidInputError: it is neither.
    """
    if not isinstance(connection, str):
        raise InvalidInputError("connection", "must be text")
    if connection.startswith("unix:/") and len(connection.encode()) <= UNIX_PATH_MAX + len("unix:"):
        return
    found = _TCP.fullmatch(connection)
    try:
        if found and 0 < int(found[2]) < 65_536:
            ip_address(found[1].strip("[]"))
            return
    except ValueError:
        pass
    raise InvalidInputError("connection", "must be unix:/path or tcp:address:port, e.g. tcp:127.0.0.1:6653")


class Conversation:
    """One connection to a switch, greeted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._messages = self._read()
        self._xid = 0

    def send(self, message: Message) -> int:
        """Send a message; return its transaction number."""
        self._xid += 1
        self._writer.write(encode(message, self._xid))
        return self._xid

    async def _read(self) -> AsyncIterator[tuple[int, Message]]:
        stream = Stream()
        while data := await self._reader.read(_RECEIVE_BYTES):
            try:
                messages = list(stream.feed(data))
            except InvalidInputError as error:
                raise SwitchError(f"this is not OpenFlow 1.3: {error}") from error
            for xid, message in messages:
                if isinstance(message, EchoRequest):
                    self._writer.write(encode(EchoReply(message.data), xid))
                else:
                    yield xid, message
        raise SwitchError("the switch closed the connection")

    async def greet(self) -> None:
        """Agree on OpenFlow 1.3."""
        self.send(Hello(frozenset({VERSION})))
        async for _, message in self._messages:
            if isinstance(message, Error):
                said = message.data.split(b"\0")[0].decode(errors="replace")
                raise SwitchError(
                    f"the switch refused: {error_words(message.type, message.code)} {said}".strip()
                )
            if isinstance(message, Hello):
                versions = message.versions or set(range(1, message.header_version + 1))
                if VERSION not in versions:
                    raise SwitchError("the switch does not speak OpenFlow 1.3")
                return

    async def features(self) -> FeaturesReply:
        """Return who the switch is."""
        wanted = self.send(FeaturesRequest())
        async for xid, message in self._messages:
            if xid == wanted and isinstance(message, FeaturesReply):
                return message
            _raise_error(xid, wanted, message)
        raise AssertionError("reading ends by an exception")

    async def parts(self, request: Message, kind: type[ReplyT]) -> list[ReplyT]:
        """Return all parts of the answer to a request."""
        wanted = self.send(request)
        found: list[ReplyT] = []
        async for xid, message in self._messages:
            if xid == wanted and isinstance(message, kind):
                found.append(message)
                if not message.has_more:
                    break
            _raise_error(xid, wanted, message)
        return found

    async def change(self, changes: list[Change]) -> list[tuple[Change, Error]]:
        """Send changes, wait until all are done; return those that were refused."""
        sent = {self.send(change.message): change for change in changes}
        barrier = self.send(BarrierRequest())
        refused = []
        async for xid, message in self._messages:
            if isinstance(message, Error) and xid in sent:
                refused.append((sent[xid], message))
            if isinstance(message, BarrierReply) and xid == barrier:
                break
        return refused


def _raise_error(xid: int, wanted: int, message: Message) -> None:
    if xid == wanted and isinstance(message, Error):
        raise SwitchError(f"the switch refused: {error_words(message.type, message.code)}")


async def _entries(
    talk: Conversation,
) -> tuple[list[FlowEntry], list[GroupEntry], list[Port]]:
    """Return the switch's flow entries with a cookie of ours, all its groups and its ports."""
    asked = FlowStatsRequest(COOKIE_PREFIX, COOKIE_MASK)
    flows = [flow for part in await talk.parts(asked, FlowStatsReply) for flow in part.flows]
    groups = [group for part in await talk.parts(GroupDescRequest(), GroupDescReply) for group in part.groups]
    ports = [port for part in await talk.parts(PortDescRequest(), PortDescReply) for port in part.ports]
    return flows, groups, ports


class OpenFlow:
    """A switch that speaks OpenFlow 1.3 at ``connection``."""

    name = "openflow"

    def __init__(self, connection: str) -> None:
        self._connection = connection

    @contextlib.asynccontextmanager
    async def _talk(self) -> AsyncIterator[Conversation]:
        """Connect and greet; whatever goes wrong on the way is an ``InvalidInputError``."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await self._connect()
                conversation = Conversation(reader, writer)
                await conversation.greet()
                yield conversation
        except TimeoutError as error:
            raise InvalidInputError("connection", f"no answer within {ANSWER_WITHIN_S:.0f} s") from error
        except (OSError, SwitchError) as error:
            raise InvalidInputError("connection", f"{self._connection}: {error}") from error
        finally:
            if writer is not None:
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection.startswith("unix:"):
            return await asyncio.open_unix_connection(self._connection.removeprefix("unix:"))
        host, _, port = self._connection.removeprefix("tcp:").rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Send the difference between what the switch holds and what it shall hold.

        Raises:
            InvalidInputError: the switch cannot be reached, or refused an entry: with its words.
        """
        async with self._talk() as talk:
            changes = steering_changes(groups, *await _entries(talk))
            refused = await talk.change(changes) if changes else []
        for change, error in refused:
            at = f"groups.{change.mac}" if change.mac else "groups"
            raise InvalidInputError(at, f"the switch refused it: {error_words(error.type, error.code)}")

    async def held(self) -> dict[str, frozenset[str]]:
        """Return group address -> ports, as the switch has it."""
        async with self._talk() as talk:
            return steering_held(*await _entries(talk))

    async def probe(self) -> str:
        """Return ``ok``, or why no switch can be spoken to."""
        try:
            async with self._talk() as talk:
                await talk.features()
        except InvalidInputError as error:
            return error.limit
        return "ok"
