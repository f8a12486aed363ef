"""TABLE: benchmark suites, and how one runs."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from nfvportal.agent.runner import can_schedule_realtime
from nfvportal.bench.rows import BenchOptions, Row
from nfvportal.lib.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite: a module with ``run(options: BenchOptions) -> Sequence[Row]``."""

    module: str
    title: str


SUITES: dict[str, Suite] = {
    "lab": Suite("tests.benchmarks.lab", "Accuracy of the lab's link emulation"),
    "wan": Suite(
        "tests.benchmarks.wan", "Failover on topology branch: stall, lost milliseconds, aggregation"
    ),
    "chains": Suite(
        "tests.benchmarks.chains", "Hybrid chains against sequential: theory, emulation and real processes"
    ),
    "mptcp": Suite(
        "tests.benchmarks.mptcp", "Subflows associated on real traffic, sampled and partial, beside tshark"
    ),
    "live": Suite("tests.benchmarks.live", "From publish to a hundred browsers"),
    "paint": Suite("tests.benchmarks.paint", "From a fault to the change painted in Chromium"),
}


def machine_facts() -> dict[str, Any]:
    """Return what the figures depend on: cores, kernel, real-time scheduling, Python, user."""
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "realtime": can_schedule_realtime(),
        "python": platform.python_version(),
        "user": "root" if os.geteuid() == 0 else "ordinary",
    }


def suite_run(name: str, options: BenchOptions) -> dict[str, Any]:
    """Run one suite and return ``{suite, title, machine, seed, quick, rows}``.

    Raises:
        InvalidInputError: no suite of that name.
    """
    suite = SUITES.get(name)
    if suite is None:
        raise InvalidInputError("suite", f"must be one of {', '.join(SUITES)}, or all")
    rows: Sequence[Row] = import_module(suite.module).run(options)
    return {
        "suite": name,
        "title": suite.title,
        "machine": machine_facts(),
        "seed": options.seed,
        "quick": options.quick,
        "rows": list(rows),
    }
