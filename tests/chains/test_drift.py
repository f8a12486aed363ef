"""Drift: a burst is none, a lasting change is proposed once (or applied), with figures as they were measured."""

import time
from typing import Any

import pytest

from apps.chains.engine.chain import CostConstants
from apps.chains.mapping import planned_chain
from apps.chains.models import Chain, ChainAlarm, Deployment, Plan
from apps.chains.services import plans
from apps.chains.services.calibration import comparison_of, constants_now, measured_of
from apps.chains.services.drift import drift_check
from apps.chains.services.plans import plan_make
from apps.chains.tasks import ingest_classifier_samples, ingest_server_samples, replan
from nfvportal.inventory.models import Device
from nfvportal.jobs import services as jobs
from nfvportal.jobs.models import Job
from tests.support.chains import classifier_columns, deployed, runnable, server_columns

pytestmark = pytest.mark.django_db
Devices = dict[str, Device]


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "enqueue", lambda job: None)


def measure(
    row: Deployment,
    rate_pps: float,
    seconds: int = 20,
    p50_us: float = 250.0,
    later_s: float = 0,
    p99_us: float = 900.0,
    **slower: float,
) -> None:
    """Let the devices of a chain measure for some seconds; ``slower``: factor on what a function takes."""
    start_s = time.time() - seconds + later_s
    table = _operators(row)
    for second in range(seconds):
        ingest_classifier_samples(
            "dc-classifier",
            classifier_columns(
                row,
                start_s + second,
                count=int(1000 + rate_pps * second),
                latency_us_p50=[p50_us],
                latency_us_p99=[p99_us],
            ),
        )
        columns = server_columns(row, start_s + second)
        wide = {name: [values[0]] * len(table) for name, values in columns.items()}
        wide |= {
            "operator": list(table),
            "kind": [kind for kind, _, _ in table.values()],
            "latency_us_p50": [
                median_us * slower.get(name.replace("-", "_"), 1.0) for _, name, median_us in table.values()
            ],
        }
        ingest_server_samples("dc-server-1", wide)


def _operators(row: Deployment) -> dict[int, tuple[str, str, float]]:
    """Return operator -> kind, function, median latency that agrees with the plan."""
    from apps.chains.engine.compile import compile_plan
    from apps.chains.mapping import planned_root
    from apps.chains.services.calibration import mean_of

    chain = planned_chain(row.plan)
    operators = {}
    for operator in compile_plan(chain, planned_root(row.plan)).operators:
        if operator.nf_index is not None:
            service = chain.nfs[operator.nf_index].service
            median_us = service.mean_us / mean_of(1.0, service)
            operators[operator.id] = ("nf", chain.nfs[operator.nf_index].name, median_us)
        elif operator.kind.value != "egress":
            operators[operator.id] = (operator.kind.value, "", 3.0)
    return operators


def test_what_goes_as_planned_is_no_drift(fabric: Devices) -> None:
    row = deployed(runnable())
    measure(row, 1000)
    replan()
    assert Plan.objects.count() == 1
    assert not ChainAlarm.objects.exists()


def test_measured_times_agree_with_the_plan_they_were_made_from(fabric: Devices) -> None:
    row = deployed(runnable())
    measure(row, 1000)
    measured = measured_of(row)
    assert measured.rate_pps == pytest.approx(1000, rel=0.01)
    assert measured.services_us == pytest.approx((80, 15, 20, 20), rel=1e-6)
    assert measured.latency_us_p50 == 250.0


def test_a_queue_is_not_taken_for_a_slow_function(fabric: Devices) -> None:
    row = deployed(runnable())
    measure(row, 2000, monitor=1000.0)
    # Half a second in its queue; but who finishes 2000 packets per second takes at most 500 us for each.
    assert measured_of(row).services_us == pytest.approx((80, 500, 20, 20), rel=0.01)


def test_lasting_change_is_proposed_once_with_what_was_measured(
    fabric: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = deployed(runnable())
    monkeypatch.setattr("apps.chains.services.drift.is_other", lambda plan, row: True)
    measure(row, 3000, monitor=4.0)
    for _ in range(3):
        replan()
    assert Plan.objects.count() == 2
    plan = Plan.objects.first()
    assert plan is not None
    assert "rate is 3000 packets/s, planned 1000" in plan.reason
    assert "monitor takes 60.0 us, planned 15.0" in plan.reason
    chain = planned_chain(plan)
    assert chain.rate_pps == pytest.approx(3000, rel=0.01)
    assert chain.nfs[1].service.mean_us == pytest.approx(60.0)
    alarm = ChainAlarm.objects.get()
    assert (alarm.kind, alarm.data["plan"], alarm.cleared_at) == ("drift", plan.pk, None)
    assert not Job.objects.exists()
    measure(row, 1000, later_s=21)
    replan()
    alarm.refresh_from_db()
    assert alarm.cleared_at is not None


def test_burst_is_no_drift(fabric: Devices) -> None:
    row = deployed(runnable())
    measure(row, 1000, seconds=30)
    measure(row, 9000, seconds=4, later_s=5)
    assert drift_check(row.chain) is None


def test_chain_that_says_so_is_changed_at_once(fabric: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.chains.services.drift.is_other", lambda plan, row: True)
    row = deployed(runnable(replan="apply"))
    measure(row, 3000)
    replan()
    job = Job.objects.get()
    assert (job.kind, job.params["plan"]) == ("chains.apply", Plan.objects.latest("id").pk)
    assert not ChainAlarm.objects.exists()


def test_same_graph_is_recorded_but_nothing_is_asked(fabric: Devices) -> None:
    row = deployed(runnable(replan="apply"))
    measure(row, 1600)
    plan = drift_check(row.chain)
    assert plan is not None
    if plan.content["root"] == row.plan.content["root"]:
        assert not Job.objects.exists()


@pytest.mark.parametrize("case", ["off", "idle", "changing", "little"])
def test_when_nothing_is_compared(case: str, fabric: Devices) -> None:
    row = deployed(runnable(replan="off" if case == "off" else "propose"))
    measure(row, 1 if case == "idle" else 5000, seconds=3 if case == "little" else 20)
    if case == "changing":
        row.chain.deployments.update(status="applying")
    assert drift_check(row.chain) is None
    assert Plan.objects.count() == 1


def test_constants_are_calibrated_and_stored_with_the_next_plan(fabric: Devices) -> None:
    row = deployed(runnable())
    assert constants_now("web-vpn") == CostConstants(**row.plan.content["constants"])
    measure(row, 1000, p50_us=2000.0)
    constants = constants_now("web-vpn")
    assert constants.hop_us > 300
    has_block = "parallel" in str(row.plan.content["root"])
    assert not has_block or constants.mirror_us == pytest.approx(3.0 - 2 * constants.mirror_branch_us)
    plan = plan_make(chain=row.chain)
    assert plan.content["constants"]["hop_us"] == pytest.approx(constants.hop_us)
    # What was calibrated predicts what was measured.
    assert plan.content["prediction"]["p50_us"] == pytest.approx(2000.0, rel=0.1)


def test_a_tail_that_queues_do_not_explain_is_part_of_the_next_prediction(fabric: Devices) -> None:
    row = deployed(runnable())
    assert row.plan.content["constants"]["tail_us"] == 0
    measure(row, 1000, p50_us=2000.0, p99_us=20_000.0)
    plan = plan_make(chain=row.chain)
    assert plan.content["constants"]["tail_us"] > 15_000
    # In whichever graph: pauses of a machine spare none.
    for which in ("prediction", "sequential"):
        assert plan.content[which]["p99_us"] == pytest.approx(20_000.0, rel=0.1)


def test_operator_s_own_times_are_kept(fabric: Devices) -> None:
    chain = runnable()
    row = deployed(chain)
    measure(row, 1000, monitor=3.0, firewall=3.0)
    definition: dict[str, Any] = dict(chain.definition)
    definition["nfs"] = [dict(nf) for nf in definition["nfs"]]
    definition["nfs"][1]["service"] = {"mean_us": 7.0, "scv": 0.0, "is_waiting": False}
    Chain.objects.update(definition=definition, version=2)
    nfs = planned_chain(plan_make(chain=chain)).nfs
    assert (nfs[1].service.mean_us, nfs[2].service.mean_us) == (7.0, pytest.approx(60.0))


def test_comparison_has_prediction_beside_measurement(fabric: Devices) -> None:
    row = deployed(runnable())
    measure(row, 1000)
    comparison = comparison_of(row)
    assert comparison["p50_us"] == {
        "predicted": row.plan.content["prediction"]["p50_us"], "measured": 250.0,
    }  # fmt: skip
    assert comparison["rate_pps"]["planned"] == 1000.0
    assert [service["measured_us"] for service in comparison["services"]] == pytest.approx([80, 15, 20, 20])
    assert plans.usage_of_others("other")
