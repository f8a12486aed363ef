"""The differential suite at full length: random profiles, chains, plans and packets; sequence against plan.

By itself: ``python -m tests.benchmarks.chains_differential [CASES [SEED]]``.
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from apps.chains.engine.differential import Report, run_cases
from nfvportal.bench.rows import BenchOptions, Row

CASES = 100_000
QUICK_CASES = 2_000
CHUNK = 1_000


def run_differential(cases: int, seed: int, workers: int | None = None) -> Report:
    """Return what so many cases with the seeds from ``seed`` on gave, over all cores; prints cases and differences.

    Args:
        workers: processes; ``None``: one per core.
    """
    starts = range(seed, seed + cases, CHUNK)
    sizes = [min(CHUNK, seed + cases - start) for start in starts]
    with ProcessPoolExecutor(workers or os.cpu_count() or 1) as pool:
        reports = list(pool.map(run_cases, sizes, starts))
    report = Report(
        cases=sum(one.cases for one in reports),
        parallel_cases=sum(one.parallel_cases for one in reports),
        packets=sum(one.packets for one in reports),
        differences=tuple(found for one in reports for found in one.differences)[:10],
        difference_count=sum(one.difference_count for one in reports),
    )
    print(
        f"differential: {report.cases} cases ({report.parallel_cases} parallel, {report.packets} packets), "
        f"{report.difference_count} differences, seed {seed}",
        file=sys.stderr,
    )
    for number, difference in report.differences:
        # The frames of a case come from the first seed of its chunk.
        start = seed + (number - seed) // CHUNK * CHUNK
        print(f"  seed {number}, frames of {start}: {difference}"[:400], file=sys.stderr)
    return report


def differential_rows(options: BenchOptions) -> list[Row]:
    """Return the row of suite ``chains``: differences found, none allowed."""
    cases = QUICK_CASES if options.quick else CASES
    seed = options.seed * 1_000_000
    started_s = time.perf_counter()
    report = run_differential(cases, seed)
    return [
        Row(
            "differential: cases with a difference",
            float(report.difference_count),
            "count",
            goal=0.0,
            n=report.cases,
            detail={
                "parallel_cases": report.parallel_cases,
                "packets": report.packets,
                "first_seed": seed,
                "differing_seeds": [number for number, _ in report.differences],
                "took_s": round(time.perf_counter() - started_s, 1),
                "quick": options.quick,
            },
        )
    ]


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    outcome = run_differential(given[0] if given else CASES, given[1] if len(given) > 1 else 1)
    sys.exit(1 if outcome.difference_count else 0)
