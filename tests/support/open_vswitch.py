"""Open vSwitch with its user-space data path in the current network namespace, apart from any of the system's.

``python -m tests.support.open_vswitch DIRECTORY PORT ...`` runs a bridge ``ovs0`` with these ports until its standard
input ends or the file ``stop`` appears in the directory; the file ``ready`` says that it works.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from nfvportal.lab.kernel import die_with_parent

BRIDGE = "ovs0"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
WITHIN_S = 30.0
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def why_not() -> str:
    """Return why there is no Open vSwitch here, or nothing."""
    programs = ("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl")
    missing = [name for name in programs if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"no {missing[0]}: install the package openvswitch-switch"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "Open vSwitch needs /dev/net/tun, which is not there or not for this user"
    return ""


class OpenVSwitch:
    """A running switch. ``connection``: where it listens for OpenFlow; ``pid``: the process that forwards."""

    def __init__(self, directory: Path) -> None:
        self.pid = 0
        self.directory = directory
        self.connection = f"unix:{directory}/{BRIDGE}.mgmt"
        self._environment = os.environ | {
            "PATH": _PATH,
            **{f"OVS_{name}DIR": str(directory) for name in ("RUN", "DB", "LOG", "SYSCONF")},
        }

    def command(self, *arguments: str, text: str = "") -> str:
        """Run a program of Open vSwitch; return what it prints."""
        done = subprocess.run(
            arguments,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
            timeout=WITHIN_S,
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def ofctl(self, verb: str, *arguments: str) -> str:
        """Run ``ovs-ofctl`` on the bridge."""
        return self.command("ovs-ofctl", "-O", "OpenFlow13", verb, self.connection, *arguments)

    def vsctl(self, *arguments: str) -> str:
        """Run ``ovs-vsctl``."""
        return self.command("ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "--timeout=20", *arguments)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a daemon in the foreground; it ends with us."""
        name = arguments[0]
        with (self.directory / f"{name}.out").open("wb") as log:
            return subprocess.Popen(
                [*arguments, f"--unixctl={self.directory}/{name}.ctl"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                preexec_fn=_become_daemon,
            )

    def wait_for(self, path: Path) -> None:
        """Wait until a socket or file is there."""
        deadline_s = time.monotonic() + WITHIN_S
        while not path.exists():
            assert time.monotonic() < deadline_s, self.said()
            time.sleep(0.01)

    def said(self) -> str:
        """Return what the daemons printed."""
        return "\n".join(path.read_text(errors="replace") for path in self.directory.glob("*.out"))


def _become_daemon() -> None:
    die_with_parent(signal.SIGKILL)
    # Its sockets hold some ninety frames: a busy machine must not keep it waiting. An ordinary user may not ask.
    with contextlib.suppress(PermissionError):
        os.nice(-15)


@contextlib.contextmanager
def open_vswitch(directory: Path, ports: Sequence[str]) -> Iterator[OpenVSwitch]:
    """Run a bridge with these interfaces as its ports; ordinary switching until it is told more."""
    switch = OpenVSwitch(directory)
    switch.command("ovsdb-tool", "create", str(directory / "conf.db"), SCHEMA)
    daemons = [
        switch.start("ovsdb-server", str(directory / "conf.db"), f"--remote=punix:{directory}/db.sock")
    ]
    try:
        switch.wait_for(directory / "db.sock")
        switch.vsctl("--no-wait", "init")
        daemons.append(switch.start("ovs-vswitchd", f"unix:{directory}/db.sock"))
        switch.pid = daemons[-1].pid
        bridge = [
            "add-br",
            BRIDGE,
            "--",
            "set",
            "bridge",
            BRIDGE,
            "datapath_type=netdev",
            "protocols=OpenFlow13",
        ]
        added = [word for port in ports for word in ("--", "add-port", BRIDGE, port)]
        switch.vsctl(*bridge, *added)
        switch.wait_for(directory / f"{BRIDGE}.mgmt")
        yield switch
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def main() -> None:
    """Serve until we shall stop."""
    directory = Path(sys.argv[1])
    with open_vswitch(directory, sys.argv[2:]):
        (directory / "ready").touch()
        while not (directory / "stop").exists():
            time.sleep(0.05)


if __name__ == "__main__":
    main()
