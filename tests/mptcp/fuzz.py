"""Fuzz all decoders: ``python -m tests.mptcp.fuzz --inputs 1000000``.

Runs every target of ``engine.fuzz_decoders`` in a process of its own with limits of time and memory, then the compiled
decoders over all inputs that the fuzzer found interesting. Prints inputs, seconds and findings; exit code 1 with any.
"""

import argparse
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.mptcp.engine.fuzz_decoders import TARGETS, seeds

ROOT = Path(__file__).resolve().parents[2]
INPUT_BYTES_MAX = 600
INPUT_SECONDS_MAX = 10
MEMORY_MB_MAX = 1024
START_SECONDS_MAX = 300
MODULE = "tests.mptcp.engine.fuzz_decoders"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one target's run came to; ``finding`` is the end of its output, empty when all was well."""

    target: str
    input_count: int
    corpus_count: int
    finding: str


def is_available() -> bool:
    """Return whether the fuzzer is installed (it has no wheels for some platforms)."""
    return importlib.util.find_spec("atheris") is not None


def run_target(name: str, inputs: int, seed: int, seconds: int, corpus: Path) -> Outcome:
    """Run one target with so many inputs; too few within its time are a finding."""
    directory = corpus / name
    directory.mkdir()
    for index, data in enumerate(seeds(name)):
        (directory / f"seed-{index}").write_bytes(data)
    command = [
        sys.executable, "-m", MODULE, name, f"-runs={inputs}", f"-seed={seed}", f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={INPUT_SECONDS_MAX}", f"-rss_limit_mb={MEMORY_MB_MAX}", "-print_final_stats=1",
        f"-max_total_time={seconds}",
        f"-artifact_prefix={corpus}/{name}-", str(directory),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + START_SECONDS_MAX,
    )
    executed = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    count = int(executed[1]) if executed else 0
    finding = "" if done.returncode == 0 and count >= inputs else (done.stdout + done.stderr)[-3000:]
    return Outcome(name, count, len(list(directory.iterdir())), finding)


def replay(corpus: Path) -> str:
    """Run the compiled decoders over the corpora; return what they printed, with any error."""
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "replay", str(corpus)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else (done.stdout + done.stderr)[-3000:]


def main(arguments: list[str] | None = None) -> int:
    """Fuzz; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=1200, help="of each target at most")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    options = parser.parse_args(arguments)
    if not is_available():
        print("skipped: atheris is not installed")
        return 0
    names = options.target or list(TARGETS)
    each = -(-options.inputs // len(names))
    with tempfile.TemporaryDirectory(prefix="mptcp-fuzz-") as place:
        corpus = Path(place)
        outcomes = []
        for name in names:
            outcome = run_target(name, each, options.seed, options.seconds, corpus)
            outcomes.append(outcome)
            said = outcome.finding or "no finding"
            print(f"{name}: {outcome.input_count} inputs, {outcome.corpus_count} kept, {said}", flush=True)
        for name in set(TARGETS) - set(names):
            (corpus / name).mkdir()
        compiled = replay(corpus)
    print(
        f"total: {sum(outcome.input_count for outcome in outcomes)} inputs; compiled over the kept ones: {compiled}"
    )
    return int(any(outcome.finding for outcome in outcomes) or not compiled.isdigit())


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # takes the running target and the corpora away too
    sys.exit(main())
