"""What a crash test does and asks as an operator: through REST, and behind the portal's back through the lab."""

import json
import os
import signal
from collections import Counter
from typing import Any

from nfvportal.lab.client import LabClient
from nfvportal.supervise.check import Browser, CheckError, RoundTrip
from tests.support.waiting import wait_until
from tests.support.whole_portal import WholePortal

SETTLED_WITHIN_S = 90
BACK_WITHIN_S = 60
JOB_WITHIN_S = 90
UPSTREAM_GATEWAY = "gw-a"


class Operator:
    """Acts on one portal."""

    def __init__(self, portal: WholePortal, lab: LabClient) -> None:
        self.portal = portal
        self.lab = lab
        self.browser = Browser(portal.url)

    def log_in(self) -> None:
        """Log in through the form."""
        trip = RoundTrip(self.portal.url, self.portal.password)
        trip.login()
        self.browser = trip.browser

    # asking

    def rows(self, path: str) -> list[dict[str, Any]]:
        """Return a REST collection; an answer that is no list yet counts as an empty one."""
        try:
            return self.browser.rows(path)
        except CheckError:
            return []

    def mapping(self) -> dict[str, str]:
        """Return the portal's map: virtual subnet -> link."""
        mapping: dict[str, str] = self.browser.get_json("/api/v1/wan/map/")["mapping"]
        return mapping

    def kernel_links(self) -> Counter[str]:
        """Return how many virtual subnets gateway A's kernel sends over each link now."""
        answer = self.lab.exec(UPSTREAM_GATEWAY, ["ip", "-j", "nexthop"])
        nexthops = json.loads(answer["stdout"] or "[]")
        return Counter(
            str(hop["dev"]).removeprefix("wan-") for hop in nexthops if hop.get("dev", "").startswith("wan-")
        )

    def failovers(self, link: str) -> list[dict[str, Any]]:
        """Return the recorded failovers of a link."""
        return [row for row in self.rows("/api/v1/wan/failovers/") if row["link"] == link]

    def unsettled(self) -> list[str]:
        """Return what is not as it should be at rest; empty when all is well."""
        found = [
            f"device {row['name']} is {row['status']}"
            for row in self.rows("/api/v1/inventory/devices/")
            if row["roles"] and row["status"] != "online"
        ]
        links = self.rows("/api/v1/wan/links/")
        found += [f"link {row['name']} is {row['state']}" for row in links if row["state"] != "up"]
        if not links:
            return [*found, "REST does not answer"]
        if Counter(self.mapping().values()) != self.kernel_links():
            found.append(f"map {self.mapping()}, kernel {dict(self.kernel_links())}")
        return found

    def wait_settled(self) -> None:
        """Wait until all agents are online, all links up, and the kernel does what the map says."""

        def settled() -> bool:
            try:
                self.last_unsettled = self.unsettled()
            except (CheckError, KeyError) as error:
                self.last_unsettled = [repr(error)]
            return not self.last_unsettled

        self.last_unsettled: list[str] = []
        try:
            wait_until(settled, "the portal settles", SETTLED_WITHIN_S, every_s=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.last_unsettled}") from None

    def bytes_received(self) -> int:
        """Return how many bytes the headquarters' server received so far."""
        answer = self.lab.exec("hq-server", ["ip", "-j", "-s", "link", "show", "lan0"])
        return int(json.loads(answer["stdout"])[0]["stats64"]["rx"]["bytes"])

    def wait_traffic(self) -> None:
        """Wait until at least a megabyte more has arrived at headquarters."""
        before = self.bytes_received()
        wait_until(lambda: self.bytes_received() > before + 1_000_000, "traffic flows", 30)

    # acting

    def busy_link(self) -> str:
        """Return a link that carries a virtual subnet."""
        return sorted(self.mapping().values())[0]

    def start_fault_job(self, link: str, kind: str, duration_s: float, value: float | None = None) -> str:
        """Start a fault through REST; return the address of its job."""
        body: dict[str, Any] = {"link": link, "kind": kind, "duration_s": duration_s}
        if value is not None:
            body["value"] = value
        status, headers, answer = self.browser.request(
            "POST", "/api/v1/lab/faults/", json.dumps(body).encode(), "application/json"
        )
        assert status == 202, (status, answer)
        return headers["location"]

    def job(self, path: str) -> dict[str, Any]:
        """Return a job; {} while the portal cannot answer."""
        try:
            job: dict[str, Any] = self.browser.get_json(path)
        except CheckError:
            return {}
        return job

    def wait_job(self, path: str, *states: str) -> dict[str, Any]:
        """Wait until the job is in one of these states."""
        wait_until(
            lambda: self.job(path).get("state") in states, f"job {path} is {states}", JOB_WITHIN_S, 0.1
        )
        return self.job(path)

    def kill(self, name: str) -> int:
        """Kill -9 one of the portal's processes; return its process id."""
        pid = int(self.portal.instance()["pids"][name])
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_replaced(self, name: str, old_pid: int) -> None:
        """Wait until the supervisor runs another process in its place."""
        wait_until(
            lambda: self.portal.instance()["pids"][name] not in {0, old_pid}, f"{name} is back", BACK_WITHIN_S
        )

    def clear_faults(self) -> None:
        """Restore every link."""
        for link in self.lab.status()["links"]:
            if link["fault"] is not None:
                self.lab.clear(link["name"])
