"""Driver ``bpf_clone``: a small program on each port's ingress looks the group up and clones frames for its members.

The program is assembled here: it needs no compiler, only the privilege to load it. A group is an entry of a map: its
members change in one atomic step, and any number of groups costs one look-up. The last member gets the original. A
group's frames bypass the bridge, so it does not learn their senders.
"""

import os
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from apps.chains.agent.bpf import BpfMap, Instruction, first_map_of, load_classifier, program_of
from apps.chains.agent.switch_commands import Bridge, FilterPlaces, filters_of, run
from apps.chains.engine.steering import PROBE_GROUP, port_copies
from nfvportal.agent.netlink import NLM_ACK, NLM_CREATE, Netlink, pack_attribute, pack_message
from nfvportal.lib.errors import InvalidInputError

# Another program gets another name: what an older release left is replaced, not mistaken for ours.
PROGRAM: Final = "nfv_chains_1"
_FAMILY: Final = "nfv_chains_"
GROUPS_MAX: Final = 1024
MEMBERS_MAX: Final = 64
KEY_BYTES: Final = 8
VALUE_BYTES: Final = 4 * MEMBERS_MAX
PREF_FIRST: Final = 39_000
_SHOT, _CONTINUE = 2, -1
_CLONE_REDIRECT, _REDIRECT, _LOOK_UP = 13, 23, 1
# Offsets in struct __sk_buff.
_IFINDEX, _DATA, _DATA_END = 40, 76, 80
_LOAD_WORD, _LOAD_HALF, _STORE_WORD = 0x61, 0x69, 0x63
_MOVE, _MOVE_REGISTER, _ADD = 0xB7, 0xBF, 0x07
_IF_EQUAL, _IF_SAME, _IF_ABOVE = 0x15, 0x1D, 0x2D
_JUMP, _CALL, _EXIT, _LOAD_MAP = 0x05, 0x85, 0x95, 0x18
_RTM_NEWTFILTER: Final = 44
_INGRESS: Final = 0xFFFF_FFF2
_KIND, _OPTIONS, _FD, _NAME, _FLAGS = 1, 2, 6, 7, 8
_ACT_DIRECT: Final = 1


def clone_program(map_descriptor: int) -> list[Instruction]:
    """Return the program: look up the frame's target, clone to all members but the sender, the last one redirected."""
    head: list[Instruction] = [
        (_MOVE_REGISTER, 6, 1, 0, 0),
        (_LOAD_WORD, 2, 1, _DATA, 0),
        (_LOAD_WORD, 3, 1, _DATA_END, 0),
        (_MOVE_REGISTER, 4, 2, 0, 0),
        (_ADD, 4, 0, 0, 14),
        (_IF_ABOVE, 4, 3, 0, 0),  # a cut frame: to the end, which continues
        (_LOAD_WORD, 5, 2, 0, 0),
        (_STORE_WORD, 10, 5, -8, 0),
        (_LOAD_HALF, 5, 2, 4, 0),
        (_STORE_WORD, 10, 5, -4, 0),
        (_LOAD_MAP, 1, 1, 0, map_descriptor),
        (0, 0, 0, 0, 0),
        (_MOVE_REGISTER, 2, 10, 0, 0),
        (_ADD, 2, 0, 0, -8),
        (_CALL, 0, 0, 0, _LOOK_UP),
        (_IF_EQUAL, 0, 0, 0, 0),  # no such group: to the end
        (_MOVE_REGISTER, 7, 0, 0, 0),
        (_LOAD_WORD, 8, 6, _IFINDEX, 0),
        (_MOVE, 9, 0, 0, 0),
    ]
    body: list[Instruction] = []
    for index in range(MEMBERS_MAX):
        rest = (MEMBERS_MAX - index) * 9 - 2
        body += [
            (_LOAD_WORD, 1, 7, 4 * index, 0),
            (_IF_EQUAL, 1, 0, rest, 0),  # no more members: behind the loop
            (_IF_SAME, 1, 8, 6, 0),  # the sender: next one
            (_IF_EQUAL, 9, 0, 4, 0),  # the first one: nobody to clone to yet
            (_MOVE_REGISTER, 1, 6, 0, 0),
            (_MOVE_REGISTER, 2, 9, 0, 0),
            (_MOVE, 3, 0, 0, 0),
            (_CALL, 0, 0, 0, _CLONE_REDIRECT),
            (_LOAD_WORD, 9, 7, 4 * index, 0),
        ]
    tail: list[Instruction] = [
        (_MOVE, 0, 0, 0, _SHOT),
        (_IF_EQUAL, 9, 0, 3, 0),
        (_MOVE_REGISTER, 1, 9, 0, 0),
        (_MOVE, 2, 0, 0, 0),
        (_CALL, 0, 0, 0, _REDIRECT),
        (_EXIT, 0, 0, 0, 0),
        (_MOVE, 0, 0, 0, _CONTINUE),
        (_EXIT, 0, 0, 0, 0),
    ]
    code = head + body + tail
    to_end = len(code) - 2
    for at in (5, 15):
        op, target, source, _, immediate = code[at]
        code[at] = (op, target, source, to_end - at - 1, immediate)
    return code


def _key(group: str) -> bytes:
    return bytes.fromhex(group.replace(":", "")) + bytes(2)


class BpfClone:
    """Programs of traffic control that share one map of groups."""

    name = "bpf_clone"

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._places = FilterPlaces()

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Set the map right, then have the program on all ports.

        Raises:
            InvalidInputError: the kernel refused.
        """
        port_copies(groups, self._bridge.ports)
        try:
            await self._apply(groups)
        except OSError as error:
            raise InvalidInputError("groups", f"the kernel refused them: {error}") from error

    async def _apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        attached = await self._attached()
        if not groups:
            for port, rows in attached.items():
                await self._detach(port, rows)
            await self._places.leave()
            return
        wanted = {_key(group): _value(members) for group, members in groups.items()}
        ours = {port: rows[0] for port, rows in attached.items() if _is_current(rows)}
        # All ports share one program, so that one map speaks for all.
        current = min(ours.values(), key=_program_id)["options"]["prog"]["id"] if ours else 0
        if current:
            program = program_of(current)
            groups_map = first_map_of(program, KEY_BYTES, VALUE_BYTES)
        else:
            groups_map = BpfMap.create("nfv_groups", KEY_BYTES, VALUE_BYTES, GROUPS_MAX)
            program = load_classifier(PROGRAM, clone_program(groups_map.descriptor))
        try:
            _reconcile(groups_map, wanted)
            for port, rows in attached.items():
                if len(rows) != 1 or not _is_current(rows) or _program_id(rows[0]) != current:
                    await self._attach(port, program)
                    await self._detach(port, rows)
        finally:
            groups_map.close()
            os.close(program)

    async def _attached(self) -> dict[str, list[dict[str, Any]]]:
        """Return port -> filters with a program of ours, of this release or an older one."""
        found = {}
        for port in self._bridge.ports:
            rows = await filters_of(port)
            found[port] = [row for row in rows if _program_name(row).startswith(_FAMILY)]
        return found

    async def held(self) -> dict[str, frozenset[str]]:
        """Return group -> members, as the kernel has it."""
        rows = next((rows for rows in (await self._attached()).values() if _is_current(rows)), None)
        if rows is None:
            return {}
        program = program_of(_program_id(rows[0]))
        groups_map = first_map_of(program, KEY_BYTES, VALUE_BYTES)
        found = {key[:6].hex(":"): _members(value) for key, value in groups_map.items()}
        groups_map.close()
        os.close(program)
        return found

    async def _attach(self, port: str, program: int) -> int:
        """Put a program on a port's ingress at a place that nobody has; return which."""
        await self._places.ensure(port)
        taken = {row.get("pref") for row in await filters_of(port)}
        pref = next(pref for pref in range(PREF_FIRST, 0, -1) if pref not in taken)
        netlink = Netlink()
        try:
            netlink.send_all([_attachment(socket.if_nametoindex(port), pref, program)])
        finally:
            netlink.close()
        return pref

    async def _detach(self, port: str, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            where = ["dev", port, "ingress", "protocol", "all", "pref", str(row["pref"])]
            await run(["tc", "filter", "del", *where])

    async def probe(self) -> str:
        """Return ``ok``, or why no such program can be loaded and attached here."""
        port = self._bridge.ports[0]
        try:
            groups_map = BpfMap.create("nfv_groups", KEY_BYTES, VALUE_BYTES, 1)
            try:
                groups_map.set(_key(PROBE_GROUP), _value(frozenset({port})))
                program = load_classifier("nfv_probe", clone_program(groups_map.descriptor))
            finally:
                groups_map.close()
            try:
                await self._detach(port, [{"pref": await self._attach(port, program)}])
            finally:
                os.close(program)
                await self._places.leave()
        except OSError as error:
            return f"the kernel takes no program from this device: {error.strerror}"
        return "ok"


def _attachment(ifindex: int, pref: int, program: int) -> bytes:
    """Return the message that puts a program on an interface's ingress. Source: linux/pkt_cls.h."""
    every_protocol = socket.htons(3)
    header = struct.pack("=BBHiIII", 0, 0, 0, ifindex, 0, _INGRESS, pref << 16 | every_protocol)
    options = (
        pack_attribute(_FD, struct.pack("=I", program))
        + pack_attribute(_NAME, PROGRAM.encode() + b"\0")
        + pack_attribute(_FLAGS, struct.pack("=I", _ACT_DIRECT))
    )
    body = header + pack_attribute(_KIND, b"bpf\0") + pack_attribute(_OPTIONS, options)
    return pack_message(_RTM_NEWTFILTER, NLM_ACK | NLM_CREATE | 0x200, body)


def _value(members: frozenset[str]) -> bytes:
    numbers = [socket.if_nametoindex(member) for member in sorted(members)]
    return struct.pack(f"={len(numbers)}I", *numbers).ljust(VALUE_BYTES, b"\0")


def _members(value: bytes) -> frozenset[str]:
    return frozenset(
        socket.if_indextoname(number) for number in struct.unpack(f"={MEMBERS_MAX}I", value) if number
    )


def _reconcile(groups_map: BpfMap, wanted: Mapping[bytes, bytes]) -> None:
    held = dict(groups_map.items())
    for key in held.keys() - wanted.keys():
        groups_map.delete(key)
    for key, value in wanted.items():
        if held.get(key) != value:
            groups_map.set(key, value)


def _program_name(row: Mapping[str, Any]) -> str:
    return str(row.get("options", {}).get("bpf_name", ""))


def _program_id(row: Mapping[str, Any]) -> int:
    return int(row["options"]["prog"]["id"])


def _is_current(rows: list[dict[str, Any]]) -> bool:
    return bool(rows) and _program_name(rows[0]) == PROGRAM
