"""Targets of the coverage-guided fuzzer: bytes in, an exception if a decoder breaks a promise.

Promises: nothing raises, nothing loops (the fuzzer's time limit), memory is bounded (its memory limit), chunk
boundaries change nothing, rows are those of the dumb twin.

``python -m tests.mptcp.engine.fuzz_decoders TARGET [libFuzzer options] CORPUS`` runs one target; with
``NUMBA_DISABLE_JIT=1`` the bodies of the compiled functions run as Python, and are measured for coverage.
``replay`` for TARGET runs all files of a corpus, compiled, against the target of its directory's name.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

Target = Callable[[bytes], None]
TIMESTAMP = b"\1\1\x08\x0a" + bytes(8)


def _check_capture(data: bytes) -> None:
    """A capture file, whole and in two pieces."""
    from tests.mptcp.engine.decoding import capture_rows

    rows, decoder = capture_rows(data)
    middle = data[-1] % len(data) if data else 0
    again, other = capture_rows(data, [middle])
    assert rows == again
    assert decoder.report == other.report
    assert decoder.report.byte_count == len(data)


def _check_sflow(data: bytes) -> None:
    from apps.mptcp.engine.sflow import SflowDecoder

    decoder = SflowDecoder()
    records = decoder.feed(data, 1)
    assert len(records) == decoder.report.row_count <= decoder.report.packet_count


def _check_ipfix(data: bytes) -> None:
    """Two messages of one exporter, split where the first says: templates live between them."""
    from apps.mptcp.engine.ipfix import IpfixDecoder

    decoder = IpfixDecoder()
    middle = int.from_bytes(data[2:4], "big")
    decoder.feed(data[:middle], "a", 1)
    decoder.feed(data[middle:], "a", 2)
    assert decoder.report.byte_count == len(data)
    assert decoder.report.row_count <= decoder.report.packet_count


def _check_frame(data: bytes) -> None:
    """A frame of the link type and length on the wire that the first bytes name, against the twin."""
    from tests.mptcp.engine.decoder_twin import Frame
    from tests.mptcp.engine.decoding import decode_frames, twin_rows

    if len(data) < 4:
        return
    links = (1, 0, 9, 12, 14, 50, 51, 101, 108, 113, 204, 228, 229, 276, 7)
    frame = Frame(data[4:], int.from_bytes(data[1:4], "big"), links[data[0] % len(links)])
    assert decode_frames([frame])[0] == twin_rows([frame])


def _check_options(data: bytes) -> None:
    """TCP options behind good headers, alone and after a timestamp as in most packets.

    The first two bytes are flags and how much was captured.
    """
    from tests.mptcp.engine.decoder_twin import Frame
    from tests.mptcp.engine.decoding import decode_frames, twin_rows
    from tests.support import mptcp_packets

    if len(data) < 2:
        return
    alone = mptcp_packets.ip_bytes(mptcp_packets.Segment(flags=data[0], options=data[2:42]))
    after = mptcp_packets.frame(mptcp_packets.Segment(flags=data[0], options=TIMESTAMP + data[2:30]))
    frames = [
        Frame(alone[: 40 + data[1] % 41], len(alone), 101),
        Frame(after[: 54 + data[1] % 41], len(after), 1),
    ]
    assert decode_frames(frames)[0] == twin_rows(frames)


TARGETS: dict[str, Target] = {
    "pcap": _check_capture,
    "pcapng": _check_capture,
    "sflow": _check_sflow,
    "ipfix": _check_ipfix,
    "frame": _check_frame,
    "options": _check_options,
}


def seeds(name: str) -> Iterable[bytes]:
    """Return a few good inputs of a target."""
    from tests.support import mptcp_containers as make
    from tests.support import mptcp_packets as packets

    options = (
        packets.capable(), packets.capable(key=1), packets.capable(key=1, peer_key=2, map_bytes=9),
        packets.join_syn(1, 2), packets.join_syn_ack(1), packets.join_ack(), packets.dss(1, 8, 2, 8, 3, 4, True, True),
        packets.dss(1, 4, 2, 4) + packets.add_addr(1, "10.0.0.1"), packets.add_addr(1, "2001:db8::1", 80),
        packets.remove_addr(1, 2) + packets.prio(True), packets.fastclose(3), packets.fail(3), packets.tcprst(),
    )  # fmt: skip
    segments = [packets.Segment(flags=flags, options=one) for one in options for flags in (2, 18, 16)]
    signals = (
        packets.dss(1),
        packets.dss(1, 4, 2, 8, 3, 4) + b"\1\1",
        packets.dss(1, 8, 2, 4, 3, 4, True, True),
    )
    segments += [packets.Segment(options=TIMESTAMP + one) for one in signals]
    frames = [packets.frame(one) for one in segments[:-3:5] + segments[-3:]]
    seen = [make.Seen(1, frame) for frame in frames[:3]]
    template = make.ipfix_template(300, [(323, 8), (312, 2), (315, 65535)])
    if name == "options":
        return [bytes([one.flags, 40]) + one.options for one in segments]
    if name == "frame":
        others = [packets.in_link(packets.ip_bytes(segments[6]), link)[1] for link in packets.LINKS]
        return [bytes([index % 15, 0, 0, 200]) + one for index, one in enumerate(frames + others)]
    if name == "sflow":
        samples = [
            make.sflow_sample([make.sflow_raw_header(seen[0])], is_expanded=one) for one in (False, True)
        ]
        return [make.sflow(samples), make.sflow([make.xdr(2, bytes(8)), *samples], "2001:db8::1")]
    if name == "ipfix":
        learn = make.ipfix([make.ipfix_set(2, template)])
        return [learn + make.ipfix([make.ipfix_set(300, bytes(10) + make.ipfix_variable(frames[0]))])]
    if name == "pcapng":
        many = make.section() + make.interface(1, resolution=9, offset_s=1) + make.interface(101)
        return [make.pcapng(seen, order) for order in "<>"] + [
            many + make.simple(seen[0]) + make.packet(seen[1])
        ]
    return [make.pcap(seen, order, modified=modified) for order in "<>" for modified in (False, True)]


def fuzz(name: str, arguments: list[str]) -> None:
    """Run the fuzzer; does not return."""
    import atheris

    with atheris.instrument_imports(include=["apps.mptcp.engine"]):
        from apps.mptcp.engine import capture, frames, ipfix, sflow  # noqa: F401  # to be instrumented
    # Python reaches a record's fields by dot only in arrays of this type.
    frames.RECORD = np.dtype((np.record, frames.RECORD))  # type: ignore[misc]
    atheris.Setup([name, *arguments], TARGETS[name])
    atheris.Fuzz()


def replay(corpus: Path) -> int:
    """Run the compiled decoders over a corpus of several targets; return how many inputs there were."""
    count = 0
    for name, target in TARGETS.items():
        for path in sorted((corpus / name).iterdir()):
            target(path.read_bytes())
            count += 1
    return count


if __name__ == "__main__":
    if sys.argv[1] == "replay":
        print(replay(Path(sys.argv[2])))
    else:
        fuzz(sys.argv[1], sys.argv[2:])
