"""Programs of classic BPF that sample and cut packets in the kernel: what is not wanted costs no copy and no wake-up.

They run on packets that start with their IP header (packet sockets of type SOCK_DGRAM), so they fit any interface.
Source: the kernel's Documentation/networking/filter.rst.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

SNAPLEN_MAX: Final = 65_535
_LOAD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_LOAD_BYTE_X, _LOAD_HALF_X, _LOAD_MEMORY = 0x50, 0x48, 0x60
_LOAD_NUMBER, _LOAD_X_NUMBER, _STORE = 0x00, 0x01, 0x02
_AND, _SHIFT_LEFT, _SHIFT_RIGHT, _ADD, _ADD_X, _TO_X, _FROM_X = 0x54, 0x64, 0x74, 0x04, 0x0C, 0x07, 0x87
_GO, _IF_EQUAL, _IF_AT_LEAST, _IF_ABOVE_X, _IF_ANY, _RETURN = 0x05, 0x15, 0x35, 0x2D, 0x45, 0x06
_RANDOM: Final = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM: a new 32-bit number for each packet
_TCP: Final = 6
_FIN_SYN_RST: Final = 0x07
_MPTCP_KIND: Final = 30
# 40 bytes of options; the last two cannot start an option of MPTCP, and the shortest step is one byte (a no-operation).
_OPTION_STEPS: Final = 38
_OPTIONS_END: Final = 0  # scratch memory
_INSTRUCTION = struct.Struct("=HBBI")


class _Step(NamedTuple):
    """One instruction; jumps name labels, ``""`` is the next instruction."""

    code: int
    number: int = 0
    yes: str = ""
    no: str = ""
    label: str = ""


def sampling_program(sampling_ratio: float, snaplen: int, *, mptcp_only: bool) -> bytes:
    """Return a filter that keeps TCP packets at random, cut to ``snaplen`` bytes from the IP header on.

    The draw comes first, so that packets which are not sampled cost three instructions. Not seen: IPv6 with extension
    headers, what is inside tunnels, and later fragments, which hold no TCP header.

    Args:
        sampling_ratio: share of packets to keep, above 0, at most 1; exact to 2^-32.
        snaplen: 1 to 65535 bytes.
        mptcp_only: keep only what makes a record: an MPTCP option anywhere in the TCP options, or SYN, FIN or RST.
    """
    assert 0 < sampling_ratio <= 1
    assert 0 < snaplen <= SNAPLEN_MAX
    steps: list[_Step] = []
    if sampling_ratio < 1:
        threshold = max(1, round(sampling_ratio * (1 << 32)))
        steps += [_Step(_LOAD, _RANDOM), _Step(_IF_AT_LEAST, min(threshold, (1 << 32) - 1), "none", "")]
    steps += _tcp_steps()
    steps += _option_steps(snaplen) if mptcp_only else [_Step(_RETURN, snaplen)]
    return assembled(steps)


def cut_program(snaplen: int) -> bytes:
    """Return a filter that keeps every packet, cut to ``snaplen`` bytes."""
    return assembled([_Step(_RETURN, snaplen)])


def _tcp_steps() -> list[_Step]:
    """Leave the offset of the TCP header in X; nothing but TCP over IPv4 and IPv6 passes."""
    return [
        _Step(_LOAD_BYTE, 0),
        _Step(_SHIFT_RIGHT, 4),
        _Step(_IF_EQUAL, 4, "ipv4", ""),
        _Step(_IF_EQUAL, 6, "", "none"),
        _Step(_LOAD_BYTE, 6),
        _Step(_IF_EQUAL, _TCP, "", "none"),
        _Step(_LOAD_X_NUMBER, 40),
        _Step(_GO, 0, "tcp"),
        _Step(_RETURN, 0, label="none"),
        _Step(_LOAD_BYTE, 9, label="ipv4"),
        _Step(_IF_EQUAL, _TCP, "", "none-4"),
        _Step(_LOAD_HALF, 6),
        _Step(_IF_ANY, 0x1FFF, "none-4", ""),
        _Step(_LOAD_BYTE, 0),
        _Step(_AND, 0x0F),
        _Step(_SHIFT_LEFT, 2),
        _Step(_TO_X),
        _Step(_GO, 0, "tcp"),
        _Step(_RETURN, 0, label="none-4"),
        _Step(_LOAD_BYTE_X, 13, label="tcp"),
    ]


def _option_steps(snaplen: int) -> list[_Step]:
    """Walk the TCP options. Classic BPF cannot jump back, so the loop is written out."""
    steps = [
        _Step(_IF_ANY, _FIN_SYN_RST, "", "walk"),
        _Step(_RETURN, snaplen),
        _Step(_LOAD_BYTE_X, 12, label="walk"),
        _Step(_AND, 0xF0),
        _Step(_SHIFT_RIGHT, 2),
        _Step(_ADD_X),
        _Step(_STORE, _OPTIONS_END),
        _Step(_FROM_X),
        _Step(_ADD, 20),
        _Step(_TO_X),
    ]
    for at in range(_OPTION_STEPS):
        steps += [
            _Step(_LOAD_MEMORY, _OPTIONS_END),
            _Step(_IF_ABOVE_X, 0, "", f"none-{at}-"),
            _Step(_LOAD_BYTE_X, 0),
            _Step(_IF_EQUAL, _MPTCP_KIND, f"keep-{at}-", ""),
            _Step(_IF_EQUAL, 0, f"none-{at}-", ""),
            _Step(_IF_EQUAL, 1, f"go-{at}-", ""),
            _Step(_LOAD_BYTE_X, 1),
            _Step(_IF_AT_LEAST, 2, f"go-{at}-", f"none-{at}-"),
            _Step(_RETURN, snaplen, label=f"keep-{at}-"),
            _Step(_RETURN, 0, label=f"none-{at}-"),
            # The accumulator holds the step: the length, or the kind 1 of a no-operation.
            _Step(_ADD_X, label=f"go-{at}-"),
            _Step(_TO_X),
        ]
    return [*steps, _Step(_RETURN, 0)]


def assembled(steps: Sequence[_Step]) -> bytes:
    """Return a program as the kernel takes it."""
    places = {step.label: at for at, step in enumerate(steps) if step.label}
    return b"".join(_packed(step, at, places) for at, step in enumerate(steps))


def _packed(step: _Step, at: int, places: Mapping[str, int]) -> bytes:
    def distance(label: str) -> int:
        return places[label] - at - 1 if label else 0

    if step.code == _GO:
        return _INSTRUCTION.pack(_GO, 0, 0, distance(step.yes))
    return _INSTRUCTION.pack(step.code, distance(step.yes), distance(step.no), step.number)
