"""The lab's data centre with offline agents: install plans, send frames, see what comes out and what agents tell."""

import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from apps.chains.engine.capture_file import read_pcap, write_pcap
from apps.chains.engine.chain import Chain
from apps.chains.engine.compile import CLASSIFIER, compile_plan
from apps.chains.engine.hybrid import Node
from apps.chains.engine.operators import OperatorKind, operator_table_to_json
from nfvportal.lab.client import LabClient
from nfvportal.lab.launch import launched_lab

SERVERS = ("dc-server-1", "dc-server-2", "dc-server-3")
MACS = {CLASSIFIER: "02:09:00:00:01:00"} | {name: f"02:09:00:00:01:0{i}" for i, name in enumerate(SERVERS, 1)}
TRAFFIC = [sys.executable, "-m", "tests.support.rack_traffic"]
APPLY_WITHIN_S = 20.0


class Run:
    """One epoch of one path: a plan, ready to be installed."""

    def __init__(self, chain: Chain, root: Node, *, path: int = 7, epoch: int = 1, **limits: Any) -> None:
        self.chain = chain
        self.table = compile_plan(chain, root)
        self.path = path
        self.epoch = epoch
        self.limits = limits

    def path_spec(self) -> dict[str, Any]:
        """Return the path as devices get it."""
        return {
            "path": self.path,
            "epoch": self.epoch,
            "chain": self.chain.name,
            **operator_table_to_json(self.table),
            "peers": MACS,
            **self.limits,
        }

    def nfs_on(self, server: str) -> dict[str, int]:
        """Return the network functions of a server: instance -> index."""
        return {
            f"{self.chain.name}/{self.chain.nfs[operator.nf_index].name}": operator.nf_index
            for operator in self.table.operators
            if operator.kind is OperatorKind.NF
            and operator.server == server
            and operator.nf_index is not None
        }


class Rack:
    """A running lab; specs reach its agents through files."""

    def __init__(self, lab: LabClient, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self._revision = 0

    def want(self, node: str, role: str, spec: Mapping[str, Any]) -> None:
        """Give a node its spec and wait until it was applied.

        Raises:
            AssertionError: the agent did not apply it in time.
        """
        epochs = sorted([path["path"], path["epoch"]] for path in spec["paths"])
        self.want_until(node, role, spec, lambda state: state.get("epochs") == epochs)

    def want_until(
        self, node: str, role: str, spec: Mapping[str, Any], is_done: Callable[[Mapping[str, Any]], bool]
    ) -> Mapping[str, Any]:
        """Give a node its spec, wait until the state it tells says so, and return that state.

        Raises:
            AssertionError: it did not in time.
        """
        self._revision += 1
        place = self.directory / node
        place.mkdir(parents=True, exist_ok=True)
        wanted = {role: {"revision": self._revision, "spec": spec}}
        (place / "desired.json").write_text(json.dumps(wanted))
        known = len(self.events(node, f"{role}.state"))
        self.lab.agent_reload(node)
        deadline_s = time.monotonic() + APPLY_WITHIN_S
        while time.monotonic() < deadline_s:
            states = self.events(node, f"{role}.state")
            if len(states) > known and is_done(states[-1]):
                return states[-1]
            time.sleep(0.02)
        log = (self.directory / node / "agent.log").read_text(errors="replace").splitlines()
        raise AssertionError(f"{node} did not apply its spec: {log[-5:]}")

    def journal(self, node: str) -> list[dict[str, Any]]:
        """Return what a node's agent told so far."""
        path = self.directory / node / "journal.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def events(self, node: str, name: str) -> list[dict[str, Any]]:
        """Return the data of all events of a name."""
        return [line["data"] for line in self.journal(node) if line.get("event") == name]

    def install(self, runs: Sequence[Run], *, active: int | None = None, trace: object = None) -> None:
        """Install epochs on all servers, then at the classifier, and make one of them active (the last by default)."""
        for server in SERVERS:
            self.want(server, "chains.server", self.server_spec(server, runs))
        self.want("dc-classifier", "chains.classifier", self.classifier_spec(runs, active, trace))

    def server_spec(self, server: str, runs: Sequence[Run]) -> dict[str, Any]:
        """Return the spec of a server."""
        rows: dict[str, dict[str, Any]] = {}
        for run in runs:
            for instance, index in run.nfs_on(server).items():
                nf = run.chain.nfs[index]
                key = f"{instance} {nf.type} {sorted(nf.params.items())}"
                row = rows.setdefault(
                    key,
                    {
                        "instance": instance,
                        "type": nf.type,
                        "params": dict(nf.params),
                        "path": run.path,
                        "indexes": {},
                    },
                )
                row["indexes"][str(run.epoch)] = index
        return {"fabric": "fabric", "paths": [run.path_spec() for run in runs], "nfs": list(rows.values())}

    def classifier_spec(
        self, runs: Sequence[Run], active: int | None = None, trace: object = None
    ) -> dict[str, Any]:
        """Return the spec of the classifier."""
        epochs = {run.path: run.epoch for run in runs}
        if active is not None:
            epochs = dict.fromkeys(epochs, active)
        return {
            "fabric": "fabric",
            "ingress": "ingress",
            "egress": "egress",
            "rules": [{"path": path, "match": {}} for path in epochs],
            "paths": [run.path_spec() for run in runs],
            "active": {str(path): epoch for path, epoch in epochs.items()},
            **({"trace": trace} if trace is not None else {}),
        }

    def pass_through(
        self, frames: Sequence[bytes], rate_pps: float, *, idle_s: float = 1.5
    ) -> tuple[list[bytes], float]:
        """Send frames through the rack; return what came out, in order, and the packets per second received."""
        with self.sending(frames, rate_pps, idle_s=idle_s) as answer:
            pass
        return answer["frames"], answer["captured"] / max(answer["seconds"], 1e-9)

    @contextlib.contextmanager
    def sending(
        self, frames: Sequence[bytes], rate_pps: float, *, idle_s: float = 1.5
    ) -> Iterator[dict[str, Any]]:
        """Send frames while the body runs; afterwards the dictionary holds ``frames``, ``captured``, ``seconds``."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            sent, caught = Path(name, "sent.pcap"), Path(name, "caught.pcap")
            with sent.open("wb") as file:
                write_pcap(file, ((0, frame) for frame in frames))
            limit_s = len(frames) / rate_pps * 4 + 60
            answer: dict[str, Any] = {}
            capture = [*TRAFFIC, "capture", str(caught), str(len(frames) * 2), str(idle_s)]
            catching = threading.Thread(
                target=lambda: answer.update(self.lab.exec("dc-sink", capture, limit_s)), daemon=True
            )
            catching.start()
            deadline_s = time.monotonic() + 20
            while not caught.with_suffix(".ready").exists():
                assert time.monotonic() < deadline_s, answer
                time.sleep(0.01)
            send = [*TRAFFIC, "send", str(sent), str(rate_pps)]
            done: dict[str, Any] = {}
            sending = threading.Thread(
                target=lambda: done.update(self.lab.exec("dc-generator", send, limit_s)), daemon=True
            )
            sending.start()
            yield answer
            sending.join()
            catching.join()
            assert done["exit_code"] == 0, done
            assert answer["exit_code"] == 0, answer
            answer.update(json.loads(answer["stdout"]), sent=json.loads(done["stdout"]))
            with caught.open("rb") as file:
                answer["frames"] = [frame for _, frame in read_pcap(file)]


@contextlib.contextmanager
def rack() -> Iterator[Rack]:
    """Run the data centre without portal."""
    with tempfile.TemporaryDirectory(prefix="nfvrack-") as name:
        agents = Path(name, "agents")
        for node in ("dc-classifier", *SERVERS):
            (agents / node).mkdir(parents=True)
        arguments = ["--agents-dir", str(agents), "--portal", "none", "--journal"]
        with launched_lab(Path(name), "datacenter", arguments) as lab:
            yield Rack(lab, agents)
