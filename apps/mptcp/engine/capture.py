"""A capture file of either format, of any size, to records: a machine that is fed bytes as they come.

| state | bytes | then |
|---|---|---|
| unknown | fewer than 24 | unknown |
| unknown | a file header of pcap, or a section block | open |
| unknown | anything else | broken |
| open | records | open; their rows are returned, a record that is not whole yet is kept (at most 512 KiB) |
| open | a block too long to be a packet's | skipping, then open |
| open | a length that cannot be | broken: where the next record begins is lost |
| broken | anything | broken; bytes are counted only |
"""

import io
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import container_kernel as kernel
from apps.mptcp.engine.frame_kernel import FRAME_FIELDS, LINK
from apps.mptcp.engine.frames import SUPPORTED_LINKS, FrameDecoder
from apps.mptcp.engine.pcap_walk import PcapngWalk, PcapWalk, Walk
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.report import DecodeReport, with_counts

CHUNK_BYTES: Final = 1 << 20
_BATCH_FRAMES: Final = 16_384
_HEAD_BYTES: Final = 24


class CaptureDecoder:
    """Decodes a capture file that comes in chunks; autodetects pcap and pcapng.

    Never raises on what a file holds, never loops, holds at most one record besides the chunk.

    Args:
        observer: the observation point that all rows name.
    """

    def __init__(self, observer: int = 0) -> None:
        self._observer = observer
        self._frames = FrameDecoder()
        self._found = np.zeros((_BATCH_FRAMES, FRAME_FIELDS), np.int64)
        self._walk: Walk | None = None
        # A piece behind a record that is not whole: no more than one block, or it would have been skipped.
        self._buffer = np.empty(CHUNK_BYTES + kernel.BLOCK_BYTES_MAX, np.uint8)
        self._kept = 0
        self._byte_count = self._row_count = self._ignored_byte_count = 0
        self._is_broken = self._is_cut = self._has_bad_magic = False
        self._link_types: Counter[int] = Counter()

    def feed(self, chunk: bytes) -> PacketRecords:
        """Return the rows of the records that are whole with this chunk."""
        self._byte_count += len(chunk)
        octets = np.frombuffer(chunk, np.uint8)
        parts = []
        for start in range(0, len(octets), CHUNK_BYTES):
            part = self._feed_piece(octets[start : start + CHUNK_BYTES])
            if len(part):
                parts.append(part)
        records = parts[0] if len(parts) == 1 else PacketRecords.joined(parts)
        self._row_count += len(records)
        return records

    def feed_from(self, file: BinaryIO, chunk_bytes: int = CHUNK_BYTES) -> PacketRecords | None:
        """Read some bytes of a file, at most ``CHUNK_BYTES``, and return their rows; None: it has no more."""
        chunk_bytes = max(1, min(chunk_bytes, CHUNK_BYTES))
        view = self._buffer.data[self._kept : self._kept + chunk_bytes]
        read = file.readinto(view) if isinstance(file, io.RawIOBase | io.BufferedIOBase) else None
        if read is None:
            chunk = file.read(chunk_bytes)
            return self.feed(chunk) if chunk else None
        if read == 0:
            return None
        self._byte_count += read
        records = self._take(read)
        self._row_count += len(records)
        return records

    def _feed_piece(self, octets: NDArray[np.uint8]) -> PacketRecords:
        """Put at most ``CHUNK_BYTES`` behind what is kept and decode what is whole."""
        self._buffer[self._kept : self._kept + len(octets)] = octets
        return self._take(len(octets))

    def _take(self, size: int) -> PacketRecords:
        """Decode what is whole, of what is kept and so many new bytes behind it."""
        if self._walk is not None and self._walk.state[kernel.SKIP]:  # then nothing is kept
            skipped = min(int(self._walk.state[kernel.SKIP]), size)
            self._walk.state[kernel.SKIP] -= skipped
            self._walk.state[kernel.POSITION] = skipped
        if self._is_broken:
            self._ignored_byte_count += size
            return PacketRecords.zeros(0)
        self._kept += size
        if self._walk is None and self._kept >= _HEAD_BYTES:
            self._walk = _walk_by_head(self._buffer[:_HEAD_BYTES].tobytes())
            if self._walk is None:
                self._has_bad_magic = True
                self._give_up(0)
        return PacketRecords.zeros(0) if self._walk is None else self._decode(self._walk)

    def finish(self) -> DecodeReport:
        """Say that no more bytes come; return the whole report."""
        is_skipping = self._walk is not None and bool(self._walk.state[kernel.SKIP])
        self._is_cut = self._is_cut or bool(self._kept) or is_skipping
        self._ignored_byte_count += self._kept
        self._kept = 0
        return self.report

    @property
    def report(self) -> DecodeReport:
        """What was found so far."""
        state = kernel.new_state() if self._walk is None else self._walk.state
        counts = {
            "bad_magic": int(self._has_bad_magic),
            "bad_record": int(state[kernel.BAD_BLOCK]),
            "bad_interface": int(state[kernel.UNKNOWN_INTERFACE]),
            "other_block": int(state[kernel.OTHER_BLOCKS]),
        }
        malformed, passed_over = with_counts(counts, self._frames)
        links = self._link_types
        return DecodeReport(
            input_format="" if self._walk is None else self._walk.input_format,
            byte_count=self._byte_count,
            packet_count=self._frames.frame_count,
            tcp_count=self._frames.tcp_count,
            mptcp_count=self._frames.mptcp_count,
            row_count=self._row_count,
            truncated_count=self._frames.truncated_count,
            malformed=malformed,
            passed_over=passed_over,
            link_types=dict(links),
            unsupported_link_types={link: links[link] for link in links if link not in SUPPORTED_LINKS},
            first_us=int(state[kernel.LOWEST_US]) if links else None,
            last_us=int(state[kernel.HIGHEST_US]) if links else None,
            is_cut=self._is_cut,
            is_broken=self._is_broken,
            ignored_byte_count=self._ignored_byte_count,
        )

    def _decode(self, walk: Walk) -> PacketRecords:
        """Decode all whole records at hand and move the rest to the front."""
        octets = self._buffer[: self._kept]
        octets.setflags(write=False)  # one type for the compiler, whoever calls
        parts = []
        while True:
            reason, count = walk.advance(octets, self._found)
            if count:
                frames = self._found[:count]
                self._note(walk, frames)
                parts.append(self._frames.decode(octets, frames, self._observer))
            # Else a section or interface was read, or the batch is full: there is more here.
            if reason == kernel.IS_BROKEN or (reason == kernel.WANTS_MORE and count < _BATCH_FRAMES):
                break
        rest = int(walk.state[kernel.POSITION])
        walk.state[kernel.POSITION] = 0
        if reason == kernel.IS_BROKEN:
            self._give_up(rest)
        else:
            self._buffer[: self._kept - rest] = self._buffer[rest : self._kept].copy()
            self._kept -= rest
        return parts[0] if len(parts) == 1 else PacketRecords.joined(parts)

    def _give_up(self, position: int) -> None:
        """Read nothing from ``position`` on."""
        self._is_broken = True
        self._ignored_byte_count += self._kept - position
        self._kept = 0

    def _note(self, walk: Walk, frames: NDArray[np.int64]) -> None:
        """Count link types."""
        links = walk.links
        if len(links) == 1:
            self._link_types[next(iter(links))] += len(frames)
        else:
            self._link_types.update(frames[:, LINK].tolist())


def _walk_by_head(head: bytes) -> Walk | None:
    """Choose the format by the first bytes of a file; None: it is no capture."""
    if head[:4] == kernel.SECTION.to_bytes(4, "big"):
        return PcapngWalk()
    return PcapWalk.by_head(head)


def read_capture(
    file: BinaryIO, observer: int = 0, chunk_bytes: int = CHUNK_BYTES, decoder: CaptureDecoder | None = None
) -> Iterator[PacketRecords]:
    """Yield the rows of an open capture file, piece by piece, in bounded memory.

    Args:
        chunk_bytes: to read at once, at most ``CHUNK_BYTES``.
        decoder: give one to read its report afterwards; else its own with ``observer``.
    """
    decoder = CaptureDecoder(observer) if decoder is None else decoder
    while (records := decoder.feed_from(file, chunk_bytes)) is not None:
        if len(records):
            yield records
    decoder.finish()


def warm_up() -> None:
    """Compile now, or load, what the first capture would wait for: for a worker's start or at set-up."""
    section = bytes.fromhex("0a0d0d0a1c000000 4d3c2b1a01000000 ffffffffffffffff1c000000")
    classic = bytes.fromhex("d4c3b2a102000400 0000000000000000 ffff000001000000") + bytes(16)
    for content in (classic, section):
        CaptureDecoder().feed(content)
