"""Proof on the wire, short: equal bytes and equal states, hybrid and sequential, with network functions killed.

At full length: ``python -m tests.benchmarks.chains_proof``.
"""

from collections.abc import Iterator

import pytest

from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from tests.support.proof import prove, times_now, truth_of
from tests.support.proof_cases import CASES, cases_here, proof_frames
from tests.support.rack import Rack, rack

pytestmark = pytest.mark.lab
PACKETS = 3000


@pytest.fixture(scope="module")
def lab() -> Iterator[Rack]:
    """The data centre, agents offline."""
    if reason := require_tools() or probe_isolation():
        pytest.skip(f"no lab: {reason}")
    with rack() as running:
        yield running


@pytest.mark.parametrize("name", CASES)
def test_hybrid_and_sequential_give_equal_bytes_and_states(lab: Rack, name: str) -> None:
    if name not in cases_here():
        pytest.skip(f"{CASES[name].tool} is not installed")
    case = CASES[name]
    truth = truth_of(case.chain, proof_frames(PACKETS, seed=1), times_now())
    assert 0 < len(truth.outputs) < PACKETS
    first = 100 + 10 * list(CASES).index(name)
    proofs = [
        prove(lab, f"{name} {kind}", case.chain, root, truth, path=first + number, kill_rounds=2)
        for number, (kind, root) in enumerate((("sequential", case.sequential), ("hybrid", case.hybrid)))
    ]
    assert [proof.problems for proof in proofs] == [(), ()], proofs
    assert proofs[0].digests == proofs[1].digests
    assert min(proof.kills for proof in proofs) > 0


def test_a_wrong_plan_does_not_pass_as_proven(lab: Rack) -> None:
    case = CASES["north-south"]
    frames = proof_frames(600, seed=2)
    truth = truth_of(case.chain, frames, times_now())
    # One bit of one packet, and one flow more than the network functions will see.
    lie = [bytes((truth.outputs[7][0] ^ 1,)) + truth.outputs[7][1:], *truth.outputs[8:]]
    wrong = truth_of(case.chain, [*frames, frames[0]], truth.times)
    broken = type(truth)(
        frames, [*truth.outputs[:7], *lie], truth.due, truth.dropped_by, wrong.digests, truth.times
    )
    proof = prove(lab, "wrong", case.chain, case.hybrid, broken, path=200, kill_rounds=0)
    assert any("differs" in problem for problem in proof.problems), proof
    assert any("state of" in problem for problem in proof.problems), proof
