"""The lab's branch with offline agents: what their journals tell, and what its packets do."""

import json
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nfvportal.lab.client import LabClient
from tests.support.waiting import wait_until

LINKS = {"fiber": (50_000_000, 1), "dsl": (20_000_000, 5), "lte": (10_000_000, 9)}
HOME = {"1": "fiber", "2": "dsl", "3": "lte"}
ECHO = [sys.executable, "-m", "tests.wan.agent.echo"]
GATEWAYS = ("gw-a", "gw-b")
HOST_SPEC = {
    "interface": "lan0",
    "addresses": [
        {"index": index, "address": f"10.1.{index}.10/24", "gateway": f"10.1.{index}.1"}
        for index in (1, 2, 3)
    ],
    "subflow_limit": 8,
    "add_addr_accepted": 8,
}


def gateway_spec(side: str) -> dict[str, Any]:
    """Return the spec of one gateway, as the portal would send it."""
    here, there = (0, 1) if side == "a" else (1, 0)
    return {
        "side": side,
        "links": [
            {
                "name": name,
                "interface": f"wan-{name}",
                "local": f"192.0.2.{first + here}",
                "peer": f"192.0.2.{first + there}",
                "rate_bps": rate_bps,
            }
            for name, (rate_bps, first) in LINKS.items()
        ],
        "virtual_subnets": [
            {"index": at, "prefix": f"10.1.{at}.0/24", "default": at == 1} for at in (1, 2, 3)
        ],
        "remote_prefixes": ["10.2.0.0/24"] if side == "a" else [],
        "home": HOME,
        "map": HOME,
        "epoch": 1,
        "probe": {"interval_ms": 10, "multiplier": 5, "port": 4785, "key": "5a" * 32},
        "hold_down": {"clean_count": 20, "base_s": 0.2, "max_s": 1},
        "reroute": True,
    }


class GatewayJournal:
    """What one gateway's agent has told so far, folded to its present state."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.mark = 0

    def events(self) -> list[dict[str, Any]]:
        """Return all events, oldest first; an unfinished last line is left for later."""
        text = self._path.read_text() if self._path.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [event for line in lines if "event" in (event := json.loads(line))]

    def news(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of the events of a type since the mark."""
        return [event["data"] for event in self.events()[self.mark :] if event["event"] == kind]

    def failures(self) -> list[tuple[str, str]]:
        """Return (link, direction) of the failures since the mark."""
        return [(data["link"], data["direction"]) for data in self.news("wan.link_failed")]

    def state(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return (link -> state, map)."""
        states: dict[str, str] = {}
        mapping: dict[str, str] = {}
        for event in self.events():
            data = event["data"]
            if event["event"] == "wan.gateway.state":
                states = {link["name"]: link["state"] for link in data["links"]}
            elif event["event"] == "wan.link_failed":
                states[data["link"]] = "down"
            elif event["event"] == "wan.link_restored":
                states[data["link"]] = "up"
            mapping = data.get("map", mapping)
        return states, mapping


class Branch:
    """The running lab and the journals of its gateways."""

    def __init__(self, lab: LabClient, agents: Path) -> None:
        self.lab = lab
        self.journals = {name: GatewayJournal(agents / name / "journal.jsonl") for name in GATEWAYS}

    def is_well(self) -> bool:
        """Whether every link is up at both ends and every virtual subnet at home."""
        well = (dict.fromkeys(LINKS, "up"), HOME)
        return all(journal.state() == well for journal in self.journals.values())

    def mend(self) -> None:
        """Clear all faults, wait until all is well again, and count events from here."""
        for link in self.lab.status()["links"]:
            if link["fault"] is not None:
                self.lab.clear(link["name"])
        wait_until(self.is_well, "all links are up again and the map is at home", 15)
        for journal in self.journals.values():
            journal.mark = len(journal.events())

    def wait_both(
        self, condition: Callable[[GatewayJournal], object], what: str, within_s: float = 5.0
    ) -> None:
        """Wait until a condition holds at both gateways."""
        for name, journal in self.journals.items():
            wait_until(lambda journal=journal: condition(journal), f"{name}: {what}", within_s)  # type: ignore[misc]

    def output(self, node: str, command: str, timeout_s: float = 10.0) -> str:
        """Return what a command prints in a node."""
        result = self.lab.exec(node, command.split(), timeout_s=timeout_s)
        assert result["exit_code"] == 0, result
        return str(result["stdout"])


class Pings:
    """A datagram every 10 ms from the branch's host to the headquarters and back, in the background."""

    def __init__(self, branch: Branch, count: int, index: int = 1) -> None:
        self._lab, self._count = branch.lab, count
        self._result: dict[str, Any] = {}
        with tempfile.NamedTemporaryFile(prefix="ready-", dir=branch.lab.socket_path.parent) as file:
            ready = Path(file.name)
        words = ["ask", f"10.1.{index}.10", "10.2.0.10", str(count), str(ready)]
        self._threads = [
            threading.Thread(target=self._lab.exec, args=("hq-server", [*ECHO, "serve"], 40.0)),
            threading.Thread(target=self._ask, args=(words,)),
        ]
        for thread in self._threads:
            thread.start()
        wait_until(ready.exists, "datagrams come back", 10)

    def _ask(self, words: list[str]) -> None:
        self._result = self._lab.exec("branch-host", [*ECHO, *words], timeout_s=20)

    def finish(self) -> tuple[int, set[int]]:
        """Return how many were sent and the numbers of those that came back."""
        for thread in self._threads:
            thread.join()
        assert self._result["exit_code"] == 0, self._result
        return self._count, set(json.loads(self._result["stdout"]))
