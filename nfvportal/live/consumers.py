"""``/ws/live/``: checks who a browser is and what it may follow, then connects it to the hub.

A plain ASGI application: Channels' consumer would open a mailbox in Valkey per browser and hop through a thread per
message; the hub makes both unnecessary.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from channels.db import DatabaseSyncToAsync
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.http.request import split_domain_port, validate_host
from django.utils.crypto import constant_time_compare
from prometheus_client import Counter

from nfvportal.accounts.access import Role, has_role, role_of
from nfvportal.accounts.services import user_for_token
from nfvportal.lib.errors import InvalidInputError
from nfvportal.live.client import Client
from nfvportal.live.frames import MAX_TOPICS, decode_request, error_text
from nfvportal.live.hub import Hub, hub_get
from nfvportal.live.topics import topic_find

logger = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHECK_AGAIN_S: Final = 30.0
MAX_MALFORMED: Final = 10
CLOSE_MALFORMED: Final = 4400
CLOSE_STRANGER: Final = 4401
CLOSE_FORBIDDEN: Final = 4403

REFUSED = Counter("nfvportal_live_refused", "Live websockets refused, by reason", ["reason"])

_pool = ThreadPoolExecutor(4, thread_name_prefix="live-access")


class LiveConsumer:
    """One browser's websocket."""

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._malformed_count = 0

    @classmethod
    def as_asgi(cls) -> Callable[[dict[str, Any], Receive, Send], Awaitable[None]]:
        """Return the ASGI application that serves one websocket per call."""

        async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await cls(scope, receive, send).serve()

        return application

    async def serve(self) -> None:
        """Serve the websocket from its connect to its disconnect."""
        await self._receive()  # websocket.connect
        if not origin_is_ours(self._scope):
            REFUSED.labels("origin").inc()
            await self._close(CLOSE_FORBIDDEN)  # before the accept: the browser sees a 403
            return
        user = await self._user()
        await self._send({"type": "websocket.accept"})
        if user is None or not has_role(user, Role.VIEWER):
            REFUSED.labels("stranger" if user is None else "role").inc()
            await self._close(CLOSE_STRANGER if user is None else CLOSE_FORBIDDEN)
            return
        hub = hub_get()
        client = Client(user, self._send_text, hub.resync)
        hub.join(client)
        tasks = [asyncio.create_task(client.run()), asyncio.create_task(self._check_again(client))]
        try:
            while (message := await self._receive())["type"] != "websocket.disconnect":
                await self._handle(hub, client, message)
        finally:
            for task in tasks:
                task.cancel()
            hub.leave(client)
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _handle(self, hub: Hub, client: Client, message: Message) -> None:
        try:
            text = message.get("text")
            request = decode_request(text if text is not None else message.get("bytes") or b"")
        except InvalidInputError as error:
            self._malformed_count += 1
            client.offer(error_text("", "malformed", str(error)))
            if self._malformed_count > MAX_MALFORMED:
                await self._close(CLOSE_MALFORMED)
            return
        for topic in request.unsubscribe:
            hub.unfollow(client, topic)
        for topic in request.subscribe:
            self._follow(hub, client, topic)

    def _follow(self, hub: Hub, client: Client, topic: str) -> None:
        row = topic_find(topic)
        if row is None:
            client.offer(error_text(topic, "unknown_topic", "there is no such topic"))
        elif not has_role(client.user, row.min_role):
            client.offer(error_text(topic, "forbidden", f"this needs the role {row.min_role.value}"))
        elif topic not in client.topics and len(client.topics) >= MAX_TOPICS:
            client.offer(error_text(topic, "too_many", f"at most {MAX_TOPICS} topics at a time"))
        else:
            hub.follow(client, topic)

    async def _check_again(self, client: Client) -> None:
        """End the stream of a user who logged out, lost the role, or whose token ended."""
        while True:
            await asyncio.sleep(CHECK_AGAIN_S)
            try:
                user = await self._user_again()
            except Exception as error:  # the database may be away; access is not lost by that
                logger.warning("could not check a live user again: %s", error)
                continue
            if user is None or role_of(user) != role_of(client.user):
                await self._close(CLOSE_STRANGER if user is None else CLOSE_FORBIDDEN)
                return

    async def _user(self) -> User | None:
        if token := self._token():
            return await _in_thread(_user_of_token, token)
        user = self._scope.get("user")
        return await _in_thread(_with_role, user) if isinstance(user, User) and user.is_active else None

    async def _user_again(self) -> User | None:
        if token := self._token():
            return await _in_thread(_user_of_token, token)
        return await _in_thread(_user_of_session, self._scope["session"].session_key)

    def _token(self) -> str:
        scheme, _, raw = _header(self._scope, b"authorization").partition(" ")
        return raw.strip() if scheme.lower() == "bearer" else ""

    async def _send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _close(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code})


def origin_is_ours(scope: dict[str, Any]) -> bool:
    """Whether a page of this portal opened the websocket; programs send no origin and bring a token or cookie."""
    origin = _header(scope, b"origin")
    if not origin or origin in settings.PORTAL_ORIGINS:
        return True
    host = _header(scope, b"host")
    domain, _ = split_domain_port(host)
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS) and netloc == host


def _header(scope: dict[str, Any], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name), "")


async def _in_thread(function: Callable[[Any], User | None], argument: object) -> User | None:
    user: User | None = await DatabaseSyncToAsync(function, thread_sensitive=False, executor=_pool)(argument)
    return user


def _with_role(user: User) -> User:
    role_of(user)  # asks the database once and remembers
    return user


def _user_of_token(raw: str) -> User | None:
    user = user_for_token(raw)
    return _with_role(user) if user is not None else None


def _user_of_session(session_key: str | None) -> User | None:
    """Return the user of a session that is still good: not logged out, not expired, password not changed."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = User.objects.filter(pk=session.get(SESSION_KEY), is_active=True).first()
    if user is None or not constant_time_compare(
        session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()
    ):
        return None
    return _with_role(user)
