"""Frames between browser and portal on ``/ws/live/``. Pure; malformed input raises ``InvalidInputError`` only."""

import json
from dataclasses import dataclass
from typing import Any, Final

from nfvportal.lib.errors import InvalidInputError

MAX_REQUEST_BYTES: Final = 16_384
MAX_TOPIC_LENGTH: Final = 80
MAX_TOPICS: Final = 32


@dataclass(frozen=True, slots=True)
class Request:
    """What a browser asks for."""

    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()


def decode_request(text: str | bytes) -> Request:
    """Return the request in a message of a browser.

    Raises:
        InvalidInputError: naming the field and the limit.
    """
    if isinstance(text, bytes):
        raise InvalidInputError("frame", "must be text, not binary")
    if len(text) > MAX_REQUEST_BYTES:
        raise InvalidInputError("frame", f"must have at most {MAX_REQUEST_BYTES} characters")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("frame", "must be a JSON object") from error
    if not isinstance(frame, dict):
        raise InvalidInputError("frame", "must be a JSON object")
    if not frame or frame.keys() - {"subscribe", "unsubscribe"}:
        raise InvalidInputError("frame", "must hold subscribe or unsubscribe and nothing else")
    return Request(
        _topics("subscribe", frame.get("subscribe", [])), _topics("unsubscribe", frame.get("unsubscribe", []))
    )


def _topics(field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_TOPICS:
        raise InvalidInputError(field, f"must be a list of at most {MAX_TOPICS} topics")
    for index, topic in enumerate(value):
        if not isinstance(topic, str) or not 0 < len(topic) <= MAX_TOPIC_LENGTH or not topic.isprintable():
            raise InvalidInputError(
                f"{field}[{index}]", f"must be text of 1 to {MAX_TOPIC_LENGTH} characters"
            )
    return tuple(dict.fromkeys(value))


def error_text(topic: str, code: str, message: str) -> str:
    """Return the frame that says why a topic, or a request, is refused."""
    return json.dumps({"type": "error", "topic": topic, "code": code, "message": message})


def ping_text(at_s: float) -> str:
    """Return the frame that shows the stream lives."""
    return f'{{"type":"ping","at_s":{at_s:.3f}}}'


def telemetry_text(topic: str, at_s: float, latest: dict[str, str]) -> str:
    """Return a frame of newest values. It carries no number: losing one does no harm, the next replaces it.

    Args:
        latest: key, as JSON text -> value, as JSON text.
    """
    data = ",".join(f"{key}:{value}" for key, value in latest.items())
    return f'{{"type":"event","topic":{json.dumps(topic)},"event":"telemetry","at_s":{at_s:.3f},"data":{{{data}}}}}'


def snapshot_text(topic: str, seq: int, at_s: float, data: str) -> str:
    """Return the frame of a snapshot; ``data`` is JSON text."""
    return f'{{"type":"snapshot","topic":{json.dumps(topic)},"seq":{seq},"at_s":{at_s:.3f},"data":{data}}}'
