"""The network namespace of one foreign network function: two ports and a bridge between them.

    entry --- in | bridge | out --- exit

The proxy puts packets into ``entry`` and takes them from ``exit``; rules and programs see the ports ``in`` and ``out``.
The bridge learns nothing and floods, so whatever addresses frames have, they pass. It has no addresses, speaks no IPv6
and answers nobody. What a Linux bridge never forwards does not pass: frames from a group or zero address, and those to
01:80:c2:00:00:01 and :02 (pause, LACP).

A *marker* passes from ``in`` to ``out`` by a rule of our own at the very ingress, before the bridge and whatever rules
it has, but in order with the packets: all of this happens in one queue of one processor, which is why the proxy keeps
to one. Only frames with the proxy's own random key pass there; nothing that a chain carries can know it.
"""

import contextlib
import os
import secrets
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from apps.chains.agent.packet_sockets import FRAME_MAX, PacketSocket
from nfvportal.lab.kernel import CLONE_NEWNET, offloads_off, unshare, write_sysctls

PORTS: Final = ("entry", "in", "out", "exit")
FRAME_MIN: Final = 14
COMMAND_WITHIN_S: Final = 10.0
PROBE_WITHIN_S: Final = 0.25
# IEEE 802: local experimental EtherType 1.
MARKER_TYPE: Final = b"\x88\xb5"
_KEY_BYTES: Final = 16
_NUMBER: Final = struct.Struct("!Q")
_MARKER_ADDRESSES: Final = bytes.fromhex("020000000002020000000001")
_SYSCTLS: Final = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    # Else bridged packets also pass the hooks of IP, which drop what is malformed and reassemble fragments.
    "net/bridge/bridge-nf-call-iptables": "0",
    "net/bridge/bridge-nf-call-ip6tables": "0",
    "net/bridge/bridge-nf-call-arptables": "0",
}
_LINKS: Final = f"""\
link add entry mtu {FRAME_MAX} type veth peer name in mtu {FRAME_MAX}
link add exit mtu {FRAME_MAX} type veth peer name out mtu {FRAME_MAX}
link add bridge type bridge stp_state 0 forward_delay 0 ageing_time 0 mcast_snooping 0 group_fwd_mask 65528
link set in master bridge
link set out master bridge
link set in type bridge_slave learning off flood on mcast_flood on
link set out type bridge_slave learning off flood on mcast_flood on
link set lo up
link set entry up
link set in up
link set exit up
link set out up
link set bridge up
"""


def tool(name: str) -> str:
    """Return the path of a system program.

    Raises:
        FileNotFoundError: this server does not have it.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


def command(arguments: Sequence[str], text: str = "") -> str:
    """Run a system program with something to read; return what it printed.

    Raises:
        OSError: it is not there, or failed; the message is its own.
        subprocess.TimeoutExpired: it did not end.
    """
    done = subprocess.run(
        [tool(arguments[0]), *arguments[1:]],
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=COMMAND_WITHIN_S,
        check=False,
    )
    if done.returncode:
        raise OSError(f"{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def is_listened_to(port: str) -> bool:
    """Whether a program takes packets from a port of this namespace by a packet socket."""
    rows = Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]
    # Columns: socket, references, type, protocol, interface, running, ...
    index = str(socket.if_nametoindex(port))
    return any(row.split()[4:6] == [index, "1"] for row in rows)


class Space:
    """A new namespace, into which this process moves for good.

    Raises:
        OSError: the kernel forbids it, or lacks something it takes.
    """

    def __init__(self) -> None:
        unshare(CLONE_NEWNET)
        # Packets stay in order where one processor handles them one after the other.
        os.sched_setaffinity(0, {secrets.choice(sorted(os.sched_getaffinity(0)))})
        write_sysctls(_SYSCTLS)
        command(["ip", "-batch", "-"], _LINKS)
        for port in PORTS:
            offloads_off(port)
        self._entry = PacketSocket("entry", 0)
        self._exit = PacketSocket("exit", is_promiscuous=True)
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._marker = _MARKER_ADDRESSES + MARKER_TYPE + self._key
        self.has_markers = False

    def fileno(self) -> int:
        """Return the descriptor that is readable when something came out."""
        return self._exit.fileno()

    @property
    def refused(self) -> int:
        """Frames that the entry did not take."""
        return self._entry.dropped

    def overflow_count(self) -> int:
        """Return how many frames came out since the last call and were lost because we were too slow."""
        return self._exit.overflow_count()

    def crossing_drops(self) -> int:
        """Return how many frames the kernel lost between two ends of a pair, because its queue was full."""
        # Columns behind the name: eight of receiving, then bytes, packets, errors and drops of sending.
        rows = (line.split(":") for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:])
        return sum(int(figures.split()[11]) for name, figures in rows if name.strip() in PORTS)

    def put(self, frame: bytes) -> None:
        """Put a packet in."""
        self._entry.send(frame)

    def put_marker(self, number: int) -> None:
        """Put a marker in."""
        self._entry.send(self._marker + _NUMBER.pack(number))

    def taken(self) -> Iterator[bytes | int]:
        """Yield what came out, in order, at most a burst: packets, and numbers of markers."""
        for data in self._exit.frames():
            if data.startswith(self._marker):
                yield _NUMBER.unpack_from(data, len(self._marker))[0]
            else:
                yield data

    def markers_probe(self) -> bool:
        """Let markers pass, if the kernel has what it takes; return whether one did. To be called with rules loaded."""
        rule = f'ether type 0x88b5 @ll,112,{_KEY_BYTES * 8} 0x{self._key.hex()} fwd to "out"'
        hook = 'type filter hook ingress device "in" priority -500'
        text = f"table netdev marker {{\n chain ingress {{\n {hook};\n {rule}\n }}\n}}\n"
        # Where this is refused, they pass the bridge like packets, and rules may drop them.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command(["nft", "-f", "-"], text)
        self.put_marker(0)
        deadline_s = time.monotonic() + PROBE_WITHIN_S
        while not self.has_markers and time.monotonic() < deadline_s:
            self.has_markers = any(item == 0 for item in self.taken())
        return self.has_markers
