"""Proofs on the wire at full length: equal bytes and states of each chain, sequential and hybrid, in namespaces.

By itself: ``python -m tests.benchmarks.chains_proof [PACKETS [CHAIN ...]] [--json]``; exits 1 unless all are proven.
"""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from nfvportal.bench.rows import BenchOptions, Row
from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from tests.support.proof import Proof, Truth, prove, times_now, truth_of
from tests.support.proof_cases import CASES, cases_here, proof_frames
from tests.support.rack import rack

PACKETS, QUICK_PACKETS = 100_000, 3_000
KILL_ROUNDS = 6


def _truth(name: str, packets: int, seed: int) -> Truth:
    return truth_of(CASES[name].chain, proof_frames(packets, seed), times_now())


def run_proofs(names: Sequence[str], packets: int, seed: int) -> list[Proof]:
    """Return two proofs per chain, sequential and hybrid; a state that differs between them is a problem of both."""
    found: list[Proof] = []
    with ProcessPoolExecutor(1) as pool, rack() as running:
        # The next chain's truth is worked out while packets of this one are under way.
        truths = [pool.submit(_truth, name, packets, seed) for name in names]
        for number, name in enumerate(names):
            case, truth = CASES[name], truths[number].result()
            pair = [
                prove(
                    running,
                    f"{name}, {kind}",
                    case.chain,
                    root,
                    truth,
                    path=2 * number + 1 + place,
                    kill_rounds=KILL_ROUNDS,
                )
                for place, (kind, root) in enumerate(
                    (("sequential", case.sequential), ("hybrid", case.hybrid))
                )
            ]
            if pair[0].digests != pair[1].digests:
                pair = [replace(one, problems=(*one.problems, "states differ between both")) for one in pair]
            found += pair
            for one in pair:
                print(words_of(one), file=sys.stderr, flush=True)
    return found


def words_of(proof: Proof) -> str:
    """Return one proof as a line."""
    verdict = "equal bytes and states" if not proof.problems else f"NOT PROVEN: {'; '.join(proof.problems)}"
    return (
        f"{proof.name}: {proof.packets} packets in, {proof.outputs} out, dropped {proof.dropped_by or 'none'}, "
        f"{proof.packets_per_second:.0f} packets/s, {proof.kills} killed, {proof.restarts} restarted: {verdict}"
    )


def proof_rows(options: BenchOptions) -> list[Row]:
    """Return the rows of suite ``chains``: one per chain, packets that were not proven equal, none allowed."""
    if reason := require_tools() or probe_isolation():
        return [Row("proof: not measured", None, "count", detail={"why": reason})]
    packets = QUICK_PACKETS if options.quick else PACKETS
    proofs = run_proofs(cases_here(), packets, options.seed)
    return [
        Row(
            f"proof: {sequential.name.partition(',')[0]}, problems in bytes, states and counters",
            float(len(sequential.problems) + len(hybrid.problems)),
            "count",
            goal=0.0,
            n=2 * packets,
            detail={
                "problems": [*sequential.problems, *hybrid.problems],
                "out": hybrid.outputs,
                "dropped_by": hybrid.dropped_by,
                "killed": sequential.kills + hybrid.kills,
                "restarted": sequential.restarts + hybrid.restarts,
                "sequential_pps": sequential.packets_per_second,
                "hybrid_pps": hybrid.packets_per_second,
                "quick": options.quick,
            },
        )
        for sequential, hybrid in zip(proofs[::2], proofs[1::2], strict=True)
    ]


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--json"]
    asked = int(given[0]) if given else PACKETS
    done = run_proofs(given[1:] or cases_here(), asked, 1)
    if "--json" in sys.argv:
        print(json.dumps([proof.as_json() for proof in done], indent=1))
    sys.exit(1 if any(proof.problems for proof in done) else 0)
