"""Between rows and the engine's values: the one file that knows both."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from apps.mptcp.engine.records import address_halves, address_text
from apps.mptcp.engine.values import Connection as EngineConnection
from apps.mptcp.engine.values import Evidence as EngineEvidence
from apps.mptcp.engine.values import FlowKey, SubflowState
from apps.mptcp.engine.values import Subflow as EngineSubflow
from apps.mptcp.models import Connection, ConnectionState, Evidence, Subflow
from apps.mptcp.point_log import Point
from nfvportal.lib.errors import InvalidInputError

WORDS_LENGTH: Final = 500


def flow_key(src: str, src_port: int, dst: str, dst_port: int) -> FlowKey:
    """Return a 4-tuple as the engine writes it: addresses in their short form, the lower end first.

    Raises:
        InvalidInputError: an address is none, or a port is out of range.

    >>> flow_key("10.0.0.2", 80, "10.0.0.1", 5000)
    FlowKey(a='10.0.0.1', a_port=5000, b='10.0.0.2', b_port=80)
    """
    ends = sorted((_end("src", src, src_port), _end("dst", dst, dst_port)))
    (_, _, a_port, a), (_, _, b_port, b) = ends
    return FlowKey(a, a_port, b, b_port)


def _end(name: str, address: str, port: int) -> tuple[int, int, int, str]:
    if not 0 <= port <= 65535:
        raise InvalidInputError(f"{name}_port", "must be from 0 to 65535")
    try:
        high, low = address_halves(address)
    except ValueError as error:
        raise InvalidInputError(name, "must be an IPv4 or IPv6 address") from error
    return high, low, port, address_text(high, low)


def connection_state(value: EngineConnection) -> str:
    """Return the state that lists show: ended, idle when no subflow is active, active."""
    if value.is_ended:
        return ConnectionState.ENDED
    if any(subflow.state == SubflowState.ACTIVE for subflow in value.subflows):
        return ConnectionState.ACTIVE
    return ConnectionState.IDLE


def connection_fields(value: EngineConnection) -> dict[str, Any]:
    """Return what a connection's row holds of the engine's value."""
    addresses = {end for subflow in value.subflows for end in (subflow.flow.a, subflow.flow.b)}
    client, server = ends_of(value)
    return {
        "state": connection_state(value),
        "confidence": value.confidence,
        "is_blockable": value.is_blockable,
        "coverage_ab": value.coverage[0],
        "coverage_ba": value.coverage[1],
        "tokens": list(value.tokens),
        "subflow_count": len(value.subflows),
        "client": client,
        "server": server,
        "addresses": sorted(addresses),
        "evidence_kinds": sorted({evidence.kind.value for evidence in value.evidence}),
        "dsn_base": dsn_base_of(value),
        "first_s": value.first_s,
        "last_s": value.last_s,
    }


def ends_of(value: EngineConnection) -> tuple[str, str]:
    """Return the ends of the connection's first subflow, the client's first where it is known who opened it."""
    first = min(value.subflows, key=lambda subflow: (subflow.first_s, subflow.id), default=None)
    if first is None:
        return "", ""
    a, b = end_text(first.flow.a, first.flow.a_port), end_text(first.flow.b, first.flow.b_port)
    return (b, a) if first.is_a_client is False else (a, b)


def end_text(address: str, port: int) -> str:
    """Return an end as people write it.

    >>> end_text("fd00::1", 80)
    '[fd00::1]:80'
    """
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def dsn_base_of(value: EngineConnection) -> list[str | None]:
    """Return per direction the lowest data sequence number, as text: JSON's numbers end at 2^53."""
    lows = [
        [subflow.dsn_low[side] for subflow in value.subflows if subflow.dsn_low[side] is not None]
        for side in (0, 1)
    ]
    return [str(min(found)) if found else None for found in lows]  # type: ignore[type-var]  # None was left out


def subflow_row(connection: Connection, value: EngineSubflow, points: Mapping[str, Any]) -> Subflow:
    """Return a subflow as a row to be written."""
    return Subflow(
        connection=connection,
        engine_id=value.id,
        epoch=value.epoch,
        a=value.flow.a,
        a_port=value.flow.a_port,
        b=value.flow.b,
        b_port=value.flow.b_port,
        state=value.state.value,
        is_a_client=value.is_a_client,
        packet_count=value.packet_count,
        seen_by=list(value.seen_by),
        first_s=value.first_s,
        last_s=value.last_s,
        points=dict(points),
    )


def evidence_row(connection: Connection, value: EngineEvidence) -> Evidence:
    """Return evidence as a row to be written."""
    return Evidence(
        connection=connection,
        kind=value.kind.value,
        subflow=value.subflow,
        other=value.other,
        false_probability=value.false_probability,
        words=value.words[:WORDS_LENGTH],
        at_s=value.at_s,
    )


def flow_of(row: Subflow) -> FlowKey:
    """Return a row's 4-tuple."""
    return FlowKey(row.a, row.a_port, row.b, row.b_port)


def points_of(points: Iterable[Point], base: Iterable[str | None]) -> dict[str, list[Any]]:
    """Return points as columns: ``at_s``, ``dsn`` above the connection's lowest, ``size_bytes``, ``side``."""
    bases = [int(text) if text is not None else None for text in base]
    columns: dict[str, list[Any]] = {"at_s": [], "dsn": [], "size_bytes": [], "side": []}
    for point in points:
        low = bases[point.side]
        if low is None:
            continue
        columns["at_s"].append(round(point.at_s, 6))
        columns["dsn"].append(relative_dsn(point.dsn, low, point.width_bits))
        columns["size_bytes"].append(point.size_bytes)
        columns["side"].append(point.side)
    return columns


def points_stored(columns: Mapping[str, list[Any]], base: Iterable[str | None]) -> list[Point]:
    """Return the points that ``points_of`` made columns of."""
    bases = [int(text) if text is not None else 0 for text in base]
    names = ("at_s", "dsn", "size_bytes", "side")
    rows = zip(*(columns.get(name, ()) for name in names), strict=True)
    return [Point(at_s, (bases[side] + dsn) % (1 << 64), size, side, 64) for at_s, dsn, size, side in rows]


def relative_dsn(dsn: int, base: int, width_bits: int) -> int:
    """Return how far a number on the wire lies above the base, by signed difference in its own width.

    >>> relative_dsn(5, (1 << 64) - 5, 64), relative_dsn(5, (7 << 32) + 1, 32)
    (10, 4)
    """
    span = 1 << width_bits
    ahead = (dsn - base) % span
    return ahead - span if ahead >= span // 2 else ahead


def tokens_text(tokens: Iterable[int]) -> list[str]:
    """Return tokens as people compare them with ``ss -M``: eight hexadecimal digits."""
    return [f"{token:08x}" for token in tokens]


def token_parse(text: str) -> int:
    """Return a token: eight hexadecimal digits, or ``0x`` and up to eight.

    Raises:
        InvalidInputError: it is none.

    >>> token_parse("0x1f"), token_parse("0000001f")
    (31, 31)
    """
    digits = text.strip().lower().removeprefix("0x")
    is_hex = 0 < len(digits) <= 8 and all(letter in "0123456789abcdef" for letter in digits)
    if not is_hex or (len(digits) < 8 and not text.strip().lower().startswith("0x")):
        raise InvalidInputError(
            "token", "must be eight hexadecimal digits, as ss -M shows it, or 0x and up to eight"
        )
    return int(digits, 16)
