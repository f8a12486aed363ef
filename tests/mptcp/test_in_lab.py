"""The whole portal over the lab's branch: 1 % of the packets, compared with the sockets; a verdict and its end."""

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tests.support.whole_portal import WholePortal, whole_portal

pytestmark = [pytest.mark.lab, pytest.mark.slow]
FOUND_WITHIN_S = 90.0
HOST, SERVER = "branch-host", "10.2.0.10"
TOKEN = """
from django.contrib.auth.models import User
from nfvportal.accounts.services import api_token_create
print("token", api_token_create(user=User.objects.get(username="admin"), name="lab", days=1, can_write=True)[1])
"""
Answer = dict[str, Any]


class Asker:
    """A program that asks the portal by REST, and the lab what is really there."""

    def __init__(self, portal: WholePortal) -> None:
        self._url = portal.url.rstrip("/")
        found = re.search(r"token (\S+)", portal.manage("shell", "--command", TOKEN))
        assert found
        self._token = found[1]
        self.lab = portal.lab()

    def ask(self, path: str, body: Answer | None = None) -> Answer:
        """Return the answer of an address below ``/api/v1/mptcp/``."""
        request = urllib.request.Request(
            f"{self._url}/api/v1/mptcp/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            got: Answer = json.loads(answer.read())
        return got

    def sockets(self, port: int) -> set[tuple[str, int]]:
        """Return the host's ends of the subflows to a port of the server, as the kernel lists them."""
        command = ["ss", "-Htn", "state", "established", "dst", f"{SERVER}:{port}"]
        result = self.lab.exec(HOST, command)
        assert result["exit_code"] == 0, result
        ends = [line.split()[2] for line in str(result["stdout"]).splitlines() if line.strip()]
        # A subflow that is bound to an interface is listed as address%interface.
        return {
            (address.partition("%")[0], int(number))
            for address, _, number in (end.rpartition(":") for end in ends)
        }

    def found(self, port: int) -> Answer | None:
        """Return the connection that holds exactly the subflows that the sockets have."""
        wanted = self.sockets(port)
        if len(wanted) < 3:
            return None
        for row in self.ask("connections/?min_subflows=2&domain=branch&page_size=200")["results"]:
            detail = self.ask(f"connections/{row['id']}/")
            live = [flow for flow in detail["subflows"] if flow["state"] != "closed"]
            ends = {(flow["a"], flow["a_port"]) for flow in live}
            if ends == wanted and all((flow["b"], flow["b_port"]) == (SERVER, port) for flow in live):
                return detail
        return None

    def received_bytes(self, port: int) -> int:
        """Return how many bytes the server's kernel has taken on all subflows of a port."""
        result = self.lab.exec("hq-server", ["ss", "-Htni", "state", "established", "sport", "=", f":{port}"])
        return sum(int(number) for number in re.findall(r"bytes_received:(\d+)", str(result["stdout"])))


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    with whole_portal() as portal:
        yield Asker(portal)


def test_sampled_connection_has_the_subflows_of_the_sockets(asker: Asker) -> None:
    started_s = time.monotonic()
    detail = wait_until(
        lambda: asker.found(5001), "the bulk connection with its subflows", FOUND_WITHIN_S, every_s=1
    )
    print(f"found after {time.monotonic() - started_s:.1f} s, confidence {detail['confidence']:.6f}")
    assert detail["confidence"] > 0.99
    assert {flow["seen_by"][0] for flow in detail["subflows"]} == {"gw-a:lan0"}
    address, number = sorted(asker.sockets(5001))[0]
    answer = asker.ask(f"lookup/?src={address}&src_port={number}&dst={SERVER}&dst_port=5001")
    assert answer["connection"]["id"] == detail["id"]
    assert len(answer["siblings"]) >= 2


def test_verdict_stops_the_connection_no_other_and_is_undone(asker: Asker) -> None:
    detail = wait_until(
        lambda: asker.found(5001), "the bulk connection with its subflows", FOUND_WITHIN_S, every_s=1
    )
    body = {
        "connection": detail["id"],
        "reason": "test",
        "expires_in_s": 600,
        "force": not detail["is_blockable"],
    }
    verdict = asker.ask("verdicts/", body)

    def grows(port: int) -> bool:
        before = asker.received_bytes(port)
        time.sleep(1)  # the measure itself: what arrives within a second
        return asker.received_bytes(port) > before

    wait_until(lambda: not grows(5001), "nothing more arrives on the blocked connection", 20)
    assert grows(5002), "the other connection goes on"
    assert not grows(5001)
    asker.ask(f"verdicts/{verdict['id']}/undo/", {"reason": "enough"})
    wait_until(lambda: grows(5001), "traffic flows again", 60)
