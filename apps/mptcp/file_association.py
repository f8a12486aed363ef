"""Captures in files, without a portal: which subflows form which connection. Pure but for the files it reads.

Several files are several observation points of one network: they are read side by side by their packets' times, packets
that more than one of them holds count once, and their clocks need not agree.
"""

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from apps.mptcp.association import CaptureAssociation
from apps.mptcp.engine import filters
from apps.mptcp.engine.capture import CHUNK_BYTES, CaptureDecoder
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.report import DecodeReport
from apps.mptcp.engine.values import Connection, Evidence, FlowKey, Subflow
from nfvportal.lib.errors import InvalidInputError

FILES_MAX: Final = 64
SEED_MAX: Final = (1 << 32) - 1
_LINK_COUNTS: Final = ("link_types", "unsupported_link_types")
Filter = Callable[[PacketRecords], PacketRecords]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """As if less had been seen.

    Args:
        sample: share of the records to look at, above 0, at most 1, chosen by ``seed``.
        start_after_s: pass over that many seconds of each file.
        direction: ``c2s``, ``s2c``, or empty: both.
        without_tokens: pass over keys and tokens. width32: cut sequence numbers to 32 bits.
    """

    sample: float = 1.0
    seed: int = 1
    start_after_s: float = 0.0
    direction: str = ""
    without_tokens: bool = False
    width32: bool = False

    def filters(self, number: int) -> list[Filter]:
        """Return the filters of one file, which remember what they must of it.

        Raises:
            InvalidInputError: an option breaks its limit.
        """
        if not 0 <= self.seed <= SEED_MAX:
            raise InvalidInputError("seed", f"must be from 0 to {SEED_MAX}")
        rng = np.random.default_rng([self.seed, number])
        filters.sample(PacketRecords.zeros(0), self.sample, rng)
        chain: list[Filter] = []
        if self.start_after_s:
            chain.append(filters.StartAfter(self.start_after_s))
        if self.direction:
            chain.append(filters.Direction(self.direction))
        if self.sample < 1:
            chain.append(lambda records: filters.sample(records, self.sample, rng))
        if self.without_tokens:
            chain.append(filters.without_tokens)
        if self.width32:
            chain.append(filters.width32)
        return chain


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was found in one file."""

    path: str
    observer: int
    decoded: DecodeReport

    @property
    def trouble(self) -> str:
        """What is wrong with the file, in words; empty: nothing."""
        decoded = self.decoded
        if not decoded.input_format:
            return "is neither pcap nor pcapng" if decoded.byte_count else "is empty"
        if not decoded.packet_count:
            return f"is a {decoded.input_format} file without a packet"
        if decoded.is_broken:
            return f"is broken: the last {decoded.ignored_byte_count} of {decoded.byte_count} bytes cannot be read"
        return "ends within a packet" if decoded.is_cut else ""

    @property
    def is_usable(self) -> bool:
        """Whether anything could be read."""
        return self.decoded.packet_count > 0


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """Connections of some files, and what it took."""

    files: tuple[FileReport, ...]
    options: ReadOptions
    connections: tuple[Connection, ...]
    alarms: tuple[dict[str, Any], ...]
    record_count: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return plain data, in the order of the connections' first packets."""
        packets = sum(file.decoded.packet_count for file in self.files)
        subflows = sum(len(connection.subflows) for connection in self.connections)
        multipath = sum(len(connection.subflows) > 1 for connection in self.connections)
        return {
            "options": asdict(self.options),
            "files": [_file_json(file) for file in self.files],
            "statistics": {
                "seconds": round(self.seconds, 6),
                "packet_count": packets,
                "packets_per_s": round(packets / self.seconds) if self.seconds > 0 else None,
                "record_count": self.record_count,
                "connection_count": len(self.connections),
                "multipath_count": multipath,
                "subflow_count": subflows,
            },
            "connections": [connection_json(connection) for connection in self.connections],
            "alarms": list(self.alarms),
        }


def associate_files(paths: Sequence[Path], options: ReadOptions) -> FileAnswer:
    """Return the connections of capture files of any size, in bounded memory.

    Raises:
        InvalidInputError: ``file``: one cannot be opened; or an option breaks its limit.
    """
    if not 1 <= len(paths) <= FILES_MAX:
        raise InvalidInputError("file", f"must be 1 to {FILES_MAX} files")
    started_s = time.perf_counter()
    association, record_count = CaptureAssociation(), 0
    with ExitStack() as stack:
        sources = [
            _Source(number, path, stack.enter_context(_opened(path)), options.filters(number))
            for number, path in enumerate(paths)
        ]
        for records in _by_time(sources):
            record_count += len(records)
            association.take(records)
        connections = sorted(association.final(), key=lambda connection: (connection.first_s, connection.id))
    return FileAnswer(
        files=tuple(source.report() for source in sources),
        options=options,
        connections=tuple(connections),
        alarms=tuple(association.alarms),
        record_count=record_count,
        seconds=time.perf_counter() - started_s,
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise InvalidInputError("file", f"{path} cannot be read: {error.strerror}") from error


class _Source:
    """One file being read."""

    def __init__(self, number: int, path: Path, file: BinaryIO, chain: Sequence[Filter]) -> None:
        self.number = number
        self._path, self._file, self._chain = path, file, chain
        self._decoder = CaptureDecoder(number)

    def pieces(self) -> Iterator[PacketRecords]:
        """Yield what the filters leave, piece by piece, none of them empty."""
        while chunk := self._read():
            records = self._decoder.feed(chunk)
            for one in self._chain:
                records = one(records)
            if len(records):
                yield records
        self._decoder.finish()

    def report(self) -> FileReport:
        """Return what was found."""
        return FileReport(str(self._path), self.number, self._decoder.report)

    def _read(self) -> bytes:
        try:
            return self._file.read(CHUNK_BYTES)
        except OSError as error:
            raise InvalidInputError("file", f"{self._path} cannot be read: {error.strerror}") from error


def _by_time(sources: Sequence[_Source]) -> Iterator[PacketRecords]:
    """Yield the pieces of all files, always of the one that is furthest behind."""
    waiting: list[tuple[int, int, PacketRecords, Iterator[PacketRecords]]] = []

    def push(number: int, pieces: Iterator[PacketRecords]) -> None:
        piece = next(pieces, None)
        if piece is not None:
            heapq.heappush(waiting, (int(piece.at_us[0]), number, piece, pieces))

    for source in sources:
        push(source.number, source.pieces())
    while waiting:
        _, number, piece, pieces = heapq.heappop(waiting)
        yield piece
        push(number, pieces)


def connection_json(connection: Connection) -> dict[str, Any]:
    """Return one connection as plain data."""
    flows = {subflow.id: subflow.flow for subflow in connection.subflows}
    return {
        "id": connection.id,
        "confidence": connection.confidence,
        "is_blockable": connection.is_blockable,
        "is_ended": connection.is_ended,
        "first_s": connection.first_s,
        "last_s": connection.last_s,
        "coverage": list(connection.coverage),
        "tokens": [f"{token:08x}" for token in connection.tokens],
        "subflows": [_subflow_json(subflow) for subflow in connection.subflows],
        "evidence": [_evidence_json(evidence, flows) for evidence in connection.evidence],
    }


def _subflow_json(subflow: Subflow) -> dict[str, Any]:
    flow = subflow.flow
    client = {None: None, True: "a", False: "b"}[subflow.is_a_client]
    return {
        "id": subflow.id,
        "a": flow.a,
        "a_port": flow.a_port,
        "b": flow.b,
        "b_port": flow.b_port,
        "client": client,
        "epoch": subflow.epoch,
        "state": str(subflow.state),
        "packet_count": subflow.packet_count,
        "seen_by": list(subflow.seen_by),
        "first_s": subflow.first_s,
        "last_s": subflow.last_s,
    }


def _evidence_json(evidence: Evidence, flows: dict[int, FlowKey]) -> dict[str, Any]:
    return {
        "kind": str(evidence.kind),
        "subflow": evidence.subflow,
        "other": evidence.other if evidence.other in flows else None,
        "false_probability": evidence.false_probability,
        "words": evidence.words,
    }


def _file_json(file: FileReport) -> dict[str, Any]:
    decoded = asdict(file.decoded)
    decoded |= {name: {str(k): v for k, v in decoded[name].items()} for name in _LINK_COUNTS}
    return {"path": file.path, "observer": file.observer, "trouble": file.trouble, **decoded}


def answer_lines(answer: FileAnswer) -> Iterator[str]:
    """Yield the answer for people."""
    data = answer.as_json()
    for file in data["files"]:
        yield (
            f"{file['path']}: {file['packet_count']} packets, {file['tcp_count']} of TCP, {file['mptcp_count']} with "
            f"Multipath TCP, {sum(file['malformed'].values())} malformed, {file['truncated_count']} truncated"
        )
    for connection in data["connections"]:
        yield ""
        yield (
            f"connection {connection['id']}: {len(connection['subflows'])} subflows, confidence "
            f"{connection['confidence']:.6f}{', ended' if connection['is_ended'] else ''}"
        )
        for flow in connection["subflows"]:
            first, last = ("b", "a") if flow["client"] == "b" else ("a", "b")
            arrow = "->" if flow["client"] else "<->"  # who opened it was not seen
            yield (
                f"  {_endpoint(flow, first)} {arrow} {_endpoint(flow, last)}  {flow['packet_count']} packets, "
                f"{flow['state']}"
            )
            yield from (
                f"    {evidence['words']}"
                for evidence in connection["evidence"]
                if evidence["subflow"] == flow["id"]
            )
    for alarm in data["alarms"]:
        yield f"alarm: {alarm['words']}"
    numbers = data["statistics"]
    yield ""
    yield (
        f"{numbers['connection_count']} connections, {numbers['multipath_count']} with several subflows, "
        f"{numbers['subflow_count']} subflows; {numbers['packet_count']} packets in {numbers['seconds']:.3f} s, "
        f"{numbers['packets_per_s']} packets/s"
    )


def _endpoint(flow: dict[str, Any], side: str) -> str:
    address = flow[side]
    return f"[{address}]:{flow[f'{side}_port']}" if ":" in address else f"{address}:{flow[f'{side}_port']}"
