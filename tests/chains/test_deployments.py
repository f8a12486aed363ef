"""Deployments: make before break, safe to repeat, back to the old epoch when a device refuses."""

import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import connection

from apps.chains.chain_definition import definition_parse
from apps.chains.models import Chain, ChainAlarm, Deployment, DeploymentStatus, Plan
from apps.chains.services import apply_job, deployments
from apps.chains.services.alarms import undeclared_write_record
from apps.chains.services.chains import chain_update
from apps.chains.services.reconcile import deployments_reconcile, specs_reconcile
from nfvportal.events.models import Event
from nfvportal.inventory.models import DesiredState, Device, Interface
from nfvportal.inventory.services import desired_state_applied
from nfvportal.jobs import services as jobs
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.runner import run_job
from nfvportal.lib.errors import InvalidInputError
from tests.support.chains import (
    PARAMS,
    agent_event,
    chain_body,
    chain_make,
    deployed,
    devices_answer,
    nf_type,
    plan_of,
    runnable,
)
from tests.support.waiting import wait_until

Devices = dict[str, Device]


def spec_of(name: str, role: str) -> dict[str, Any]:
    spec: dict[str, Any] = DesiredState.objects.get(device__name=name, role=role).spec
    return spec


def classifier() -> dict[str, Any]:
    return spec_of("dc-classifier", "chains.classifier")


@pytest.mark.django_db
def test_new_epoch_is_installed_beside_the_old_before_packets_take_it(fabric: Devices) -> None:
    chain = runnable(match={"src": "10.0.0.0/8"})
    first = deployed(chain)
    plan = plan_of(chain)
    second = deployments.deployment_begin(plan_id=plan.pk, job_id=uuid.uuid4(), actor=None)
    path = second.chain.path
    assert [(row["path"], row["epoch"]) for row in classifier()["paths"]] == [(path, 1), (path, 2)]
    assert classifier()["active"] == {str(path): 1}
    servers = set(first.servers + second.servers)
    for name in servers:
        assert [row["epoch"] for row in spec_of(name, "chains.server")["paths"]] == [1, 2]
    devices_answer()
    deployments.deployment_activate(second)
    assert classifier()["active"] == {str(path): 2}
    assert [row["epoch"] for row in classifier()["paths"]] == [1, 2]
    deployments.deployment_finish(second, {})
    assert [row["epoch"] for row in classifier()["paths"]] == [2]
    assert classifier()["rules"] == [{"path": path, "match": {"src": "10.0.0.0/8"}}]
    first.refresh_from_db()
    assert (first.status, first.is_installed, first.is_active) == ("superseded", False, False)


@pytest.mark.django_db
def test_specs_name_interfaces_peers_operators_and_each_function_once(fabric: Devices) -> None:
    chain = runnable()
    row = deployed(chain)
    plan = plan_of(chain)
    deployments.deployment_begin(
        plan_id=plan.pk, job_id=uuid.uuid4(), actor=None
    )  # two epochs, the same functions
    instances = []
    for name in row.servers:
        spec = spec_of(name, "chains.server")
        assert spec["fabric"] == "fabric"
        path = spec["paths"][0]
        assert path.keys() == {
            "path", "epoch", "chain", "operators", "first", "peers", "groups", "timeout_us", "is_checked",
        }  # fmt: skip
        assert path["peers"]["classifier"] == "02:00:00:00:00:01"
        assert set(path["peers"]) == {"classifier", *row.servers}
        instances += spec["nfs"]
    assert sorted(nf["instance"] for nf in instances) == [
        "web-vpn/firewall", "web-vpn/load-balancer", "web-vpn/monitor", "web-vpn/vpn",
    ]  # fmt: skip
    balancer = next(nf for nf in instances if nf["type"] == "load_balancer")
    assert balancer == {
        "instance": "web-vpn/load-balancer", "type": "load_balancer", "params": PARAMS["load_balancer"],
        "path": row.chain.path, "indexes": {"1": 3, "2": 3}, "writes": ["ip_src", "ip_dst"],
    }  # fmt: skip
    assert {nf["type"]: nf["writes"] for nf in instances}["vpn"] is None
    assert (classifier()["ingress"], classifier()["egress"]) == ("ingress", "egress")


@pytest.mark.django_db
def test_function_with_other_settings_is_another_process(fabric: Devices) -> None:
    chain = runnable()
    row = deployed(chain)
    body = chain_body()
    for nf in body["nfs"]:
        nf["params"] = PARAMS.get(nf["type"], {})
    body["nfs"][3] = {**body["nfs"][3], "params": {**PARAMS["load_balancer"], "vip": "10.9.0.2"}}
    chain_update(name=chain.name, definition=definition_parse(body), actor=None)
    deployments.deployment_begin(plan_id=plan_of(chain).pk, job_id=uuid.uuid4(), actor=None)
    nfs = [nf for name in row.servers for nf in spec_of(name, "chains.server")["nfs"]]
    balancers = [nf for nf in nfs if nf["type"] == "load_balancer"]
    assert [(nf["params"]["vip"], nf["indexes"]) for nf in balancers] == [
        ("10.9.0.1", {"1": 3}),
        ("10.9.0.2", {"2": 3}),
    ]
    assert len(nfs) == 5


@pytest.mark.django_db
def test_more_specific_rules_come_first(fabric: Devices) -> None:
    for name, match in (
        ("wide", {}),
        ("narrow", {"src": "10.1.0.0/16"}),
        ("port", {"proto": "tcp", "dst_port": [80]}),
    ):
        deployed(runnable(name, ("monitor",), match=match))
    assert [rule["match"] for rule in classifier()["rules"]] == [
        {"proto": "tcp", "dst_port": [80]}, {"src": "10.1.0.0/16"}, {},
    ]  # fmt: skip


@pytest.mark.django_db
def test_rule_stays_as_planned_while_the_chain_is_drawn_anew(fabric: Devices) -> None:
    chain = runnable(match={"src": "10.0.0.0/8"})
    deployed(chain)
    Chain.objects.update(definition={**chain.definition, "match": {}})
    specs_reconcile()
    assert classifier()["rules"][0]["match"] == {"src": "10.0.0.0/8"}


@pytest.mark.django_db
def test_refusal_brings_the_old_epoch_back(fabric: Devices) -> None:
    chain = runnable()
    first = deployed(chain)
    second = deployments.deployment_begin(plan_id=plan_of(chain).pk, job_id=uuid.uuid4(), actor=None)
    devices_answer()
    deployments.deployment_activate(second)
    devices_answer(ok=False, error="rules: no", role="chains.classifier")
    with pytest.raises(InvalidInputError, match="dc-classifier: rules: no"):
        deployments.devices_note(second)
    deployments.deployment_fail(second, "dc-classifier: rules: no")
    assert classifier()["active"] == {str(first.chain.path): 1}
    assert [row["epoch"] for row in classifier()["paths"]] == [1]
    first.refresh_from_db()
    assert (first.status, first.is_active) == ("live", True)
    assert Event.objects.filter(type="chains.deployment_failed", severity="alarm").exists()


@pytest.mark.django_db
def test_every_step_twice_changes_nothing_more(fabric: Devices) -> None:
    chain = runnable()
    job_id, plan = uuid.uuid4(), plan_of(chain)
    for _ in range(2):
        row = deployments.deployment_begin(plan_id=plan.pk, job_id=job_id, actor=None)
    devices_answer()
    for step in (
        deployments.deployment_activate,
        lambda row: deployments.deployment_finish(row, {"lost": 0}),
    ):
        for _ in range(2):
            step(row)
    revisions = list(DesiredState.objects.order_by("pk").values_list("revision", flat=True))
    deployments.deployment_fail(row, "too late")
    specs_reconcile()
    row.refresh_from_db()
    assert (row.status, row.told, Deployment.objects.count()) == ("live", {"lost": 0}, 1)
    assert list(DesiredState.objects.order_by("pk").values_list("revision", flat=True)) == revisions


@pytest.mark.django_db
def test_one_change_at_a_time(fabric: Devices) -> None:
    chain = runnable()
    plan = plan_of(chain)
    deployments.deployment_begin(plan_id=plan.pk, job_id=uuid.uuid4(), actor=None)
    with pytest.raises(deployments.ChainBusyError):
        deployments.deployment_begin(plan_id=plan.pk, job_id=uuid.uuid4(), actor=None)
    with pytest.raises(deployments.ChainBusyError):
        deployments.removal_begin(chain=chain, actor=None)
    assert Deployment.objects.count() == 1


def _without(field: str) -> Any:
    def act(fabric: Devices) -> Plan:
        if field == "params":
            return plan_of(chain_make())
        plan = plan_of(runnable("cached", ("monitor", "cache")) if field == "implementation" else runnable())
        if field == "mac":
            Interface.objects.filter(device__roles__contains=["chains.server"]).delete()
        elif field == "server":
            Device.objects.filter(roles__contains=["chains.server"]).update(roles=[])
        elif field == "classifier":
            Device.objects.filter(name="dc-classifier").update(roles=[])
        elif field == "agent":
            Device.objects.filter(name="dc-classifier").update(status="offline")
        elif field == "plan":
            plan.is_feasible = False
        return plan

    return act


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("missing", "words"),
    [("params", r"nfs\[0\]\.params\.key"), ("implementation", "nothing to run it"), ("mac", "an interface fabric"),
     ("server", "no device with"), ("classifier", "chains.classifier"), ("plan", "infeasible"),
     ("agent", "dc-classifier, whose agent is offline")],
)  # fmt: skip
def test_plan_that_cannot_run_is_refused_before_anything_changes(
    missing: str, words: str, fabric: Devices
) -> None:
    plan = _without(missing)(fabric)
    with pytest.raises(InvalidInputError, match=words):
        deployments.plan_check(plan)
    assert not DesiredState.objects.exists()


@pytest.mark.django_db
def test_removal_stops_packets_first_then_takes_functions_away(fabric: Devices) -> None:
    chain = runnable()
    row = deployed(chain)
    deployments.removal_begin(chain=chain, actor=None)
    assert (classifier()["rules"], classifier()["active"], len(classifier()["paths"])) == ([], {}, 1)
    assert spec_of(row.servers[0], "chains.server")["nfs"]
    deployments.removal_finish(row)
    assert classifier()["paths"] == spec_of(row.servers[0], "chains.server")["nfs"] == []
    row.refresh_from_db()
    assert row.status == "removed"
    assert deployments.removal_begin(chain=chain, actor=None) is None


@pytest.mark.django_db
def test_rollback_goes_to_the_plan_that_was_live_before(fabric: Devices) -> None:
    chain = runnable()
    with pytest.raises(InvalidInputError):
        deployments.rollback_plan(chain)
    plans = [plan_of(chain) for _ in range(3)]
    for plan in plans[:2]:
        deployed(chain, plan)
    assert deployments.rollback_plan(chain) == plans[0]
    deployed(chain, plans[0])
    assert deployments.rollback_plan(chain) == plans[1]


@pytest.mark.django_db
def test_paths_are_given_once_and_kept(fabric: Devices) -> None:
    paths = [deployed(runnable(name, ("monitor",))).chain.path for name in ("a", "b")]
    assert paths == [1, 2]
    again = deployed(Chain.objects.get(name="a"))
    assert (again.chain.path, again.epoch) == (1, 2)


@pytest.mark.django_db
def test_undeclared_write_is_an_alarm_until_the_next_deployment(fabric: Devices) -> None:
    chain = runnable()
    row = deployed(chain)
    event = agent_event(
        "chains.undeclared_write", path=row.chain.path, epoch=1, nf="monitor", field="ip_dst", packet_id=7
    )
    for _ in range(2):
        undeclared_write_record(event=event)
    alarm = ChainAlarm.objects.get()
    assert (alarm.kind, alarm.key, alarm.data["packet_id"]) == ("undeclared_write", "monitor:ip_dst", 7)
    deployed(chain)
    alarm.refresh_from_db()
    assert alarm.cleared_at is not None
    undeclared_write_record(event=agent_event("chains.undeclared_write", path="x"))
    assert ChainAlarm.objects.count() == 1


@pytest.mark.django_db
def test_suspects_of_a_merge_are_named(fabric: Devices) -> None:
    row = deployed(runnable())
    merge = {"path": row.chain.path, "epoch": 1, "nf_indexes": [1, 2, 99], "field": "ip_ttl"}
    undeclared_write_record(event=agent_event("chains.undeclared_write", **merge))
    undeclared_write_record(event=agent_event("chains.undeclared_write", nf="web-vpn/vpn", field="ip_tos"))
    assert set(ChainAlarm.objects.values_list("key", flat=True)) == {
        "monitor or firewall:ip_ttl",
        "vpn:ip_tos",
    }


class Agents:
    """Devices that obey: they apply what they shall hold, and the classifier tells of every switch."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._obey, daemon=True)
        self.refuses = ""
        self.tells = True
        self.late_s = 0.0  # how long after telling of a switch the classifier says that it applied its state

    def __enter__(self) -> "Agents":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _obey(self) -> None:
        told: set[tuple[int, int]] = set()
        silent_until_s = 0.0
        while not self._stop.wait(0.02):
            state = DesiredState.objects.filter(role="chains.classifier").first()
            spec = state.spec if state and self.tells else {"paths": [], "active": {}}
            switched = {
                (path["path"], spec["active"].get(str(path["path"]), 0)) for path in spec["paths"]
            } - told
            if self.late_s and any(epoch for _, epoch in switched):
                silent_until_s = time.monotonic() + self.late_s
            told |= switched
            for path, epoch in switched:
                agent_event(
                    "chains.epoch_active", path=path, epoch=epoch, held_packets=2, waited_ms=0.5, lost=0
                )
            self._answer(DesiredState.objects.filter(role="chains.server"))
            if state is not None and time.monotonic() >= silent_until_s:
                self._answer([state])  # what was read above: it may have changed since
        connection.close()

    def _answer(self, states: Iterable[DesiredState]) -> None:
        for state in states:
            is_refused = state.role == self.refuses
            desired_state_applied(
                device_id=state.device_id, role=state.role, revision=state.revision, ok=not is_refused,
                error="no room" if is_refused else "",
            )  # fmt: skip


@pytest.fixture
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "enqueue", lambda job: None)


def _run(kind: str, **params: Any) -> Job:
    job = jobs.job_start(kind=kind, params=params, user=None)
    run_job(str(job.id))
    job.refresh_from_db()
    return job


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
def test_job_carries_a_plan_through_and_another_removes_it(fabric: Devices) -> None:
    chain = runnable()
    with Agents():
        job = _run("chains.apply", plan=plan_of(chain).pk)
        assert (job.state, job.error) == (JobState.SUCCEEDED, "")
        assert job.result["held_packets"] == 2
        row = Deployment.objects.get()
        assert (row.status, row.is_active, {said["ok"] for said in row.devices.values()}) == (
            "live",
            True,
            {True},
        )
        removed = _run("chains.remove", chain=chain.name)
    assert (removed.state, Deployment.objects.get().status) == (JobState.SUCCEEDED, "removed")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
def test_job_whose_worker_was_killed_goes_on_where_it_stopped(fabric: Devices) -> None:
    chain = runnable()
    plan = plan_of(chain)
    for stop in ("deployment_activate", "deployment_finish"):
        job = jobs.job_start(kind="chains.apply", params={"plan": plan.pk}, user=None)
        with Agents(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(deployments, stop, _killed)
            with pytest.raises(SystemExit):
                run_job(str(job.id))
        Job.objects.filter(pk=job.pk).update(
            heartbeat_at="2026-01-01T00:00:00Z"
        )  # long ago: the worker is dead
        with Agents():
            run_job(str(job.id))
        job.refresh_from_db()
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    assert list(Deployment.objects.order_by("epoch").values_list("status", flat=True)) == [
        "superseded",
        "live",
    ]


def _killed(*_: object) -> None:
    raise SystemExit


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
def test_job_fails_with_the_words_of_the_device_that_refused(fabric: Devices) -> None:
    chain = runnable()
    plan = plan_of(chain)
    with Agents() as agents:
        agents.refuses = "chains.server"
        job = _run("chains.apply", plan=plan.pk)
    row = Deployment.objects.get()
    assert (job.state, row.status) == (JobState.FAILED, DeploymentStatus.FAILED)
    assert "no room" in job.error
    assert spec_of(row.servers[0], "chains.server")["paths"] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
def test_answer_that_comes_after_the_event_of_the_switch_is_waited_for(fabric: Devices) -> None:
    plan = plan_of(runnable())
    with Agents() as agents:
        agents.late_s = 0.6
        assert _run("chains.apply", plan=plan.pk).state == JobState.SUCCEEDED
    row = Deployment.objects.get()
    assert row.status == DeploymentStatus.LIVE
    assert {name: said["ok"] for name, said in row.devices.items()} == dict.fromkeys(row.devices, True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
def test_silent_classifier_and_cancel_bring_the_old_epoch_back(
    fabric: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_job, "SWITCH_WITHIN_S", 0.5)
    chain = runnable()
    plan = plan_of(chain)
    with Agents() as agents:
        assert _run("chains.apply", plan=plan.pk).state == JobState.SUCCEEDED
        agents.tells = False
        silent = _run("chains.apply", plan=plan.pk)
    assert "did not say that it switched" in silent.error
    assert list(classifier()["active"].values()) == [1]
    job = jobs.job_start(kind="chains.apply", params={"plan": plan.pk}, user=None)
    thread = threading.Thread(target=lambda: (run_job(str(job.id)), connection.close()))
    thread.start()  # no agent answers: it waits until somebody cancels it
    wait_until(lambda: Deployment.objects.filter(status="applying").exists(), "the job began")
    jobs.job_cancel(job=job, user=None)
    thread.join()
    job.refresh_from_db()
    assert (job.state, Deployment.objects.order_by("-epoch").values_list("status", flat=True)[0]) == (
        JobState.CANCELLED, "failed",
    )  # fmt: skip
    assert list(classifier()["active"].values()) == [1]


@pytest.mark.django_db(transaction=True)
def test_two_chains_that_change_at_once_both_end_in_the_specs(fabric: Devices) -> None:
    plans = [plan_of(runnable(name, ("monitor",))) for name in ("a", "b", "c")]

    def begin(plan: Plan) -> None:
        deployments.deployment_begin(plan_id=plan.pk, job_id=uuid.uuid4(), actor=None)
        connection.close()

    threads = [threading.Thread(target=begin, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row["chain"] for row in classifier()["paths"]} == {"a", "b", "c"}
    assert len({row["path"] for row in classifier()["paths"]}) == 3


@pytest.mark.django_db
def test_type_that_lost_its_implementation_is_refused(fabric: Devices) -> None:
    plan = plan_of(runnable())
    row = nf_type("monitor")
    row.implementation = ""
    row.save()
    with pytest.raises(InvalidInputError, match="nothing to run it"):
        deployments.plan_check(plan)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_no_worker")
def test_deployment_whose_job_ended_without_it_is_given_up(
    fabric: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = runnable()
    plan = plan_of(chain)
    monkeypatch.setattr(apply_job, "_carry_through", lambda row, job: 1 / 0)
    job = _run("chains.apply", plan=plan.pk)
    row = Deployment.objects.get()
    assert (job.state, row.status) == (JobState.FAILED, "applying")
    assert deployments_reconcile() == 1
    row.refresh_from_db()
    assert (row.status, "ZeroDivisionError" in row.error) == ("failed", True)
    running = jobs.job_start(kind="chains.apply", params={"plan": plan.pk}, user=None)
    deployments.deployment_begin(plan_id=plan.pk, job_id=running.id, actor=None)
    assert deployments_reconcile() == 0
