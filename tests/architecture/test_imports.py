"""The linter is the architecture document that cannot lie."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


PURE_MODULES = [
    "apps.wan.engine.detector",
    "apps.wan.engine.map_planner",
    "apps.wan.engine.failover_cost",
    "apps.wan.engine.probe_codec",
    "apps.wan.engine.gap_history",
    "apps.wan.engine.link_quality",
    "apps.chains.engine.analysis",
    "apps.chains.engine.baselines",
    "apps.chains.engine.blocks",
    "apps.chains.engine.capture_file",
    "apps.chains.engine.catalogue",
    "apps.chains.engine.chain",
    "apps.chains.engine.checksum",
    "apps.chains.engine.compile",
    "apps.chains.engine.differential",
    "apps.chains.engine.emulator",
    "apps.chains.engine.fields",
    "apps.chains.engine.fifo_identity",
    "apps.chains.engine.foreign",
    "apps.chains.engine.frame_builder",
    "apps.chains.engine.hybrid",
    "apps.chains.engine.latency",
    "apps.chains.engine.merging",
    "apps.chains.engine.nfs.registry",
    "apps.chains.engine.nft_rules",
    "apps.chains.engine.openflow",
    "apps.chains.engine.openflow_codec",
    "apps.chains.engine.openflow_steering",
    "apps.chains.engine.openflow_structs",
    "apps.chains.engine.operators",
    "apps.chains.engine.packet",
    "apps.chains.engine.packet_fields",
    "apps.chains.engine.packing",
    "apps.chains.engine.placement",
    "apps.chains.engine.placement_answer",
    "apps.chains.engine.placement_balance",
    "apps.chains.engine.placement_bounds",
    "apps.chains.engine.placement_demand",
    "apps.chains.engine.placement_exact",
    "apps.chains.engine.placement_instances",
    "apps.chains.engine.placement_network",
    "apps.chains.engine.placement_planner",
    "apps.chains.engine.placement_room",
    "apps.chains.engine.placement_search",
    "apps.chains.engine.placement_solver",
    "apps.chains.engine.placement_tail",
    "apps.chains.engine.planner",
    "apps.chains.engine.planning_cost",
    "apps.chains.engine.prediction",
    "apps.chains.engine.profiles",
    "apps.chains.engine.protocols",
    "apps.chains.engine.reference_chains",
    "apps.chains.engine.region_search",
    "apps.chains.engine.regions",
    "apps.chains.engine.room",
    "apps.chains.engine.sequence",
    "apps.chains.engine.series_parallel",
    "apps.chains.engine.shim",
    "apps.chains.engine.steering",
    "apps.chains.engine.synthetic_nf",
    "apps.chains.engine.traffic_mix",
    "apps.chains.engine.traffic_split",
    "apps.chains.engine.windows",
    "apps.chains.agent.classifier",
    "apps.chains.agent.forwarder",
    "apps.chains.agent.server",
    "apps.chains.agent.switch",
    "apps.chains.agent.traffic",
    "apps.mptcp.engine.capture",
    "apps.mptcp.engine.filters",
    "apps.mptcp.engine.ipfix",
    "apps.mptcp.engine.record_batch",
    "apps.mptcp.engine.sflow",
    "apps.mptcp.engine.address_kernel",
    "apps.mptcp.engine.addresses",
    "apps.mptcp.engine.alarms",
    "apps.mptcp.engine.alignment",
    "apps.mptcp.engine.associator",
    "apps.mptcp.engine.blocking",
    "apps.mptcp.engine.compiling",
    "apps.mptcp.engine.confidence",
    "apps.mptcp.engine.config",
    "apps.mptcp.engine.container_kernel",
    "apps.mptcp.engine.coverage",
    "apps.mptcp.engine.crowd",
    "apps.mptcp.engine.domain",
    "apps.mptcp.engine.evidence",
    "apps.mptcp.engine.frame_counts",
    "apps.mptcp.engine.frame_kernel",
    "apps.mptcp.engine.frames",
    "apps.mptcp.engine.handshakes",
    "apps.mptcp.engine.hard_links",
    "apps.mptcp.engine.kinship_kernel",
    "apps.mptcp.engine.lives",
    "apps.mptcp.engine.names_kernel",
    "apps.mptcp.engine.number_kernel",
    "apps.mptcp.engine.octets_kernel",
    "apps.mptcp.engine.option_kernel",
    "apps.mptcp.engine.packet_kernel",
    "apps.mptcp.engine.pcap_walk",
    "apps.mptcp.engine.records",
    "apps.mptcp.engine.report",
    "apps.mptcp.engine.snapshot",
    "apps.mptcp.engine.soft_links",
    "apps.mptcp.engine.subflow_layout",
    "apps.mptcp.engine.subflow_table",
    "apps.mptcp.engine.sweep",
    "apps.mptcp.engine.sweep_32",
    "apps.mptcp.engine.sweep_still",
    "apps.mptcp.engine.union_find",
    "apps.mptcp.engine.values",
    "apps.mptcp.engine.views",
    "apps.mptcp.engine.warming",
    "apps.mptcp.agent.collector",
    "apps.mptcp.agent.enforcer",
    "apps.mptcp.agent.sensor",
    "apps.wan.agent.gateway",
    "apps.wan.agent.host",
    "nfvportal.agent.__main__",
    "nfvportal.lab.traffic.role",
    "nfvportal.lab.__main__",
    "nfvportal.southbound.session",
    "nfvportal.lib.wire",
]


# An interpreter that has loaded what costs seconds and is no framework, and forks for each module of its arguments.
LOADER = """
import importlib, json, os, sys, traceback
import highspy, networkx, numba, numpy
def loaded(module):
    try:
        importlib.import_module(module)
    except BaseException:
        return traceback.format_exc()
    bad = {name.split(".")[0] for name in sys.modules} & {"django", "celery", "channels", "kombu"}
    return ",".join(sorted(bad))
answers = {}
for module in sys.argv[1:]:
    reader, writer = os.pipe()
    if not os.fork():
        os.close(reader)
        with os.fdopen(writer, "w") as answer:
            answer.write("loaded:" + loaded(module))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        answers[module] = answer.read()
    os.wait()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def frameworks_loaded() -> dict[str, str]:
    """Return what each pure module brings along, each imported alone."""
    done = subprocess.run(
        [sys.executable, "-c", LOADER, *PURE_MODULES],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("module", PURE_MODULES)
def test_module_loads_no_framework(frameworks_loaded: dict[str, str], module: str) -> None:
    """Importing an engine, an agent role or the lab in a process of its own loads neither Django nor Celery."""
    assert frameworks_loaded[module] == "loaded:"


def test_the_web_process_loads_no_compiler() -> None:
    """It costs every start most of a second; only workers read packets."""
    code = "import sys, nfvportal.asgi, nfvportal.urls; print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["False"], done.stderr


def test_every_engine_module_is_checked_for_purity() -> None:
    """A new engine file must be listed above."""
    engines = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.glob("apps/*/engine/*.py")
        if path.name != "__init__.py"
    }
    assert engines <= set(PURE_MODULES)


def test_no_psycopg3_in_the_environment() -> None:
    """Django would silently prefer it to psycopg2."""
    done = subprocess.run([sys.executable, "-c", "import psycopg"], capture_output=True, check=False)
    assert done.returncode != 0
