"""Verdicts on a gateway between real Multipath TCP hosts: what is named stops, its later subflows too, nothing else."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.mptcp.agent.enforcer import TABLE, parse_enforcer_spec, table_text
from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.client import LabClient
from nfvportal.lab.isolation import probe_isolation
from nfvportal.lab.launch import launched_lab
from nfvportal.lib.errors import InvalidInputError
from tests.support.waiting import wait_until

STREAMS = [sys.executable, "-m", "tests.mptcp.agent.streams"]
COUNT = 3
PROGRESS_BYTES = 60_000
VERDICT: dict[str, Any] = {
    "id": 1, "flows": [["10.0.0.1", 1, "10.0.0.2", 2]], "tokens": [7], "expires_at_s": 2**32
}  # fmt: skip


class Streams:
    """Connections between the branch's host and the headquarters, and the gateway between them."""

    def __init__(self, lab: LabClient, directory: Path) -> None:
        self.lab = lab
        self._client, self._server = directory / "client.json", directory / "server.json"
        for command in (
            "ip addr add 10.1.2.10/24 dev lan0",
            "ip addr add 10.1.3.10/24 dev lan0",
            "ip addr add 10.1.3.11/24 dev lan0",
            "ip mptcp limits set subflows 8 add_addr_accepted 8",
            "ip mptcp endpoint add 10.1.2.10 dev lan0 subflow",
            "ip mptcp endpoint add 10.1.3.10 dev lan0 subflow",
        ):
            self.run("branch-host", *command.split())
        self.run("hq-server", *["ip", "mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "8"])
        self._start("hq-server", "serve", str(self._server))
        wait_until(self._server.exists, "the server listens", 15)
        self._start("branch-host", "ask", "10.1.1.10", "10.2.0.10", str(COUNT), str(self._client))
        wait_until(self._client.exists, "the connections are open", 15)
        wait_until(lambda: min(self.subflow_counts()) >= 3, "each connection has three subflows", 20)

    def run(self, node: str, *argv: str) -> str:
        """Return what a command prints in a node."""
        result = self.lab.exec(node, list(argv), timeout_s=20)
        assert result["exit_code"] == 0, result
        return str(result["stdout"])

    def _start(self, node: str, *words: str) -> None:
        self.run(node, "sh", "-c", '"$@" >/dev/null 2>&1 </dev/null &', "sh", *STREAMS, *words)

    def rows(self) -> list[dict[str, Any]]:
        """Return the client's view of each connection."""
        rows: list[dict[str, Any]] = json.loads(self._client.read_text())
        return rows

    def sizes(self) -> list[int]:
        """Return how many bytes came back on each connection."""
        return [row["bytes"] for row in self.rows()]

    def subflow_counts(self) -> list[int]:
        """Return how many subflows each connection has."""
        return [len(row["flows"]) for row in self.rows()]

    def others_go_on(self, within_s: float = 20) -> None:
        """Wait until all connections but the first have made progress."""
        before = self.sizes()
        wait_until(
            lambda: all(now - then > PROGRESS_BYTES for now, then in zip(self.sizes()[1:], before[1:], strict=True)),
            "the other connections go on", within_s,
        )  # fmt: skip

    def first_stands_still(self) -> None:
        """Check that the first makes no progress while the others do."""
        before = self.sizes()[0]
        self.others_go_on()
        assert self.sizes()[0] == before

    def first_goes_on(self, within_s: float = 40) -> None:
        """Wait until the first makes progress again."""
        before = self.sizes()[0]
        wait_until(
            lambda: self.sizes()[0] > before + PROGRESS_BYTES, "the first connection goes on", within_s
        )

    def verdict(self, lasts_s: float = 3600) -> dict[str, Any]:
        """Return a verdict on the first connection as the portal would write it."""
        row = self.rows()[0]
        token = json.loads(self._server.read_text())[str(row["port"])]
        return {"id": 5, "flows": row["flows"], "tokens": [token], "expires_at_s": time.time() + lasts_s}

    def enforce(self, *verdicts: dict[str, Any]) -> dict[str, Any]:
        """Give the gateway verdicts; return what its role says."""
        spec = json.dumps({"verdicts": list(verdicts)})
        said = self.run("gw-a", sys.executable, "-m", "tests.mptcp.agent.enforcing", spec)
        state: dict[str, Any] = json.loads(said)
        return state


@pytest.fixture(scope="module")
def streams() -> Iterator[Streams]:
    if reason := require_tools() or probe_isolation():
        pytest.skip(f"no lab: {reason}")
    with tempfile.TemporaryDirectory(prefix="nfvlab-") as name, launched_lab(Path(name)) as lab:
        made = Streams(lab, Path(name))
        # Somebody else's rules on the same gateway: they must stay as they are.
        made.run(
            "gw-a",
            "nft",
            "add table inet others; add chain inet others kept; add rule inet others kept accept",
        )
        yield made


@pytest.fixture
def calm(streams: Streams) -> Iterator[Streams]:
    """All connections going on, before and after."""
    streams.first_goes_on()
    yield streams
    streams.enforce()
    streams.first_goes_on()


@pytest.mark.lab
def test_verdict_stops_all_subflows_and_a_later_one_and_is_undone(calm: Streams) -> None:
    kept = calm.run("gw-a", "nft", "list", "table", "inet", "others")
    assert calm.enforce(calm.verdict())["verdicts"] == [5]
    calm.others_go_on()  # what was on its way has arrived
    calm.first_stands_still()
    calm.run("branch-host", *["ip", "mptcp", "endpoint", "add", "10.1.3.11", "dev", "lan0", "subflow"])
    wait_until(lambda: min(calm.subflow_counts()[1:]) >= 4, "the others have a fourth subflow", 20)
    calm.first_stands_still()
    assert calm.enforce(calm.verdict())["verdicts"] == [5]
    calm.first_stands_still()
    calm.enforce()
    assert TABLE not in calm.run("gw-a", "nft", "list", "tables")
    assert calm.run("gw-a", "nft", "list", "table", "inet", "others") == kept
    calm.first_goes_on()


@pytest.mark.lab
def test_join_alone_is_stopped_by_its_token(calm: Streams) -> None:
    calm.run("branch-host", *["ip", "mptcp", "endpoint", "delete", "id", "1"])
    wait_until(lambda: max(calm.subflow_counts()) <= 3, "a subflow has left each connection", 20)
    before = [{tuple(flow) for flow in row["flows"]} for row in calm.rows()]
    calm.enforce({**calm.verdict(), "flows": []})
    calm.run(
        "branch-host", *["ip", "mptcp", "endpoint", "add", "10.1.2.10", "dev", "lan0", "id", "1", "subflow"]
    )
    wait_until(
        lambda: all(
            {tuple(flow) for flow in row["flows"]} - known
            for row, known in zip(calm.rows()[1:], before[1:], strict=True)
        ),
        "the others have joined anew", 20,
    )  # fmt: skip
    counters = calm.run("gw-a", "nft", "list", "table", "inet", TABLE)
    assert "packets 0" not in counters, "the SYN of the join was stopped"


@pytest.mark.lab
def test_verdict_ends_by_its_time_without_agent_or_portal(calm: Streams) -> None:
    calm.enforce(calm.verdict(lasts_s=4))
    calm.first_goes_on()
    assert TABLE in calm.run("gw-a", "nft", "list", "tables"), "nobody took the table away"


def test_rules_name_both_directions_of_both_families() -> None:
    verdict = {**VERDICT, "flows": [["10.0.0.1", 1, "10.0.0.2", 2], ["fd00::1", 3, "fd00::2", 4]]}
    text = table_text(parse_enforcer_spec({"verdicts": [verdict]}))
    assert "ip saddr" in text
    assert "10.0.0.2 . 2 . 10.0.0.1 . 1" in text
    assert "fd00::2 . 4 . fd00::1 . 3" in text
    assert "0x00000007" in text
    assert text.count("delete table") == 1
    assert table_text(()).count("table inet") == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": -1}, "verdicts[0].id"),
        ({"id": True}, "verdicts[0].id"),
        ({"flows": "all"}, "verdicts[0].flows"),
        ({"flows": [["10.0.0.1", 1, "10.0.0.2"]]}, "verdicts[0].flows[0]"),
        ({"flows": [["10.0.0.1", 1, "10.0.0.2; flush ruleset", 2]]}, "verdicts[0].flows[0]"),
        ({"flows": [["10.0.0.1", 1, "fd00::1", 2]]}, "verdicts[0].flows[0]"),
        ({"flows": [["10.0.0.1", 70000, "10.0.0.2", 2]]}, "verdicts[0].flows[0]"),
        ({"flows": [["fd00::1%lo; drop", 1, "fd00::2", 2]]}, "verdicts[0].flows[0]"),
        ({"tokens": [2**32]}, "verdicts[0].tokens[0]"),
        ({"tokens": ["7"]}, "verdicts[0].tokens[0]"),
        ({"expires_at_s": "soon"}, "verdicts[0].expires_at_s"),
        ({"more": 1}, "verdicts[0]"),
    ],
)
def test_specs_that_are_none_are_refused_by_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_enforcer_spec({"verdicts": [{**VERDICT, **change}]})
    assert refused.value.field == field


@pytest.mark.parametrize("spec", [{"verdicts": {}}, {"verdicts": [VERDICT] * 257}, {"colour": 1}])
def test_whole_specs_that_are_none_are_refused(spec: Any) -> None:
    with pytest.raises(InvalidInputError):
        parse_enforcer_spec(spec)
