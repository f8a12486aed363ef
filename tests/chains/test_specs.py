"""Desired states that the portal makes are what the roles take."""

import uuid
from typing import Any

import pytest

from apps.chains.agent.specs import parse_classifier_spec, parse_server_spec
from apps.chains.services import deployments
from apps.chains.services.traces import trace_end, trace_want
from nfvportal.inventory.models import DesiredState, Device
from tests.support.chains import deployed, plan_of, runnable

Devices = dict[str, Device]


def spec_of(name: str, role: str) -> dict[str, Any]:
    spec: dict[str, Any] = DesiredState.objects.get(device__name=name, role=role).spec
    return spec


def classifier() -> dict[str, Any]:
    return spec_of("dc-classifier", "chains.classifier")


@pytest.mark.django_db
def test_specs_are_what_the_roles_take(fabric: Devices) -> None:
    chain = runnable(match={"src": "10.0.0.0/8", "proto": "tcp", "dst_port": [80]})
    row = deployed(chain)
    deployments.deployment_begin(plan_id=plan_of(chain).pk, job_id=uuid.uuid4(), actor=None)
    trace_want(row.chain, "some-nonce")
    spec = parse_classifier_spec(classifier())
    assert ([path.epoch for path in spec.paths], spec.active) == ([1, 2], {row.chain.path: 1})
    assert spec.trace is not None
    assert spec.trace.nonce == "some-nonce"
    for name in fabric:
        if name != "dc-classifier":
            server = parse_server_spec(spec_of(name, "chains.server"))
            assert len(server.nfs) == (4 if name in row.servers else 0)
    trace_end(row.chain, "some-nonce")
    assert parse_classifier_spec(classifier()).trace is None
