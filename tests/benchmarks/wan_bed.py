"""Topology ``branch`` with its gateways and host working offline on their desired state: the bed of suite ``wan``."""

import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nfvportal.lab.client import LabClient
from nfvportal.lab.launch import launched_lab
from nfvportal.lab.topology import load_topology

T = TypeVar("T")
HOME = {"1": "fiber", "2": "dsl", "3": "lte"}
SUBNETS = {1: "10.1.1.0/24", 2: "10.1.2.0/24", 3: "10.1.3.0/24"}
# Gateway A has the odd, gateway B the even address of each link's /30.
LINK_NETWORKS = {"fiber": 0, "dsl": 4, "lte": 8}
GATEWAYS = {"gw-a": "a", "gw-b": "b"}
PROBE_KEY = "5a" * 32
HOLD_BASE_S = 1.0
SERVER = "10.2.0.10"
HOST = "10.1.1.10"
READY_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a receiver saw: bytes per 10 ms bin, and for datagrams the time of each."""

    bins: list[tuple[float, int]]
    times_s: list[float]


@dataclass(slots=True)
class _Journal:
    """Follows the events that one agent writes down."""

    path: Path
    _offset: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> list[dict[str, Any]]:
        """Return all events so far."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._offset += len(whole)
            lines = (json.loads(line) for line in whole.splitlines())
            self.events += [line for line in lines if "event" in line]
        return self.events


class WanBed:
    """A running bed. Times are epoch seconds."""

    def __init__(self, lab: LabClient, agents: Path) -> None:
        self.lab = lab
        self._agents = agents
        self._journals = {name: _Journal(agents / name / "journal.jsonl") for name in GATEWAYS}
        self._is_rerouting = True
        self._revision = 1

    def reroute(self, is_wanted: bool) -> None:
        """Let the gateways act on failures, or only watch them."""
        if is_wanted == self._is_rerouting:
            return
        self._is_rerouting = is_wanted
        self._revision += 1
        asked_s = time.time()
        for name in GATEWAYS:
            write_desired(self._agents, name, gateway_desired(name, self._revision, is_wanted))
            self.lab.agent_reload(name)
        for name in GATEWAYS:
            self.wait_event(name, "wan.gateway.state", asked_s)

    def events(self, gateway: str, kind: str, since_s: float) -> list[dict[str, Any]]:
        """Return what a gateway told since a moment."""
        journal = self._journals[gateway].read()
        return [event for event in journal if event["event"] == kind and event["at_s"] >= since_s]

    def wait_event(
        self, gateway: str, kind: str, since_s: float, within_s: float = READY_WITHIN_S
    ) -> dict[str, Any]:
        """Return the first event of a kind since a moment."""
        return wait_for(lambda: self.events(gateway, kind, since_s), f"{kind} of {gateway}", within_s)[0]

    def failures(self, since_s: float) -> list[dict[str, Any]]:
        """Return every link failure that a gateway told since a moment."""
        return [
            {"gateway": name, **event}
            for name in GATEWAYS
            for event in self.events(name, "wan.link_failed", since_s)
        ]

    def unhealthy(self) -> list[str]:
        """Return the links that some gateway does not trust, by the last that it told of each."""
        untrusted = []
        for name, journal in self._journals.items():
            last: dict[str, bool] = {}
            for event in journal.read():
                if event["event"] == "wan.gateway.state":
                    last = {link["name"]: link["state"] == "up" for link in event["data"]["links"]}
                elif event["event"] in ("wan.link_failed", "wan.link_restored"):
                    last[event["data"]["link"]] = event["event"] == "wan.link_restored"
            untrusted += [f"{name} {link}" for link, is_up in last.items() if not is_up]
        return untrusted

    def mapping(self) -> dict[str, str]:
        """Return the link on which gateway A's kernel sends each virtual subnet."""
        answer = self.lab.exec("gw-a", ["ip", "-j", "nexthop"])
        hops = json.loads(answer["stdout"] or "[]")
        wan = (hop for hop in hops if str(hop.get("dev", "")).startswith("wan-"))
        return {str(hop["id"] & 0xFFFF): hop["dev"].removeprefix("wan-") for hop in wan}

    def wait_home(self) -> None:
        """Wait until every virtual subnet rides on its home link again."""
        wait_for(lambda: self.mapping() == HOME, "the home map", READY_WITHIN_S)

    def carried_bytes(self) -> dict[str, int]:
        """Return the bytes each WAN link has carried from the branch to headquarters."""
        return {
            link["name"]: int(link["counters"]["ab"]["bytes_out"])
            for link in self.lab.status()["links"]
            if link["name"] in LINK_NETWORKS
        }

    @contextlib.contextmanager
    def flow(
        self, kind: str, protocol: str, node: str, seconds: float, **more: object
    ) -> Iterator["Running"]:
        """Run one flow from a node of the branch to the server while the body runs (at most ``seconds``)."""
        port = {"bulk": 5001, "voice": 5003}[kind]
        words = ["--kind", kind, "--protocol", protocol, "--address", SERVER, "--port", str(port)]
        receiver = _Program(
            self.lab, "hq-server", ["receive", *words, "--seconds", str(seconds), "--arrivals"]
        )
        wait_for(lambda: self._is_listening(port, protocol) or receiver.is_over, "the receiver listens")
        options = [
            word for name, value in more.items() for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        sender = _Program(self.lab, node, ["send", *words, *options, "--seconds", str(seconds)])
        try:
            yield Running(receiver)
        finally:
            receiver.join()
            sender.join()

    def _is_listening(self, port: int, protocol: str) -> bool:
        table = "udp" if protocol == "udp" else "tcp"
        return f":{port:04X} " in self.lab.exec("hq-server", ["cat", f"/proc/net/{table}"])["stdout"]


@dataclass(slots=True)
class Running:
    """A flow under way; its arrivals are known when it has ended."""

    _receiver: "_Program"

    def arrivals(self) -> Arrivals:
        """Return what arrived; call after the flow's ``with`` block."""
        said = json.loads(self._receiver.output())
        return Arrivals([(at_s, size) for at_s, size in said["bins"]], said["arrivals"])


class _Program(threading.Thread):
    """A traffic program in a node, run to its end."""

    def __init__(self, lab: LabClient, node: str, words: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._lab, self._node, self._words = lab, node, list(words)
        self._answer: dict[str, Any] | None = None
        self._error: BaseException | None = None
        self.start()

    @property
    def is_over(self) -> bool:
        return not self.is_alive()

    def run(self) -> None:
        argv = [sys.executable, "-m", "nfvportal.lab.traffic", *self._words]
        seconds = float(self._words[self._words.index("--seconds") + 1])
        try:
            self._answer = self._lab.exec(self._node, argv, timeout_s=seconds + 20)
        except Exception as error:  # told to whoever asks for the output
            self._error = error

    def output(self) -> str:
        self.join()
        if self._answer is None or self._answer["exit_code"] != 0:
            raise RuntimeError(f"traffic in {self._node} failed: {self._error or self._answer}")
        return str(self._answer["stdout"])


def wait_for(condition: Callable[[], T], what: str, within_s: float = READY_WITHIN_S) -> T:
    """Return the condition's first true value.

    Raises:
        TimeoutError: it did not come true in time.
    """
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(0.02)
    return value


def gateway_desired(name: str, revision: int = 1, is_rerouting: bool = True) -> dict[str, Any]:
    """Return the desired state of a gateway of topology ``branch``."""
    side = GATEWAYS[name]
    near, far = (1, 2) if side == "a" else (2, 1)
    topology = load_topology("branch")
    links = []
    for link, base in LINK_NETWORKS.items():
        shape = topology.link(link).shape
        assert shape is not None
        ends = {"local": f"192.0.2.{base + near}", "peer": f"192.0.2.{base + far}"}
        links.append({"name": link, "interface": f"wan-{link}", "rate_bps": shape.rate_bps, **ends})
    spec = {
        "side": side,
        "links": links,
        "virtual_subnets": [{"index": index, "prefix": prefix} for index, prefix in SUBNETS.items()],
        "remote_prefixes": ["10.2.0.0/24"] if side == "a" else [],
        "home": HOME,
        "map": HOME,
        "epoch": 1,
        "probe": {"interval_ms": 10, "multiplier": 3, "port": 3784, "key": PROBE_KEY},
        "hold_down": {"clean_count": 20, "base_s": HOLD_BASE_S, "max_s": HOLD_BASE_S},
        "reroute": is_rerouting,
    }
    return {"wan.gateway": {"revision": revision, "spec": spec}}


def host_desired() -> dict[str, Any]:
    """Return the desired state of the branch's host: one address and one subflow per virtual subnet."""
    addresses = [
        {"index": index, "address": f"10.1.{index}.10/24", "gateway": f"10.1.{index}.1"} for index in SUBNETS
    ]
    spec = {"interface": "lan0", "addresses": addresses, "subflow_limit": 8, "add_addr_accepted": 8}
    return {"wan.host": {"revision": 1, "spec": spec}}


def write_desired(agents: Path, name: str, desired: Mapping[str, Any]) -> None:
    """Write what an agent should make true where it looks for it."""
    (agents / name).mkdir(parents=True, exist_ok=True)
    (agents / name / "desired.json").write_text(json.dumps(desired))


@contextlib.contextmanager
def wan_bed() -> Iterator[WanBed]:
    """Run the bed: all links known at both gateways, the home map in the kernel, three subflows per connection.

    Raises:
        LabForbidden: this machine does not allow the lab.
    """
    with tempfile.TemporaryDirectory(prefix="nfvwan-") as name:
        directory, agents = Path(name), Path(name) / "agents"
        for gateway in GATEWAYS:
            write_desired(agents, gateway, gateway_desired(gateway))
        write_desired(agents, "branch-host", host_desired())
        arguments = ("--agents-dir", str(agents), "--portal", "none", "--journal")
        started_s = time.time()
        with launched_lab(directory, "branch", arguments) as lab:
            bed = WanBed(lab, agents)
            for gateway in GATEWAYS:
                bed.wait_event(gateway, "wan.gateway.state", started_s)
            bed.wait_home()
            wait_for(lambda: _endpoint_count(lab) == len(SUBNETS), "the host's MPTCP endpoints")
            yield bed


def _endpoint_count(lab: LabClient) -> int:
    answer = lab.exec("branch-host", ["ip", "mptcp", "endpoint", "show"])
    return sum("10.1." in line for line in answer["stdout"].splitlines())
