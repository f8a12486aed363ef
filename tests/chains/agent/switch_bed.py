"""A bridge with ports in this namespace, frames into it, and what comes out where."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apps.chains.agent.packet_sockets import PacketSocket
from apps.chains.engine.shim import Shim, shim_encode
from nfvportal.lab.kernel import write_sysctls

PORTS = ("p1", "p2", "p3", "p4")
GROUP = "03:00:00:07:01:02"
HOPS_MAX = 4
OTHER_GROUP = "03:00:00:07:01:03"


class Context:
    """Keeps what the role tells."""

    device, role, state_dir = "switch", "chains.switch", None

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []

    def emit(self, event: str, data: Mapping[str, Any], at_s: float | None = None) -> None:
        self.told.append(data)


def sh(command: str, text: str = "") -> str:
    """Run a command in this namespace; return what it prints."""
    done = subprocess.run(command.split(), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def make_bridge(ports: Sequence[str] = PORTS) -> None:
    """A bridge with ports p1, p2, ...; their other ends are e1, e2, ..., silent by themselves."""
    # Nothing moves but what the test sends.
    write_sysctls({f"net/ipv6/conf/{which}/disable_ipv6": "1" for which in ("all", "default")})
    lines = ["link set lo up", "link add name br0 type bridge stp_state 0 forward_delay 0", "link set br0 up"]
    for port in ports:
        end = port.replace("p", "e")
        lines += [f"link add {port} type veth peer name {end}", f"link set {port} master br0 up"]
        lines += [f"link set {end} up"]
    sh("ip -batch -", "\n".join(lines) + "\n")


def frame_to(mac: str, size_bytes: int = 60) -> bytes:
    """Return a frame of a chain."""
    target = bytes.fromhex(mac.replace(":", ""))
    return shim_encode(
        target, b"\x02\0\0\0\0\x09", Shim(7, 2, 1, 1, 1), bytes(range(60)) * (size_bytes // 60)
    )


@contextlib.contextmanager
def on_one_processor() -> Iterator[None]:
    """Stay on the processor where we are."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def wait_for_the_processor() -> None:
    """Wait until packets sent on this processor are through: it takes them in their order, those to itself too.

    Under load they are not delivered before ``send`` returns. Each hop puts a packet at the end again.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(10)
        for _ in range(HOPS_MAX):
            own.sendto(b"", own.getsockname())
            own.recv(1)


class Ends:
    """The far ends of all ports, listening."""

    def __init__(self, ports: Sequence[str] = PORTS) -> None:
        self.sockets = {port: PacketSocket(port.replace("p", "e"), is_promiscuous=True) for port in ports}

    def copies(self, frame: bytes, into: str = "p1") -> dict[str, int]:
        """Send a frame into a port; return port -> how many frames left by it, all of them unchanged."""
        with on_one_processor():
            self.sockets[into].send(frame)
            wait_for_the_processor()
        found = {
            # The bridge itself reports memberships now and then.
            port: [one for one in end.frames() if one[12:14] == frame[12:14]]
            for port, end in self.sockets.items()
        }
        assert all(one == frame for frames in found.values() for one in frames), found
        return {port: len(frames) for port, frames in found.items()}

    def members(self, group: str, into: str = "p1") -> set[str]:
        """Send a frame to a group; return the ports it left by, by none of them twice."""
        found = self.copies(frame_to(group), into)
        assert max(found.values()) <= 1, found
        return {port for port, count in found.items() if count}

    def close(self) -> None:
        """Stop listening."""
        for end in self.sockets.values():
            end.close()


def copies(group: str) -> dict[str, int]:
    """Send one frame to a group into p1 and count what leaves by each port."""
    ends = Ends()
    found = ends.copies(frame_to(group))
    ends.close()
    return found
