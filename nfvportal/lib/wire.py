"""Frames between agent and portal: JSON text, one object per frame, versioned and limited.

The table ``FRAMES`` is the protocol: every frame type with its fields and what each may hold. Decoding never
raises anything but ``InvalidInputError``, whatever arrives.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from nfvportal.lib.errors import InvalidInputError

PROTOCOL: Final = 1
MAX_FRAME_BYTES: Final = 262_144
MAX_SAMPLE_ROWS: Final = 4096
MAX_COLUMNS: Final = 64
MAX_ROLES: Final = 32
MAX_DEPTH: Final = 32

Frame = dict[str, Any]
Check = Callable[[str, object], None]


def _text(limit: int, *, empty: bool = False) -> Check:
    def check(field: str, value: object) -> None:
        if not isinstance(value, str) or len(value) > limit or (not value and not empty) or "\x00" in value:
            raise InvalidInputError(
                field, f"must be text of {0 if empty else 1} to {limit} characters without NUL"
            )

    return check


def _number(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInputError(field, "must be a finite number")


def _count(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise InvalidInputError(field, "must be a whole number from 0 to 2^53 - 1")


def _flag(field: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidInputError(field, "must be true or false")


def _object(field: str, value: object) -> None:
    if not isinstance(value, dict):
        raise InvalidInputError(field, "must be an object")


def _text_or_null(field: str, value: object) -> None:
    if value is not None:
        _text(2000, empty=True)(field, value)


def _roles(field: str, value: object) -> None:
    if not isinstance(value, list) or len(value) > MAX_ROLES:
        raise InvalidInputError(field, f"must be a list of at most {MAX_ROLES} role names")
    for index, role in enumerate(value):
        _text(64)(f"{field}[{index}]", role)


def _columns(field: str, value: object) -> None:
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_COLUMNS:
        raise InvalidInputError(field, f"must be an object of 1 to {MAX_COLUMNS} columns")
    lengths = set()
    for name, column in value.items():
        if not isinstance(column, list) or len(column) > MAX_SAMPLE_ROWS:
            raise InvalidInputError(f"{field}.{name}", f"must be a list of at most {MAX_SAMPLE_ROWS} values")
        lengths.add(len(column))
    if len(lengths) != 1:
        raise InvalidInputError(field, "must all have the same length")


# Type -> field -> what it may hold. All fields are required; unknown fields are refused.
FRAMES: Final[Mapping[str, Mapping[str, Check]]] = {
    "hello": {
        "protocol": _count,
        "device": _text(64),
        "version": _text(64),
        "roles": _roles,
        "capabilities": _object,
        "boot_id": _text(64),
    },
    "welcome": {"heartbeat_s": _number},
    "refused": {"code": _text(32), "reason": _text(2000)},
    "desired": {"role": _text(64), "revision": _count, "spec": _object},
    "applied": {"role": _text(64), "revision": _count, "ok": _flag, "error": _text_or_null},
    "event": {
        "id": _count,
        "boot_id": _text(64),
        "role": _text(64),
        "event": _text(64),
        "at_s": _number,
        "data": _object,
    },
    "ack": {"id": _count},
    "samples": {"role": _text(64), "columns": _columns},
    "ping": {"at_s": _number},
    "pong": {"at_s": _number},
}
FROM_AGENT: Final = frozenset({"hello", "applied", "event", "samples", "ping", "pong"})
FROM_PORTAL: Final = frozenset({"welcome", "refused", "desired", "ack", "ping", "pong"})


def encode(frame: Mapping[str, object]) -> str:
    """Return a frame as compact JSON text.

    Raises:
        InvalidInputError: the frame is larger than ``MAX_FRAME_BYTES`` or holds what JSON cannot.
    """
    try:
        text = json.dumps(frame, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError("frame", f"must be JSON: {error}") from error
    if len(text) > MAX_FRAME_BYTES:
        raise InvalidInputError("frame", f"must be at most {MAX_FRAME_BYTES} bytes, is {len(text)}")
    return text


def decode(text: str | bytes, allowed: frozenset[str]) -> Frame:
    """Return the frame in ``text``, checked against ``FRAMES``.

    Args:
        text: what arrived.
        allowed: the types this side accepts, ``FROM_AGENT`` or ``FROM_PORTAL``.

    Raises:
        InvalidInputError: naming the field and the limit.
    """
    size_bytes = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size_bytes > MAX_FRAME_BYTES:
        raise InvalidInputError("frame", f"must be at most {MAX_FRAME_BYTES} bytes, is {size_bytes}")
    try:
        frame = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("frame", "must be a JSON object") from error
    if not isinstance(frame, dict):
        raise InvalidInputError("frame", "must be a JSON object")
    _check_values(frame)
    kind = frame.get("type")
    if not isinstance(kind, str) or kind not in allowed:
        raise InvalidInputError("type", f"must be one of {', '.join(sorted(allowed))}")
    fields = FRAMES[kind]
    if unknown := frame.keys() - fields.keys() - {"type"}:
        raise InvalidInputError(min(unknown)[:64], f"is not a field of {kind}")
    for field, check in fields.items():
        if field not in frame:
            raise InvalidInputError(field, f"is required in {kind}")
        check(field, frame[field])
    return frame


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_values(frame: Frame) -> None:
    """Refuse what Postgres could not store: NUL and lone surrogates in text, and nesting beyond ``MAX_DEPTH``."""
    pending: list[tuple[object, int]] = [(frame, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise InvalidInputError("frame", f"must be nested at most {MAX_DEPTH} deep")
        if isinstance(value, str):
            if "\x00" in value or not _is_unicode(value):
                raise InvalidInputError("frame", "must hold text without NUL and lone surrogates")
        elif isinstance(value, float):
            _number("frame", value)
        elif isinstance(value, dict):
            pending.extend((key, depth + 1) for key in value)
            pending.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            pending.extend((item, depth + 1) for item in value)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
