"""The bpf(2) system call: hash maps and programs, without a compiler or a library.

Source: bpf(2), linux/bpf.h. Needs CAP_BPF outside user namespaces (or root): an ordinary user is refused.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator, Sequence
from typing import Final

_CALL_NUMBERS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_MAP_CREATE, _LOOKUP, _UPDATE, _DELETE, _NEXT_KEY, _PROGRAM_LOAD = range(6)
_PROGRAM_BY_ID, _MAP_BY_ID, _INFO = 13, 14, 15
_TYPE_HASH, _NO_PREALLOCATION = 1, 1
_TYPE_CLASSIFIER: Final = 3
_INSTRUCTION: Final = struct.Struct("=BBhi")
_LOG_BYTES: Final = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)

# (code, destination register, source register, offset, immediate)
Instruction = tuple[int, int, int, int, int]


def _call(command: int, attributes: bytes) -> int:
    number = _CALL_NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(38, f"no number of bpf(2) known for {platform.machine()}")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    answer = int(_libc.syscall(number, command, buffer, len(attributes)))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


class BpfMap:
    """A hash map of fixed sizes. Changing an entry is atomic: programs see the old value or the new one."""

    def __init__(self, descriptor: int, key_bytes: int, value_bytes: int) -> None:
        self.descriptor = descriptor
        self._key_bytes = key_bytes
        self._value_bytes = value_bytes

    @classmethod
    def create(cls, name: str, key_bytes: int, value_bytes: int, entries_max: int) -> "BpfMap":
        """Make a map.

        Raises:
            OSError: the kernel refused.
        """
        attributes = struct.pack(
            "=IIIIIII16s",
            _TYPE_HASH,
            key_bytes,
            value_bytes,
            entries_max,
            # Entries of their own, freed when no program reads them any more.
            _NO_PREALLOCATION,
            0,
            0,
            name.encode(),
        )
        return cls(_call(_MAP_CREATE, attributes), key_bytes, value_bytes)

    def set(self, key: bytes, value: bytes) -> None:
        """Add or replace an entry."""
        self._element(_UPDATE, key, ctypes.create_string_buffer(value, self._value_bytes))

    def delete(self, key: bytes) -> None:
        """Remove an entry."""
        self._element(_DELETE, key, None)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all entries; nobody else may change the map meanwhile."""
        key: bytes | None = None
        while True:
            following = ctypes.create_string_buffer(self._key_bytes)
            try:
                self._element(_NEXT_KEY, key, following)
            except FileNotFoundError:
                return
            key = following.raw
            value = ctypes.create_string_buffer(self._value_bytes)
            self._element(_LOOKUP, key, value)
            yield key, value.raw

    def _element(self, command: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None) -> None:
        held = None if key is None else ctypes.create_string_buffer(key, self._key_bytes)
        at = 0 if held is None else _address(held)
        to = 0 if value is None else _address(value)
        _call(command, struct.pack("=IIQQQ", self.descriptor, 0, at, to, 0))

    def close(self) -> None:
        """Give the descriptor back; programs that use the map keep it alive."""
        os.close(self.descriptor)


def load_classifier(name: str, instructions: Sequence[Instruction]) -> int:
    """Load a program of traffic control; return its descriptor.

    Raises:
        OSError: the kernel refused; the message holds the end of what its verifier said.
    """
    code = b"".join(
        _INSTRUCTION.pack(op, source << 4 | target, offset, immediate)
        for op, target, source, offset, immediate in instructions
    )
    held = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"")
    log = ctypes.create_string_buffer(_LOG_BYTES)
    for level in (0, 1):
        attributes = struct.pack(
            "=IIQQIIQII16s",
            _TYPE_CLASSIFIER,
            len(instructions),
            _address(held),
            _address(licence),
            level,
            _LOG_BYTES if level else 0,
            _address(log) if level else 0,
            0,
            0,
            name.encode(),
        )
        try:
            return _call(_PROGRAM_LOAD, attributes)
        except OSError as error:
            # Once more with a log, so that it says why.
            refused = error
    said = " ".join(log.value.decode(errors="replace").split())[-200:]
    raise OSError(refused.errno, f"{refused.strerror}{': ' if said else ''}{said}")


def program_of(identity: int) -> int:
    """Return a descriptor of a loaded program by its number.

    Raises:
        OSError: there is none, or it is not ours to see.
    """
    return _call(_PROGRAM_BY_ID, struct.pack("=III", identity, 0, 0))


def first_map_of(program: int, key_bytes: int, value_bytes: int) -> BpfMap:
    """Return the first map that a program uses.

    Raises:
        OSError: there is none, or it is not ours to see.
    """
    numbers = ctypes.create_string_buffer(4)
    # struct bpf_prog_info: 4 numbers and 2 addresses, load time, user, then count and address of the maps' numbers.
    info = ctypes.create_string_buffer(64)
    struct.pack_into("=IQ", info, 52, 1, _address(numbers))
    _call(_INFO, struct.pack("=IIQ", program, len(info), _address(info)))
    identity = struct.unpack("=I", numbers.raw)[0]
    return BpfMap(_call(_MAP_BY_ID, struct.pack("=III", identity, 0, 0)), key_bytes, value_bytes)
