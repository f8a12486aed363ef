"""Verdicts: refused on weak evidence, carried to gateways, extended to later subflows, ended and undone."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.mptcp.agent.enforcer import parse_enforcer_spec
from apps.mptcp.models import Connection, Verdict
from apps.mptcp.services.connections import connections_gone
from apps.mptcp.services.verdicts import verdicts_expire, verdicts_follow
from nfvportal.audit.models import AuditEntry
from nfvportal.events.models import Event
from nfvportal.inventory.models import DesiredState, Device
from tests.support.mptcp_rows import connections_make, gateway_make
from tests.support.mptcp_scene import SceneConnection, whole
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
URL = "/api/v1/mptcp/verdicts/"
Answer = dict[str, Any]


@pytest.fixture
def gateway() -> Device:
    return gateway_make()


@pytest.fixture
def connection(gateway: Device) -> Connection:
    return connections_make(whole(1))[0]


@pytest.fixture
def operator() -> Client:
    return token_client("operator", can_write=True)


def block(client: Client, row: Connection, status: int = 201, **fields: Any) -> Answer:
    body = {"connection": row.pk, "reason": "exfiltration", **fields}
    answer = client.post(URL, body, content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json()


def spec() -> Any:
    """Return the gateway's spec, as its agent understands it."""
    return parse_enforcer_spec(DesiredState.objects.get(role="mptcp.enforcer").spec)


def test_verdict_reaches_the_gateway_with_all_flows_and_tokens(
    operator: Client, connection: Connection
) -> None:
    verdict = block(operator, connection, expires_in_s=600)
    assert (verdict["is_open"], verdict["gateways"]) == (True, ["gw"])
    (enforced,) = spec()
    assert enforced.id == verdict["id"]
    assert len(enforced.flows) == 3
    assert set(connection.tokens) == set(enforced.tokens)
    assert SceneConnection(1).token in enforced.tokens
    assert AuditEntry.objects.filter(action="mptcp.verdict_create").count() == 1
    assert Event.objects.get(type="mptcp.verdict_create").data["connection"] == connection.pk


def test_undo_takes_it_off_the_gateway(operator: Client, connection: Connection) -> None:
    verdict = block(operator, connection)
    answer = operator.post(
        f"{URL}{verdict['id']}/undo/", {"reason": "wrong one"}, content_type="application/json"
    )
    assert (answer.json()["is_open"], answer.json()["end_reason"]) == (False, "wrong one")
    assert spec() == ()
    again = operator.post(f"{URL}{verdict['id']}/undo/", {"reason": "twice"}, content_type="application/json")
    assert again.json()["end_reason"] == "wrong one"
    block(operator, connection)


def test_weak_evidence_is_refused_in_words_unless_forced(operator: Client, connection: Connection) -> None:
    Connection.objects.update(is_blockable=False)
    problem = block(operator, connection, 409)
    assert "evidence" in problem["detail"]
    assert not Verdict.objects.exists()
    assert block(operator, connection, force=True)["is_forced"] is True


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reason": "  "}, "reason"),
        ({"expires_in_s": 1}, "expires_in_s"),
        ({"expires_in_s": 1e12}, "expires_in_s"),
    ],
)
def test_verdicts_without_reason_or_end_are_refused(
    operator: Client, connection: Connection, fields: Answer, field: str
) -> None:
    assert [error["field"] for error in block(operator, connection, 400, **fields)["errors"]] == [field]


def test_what_cannot_be_blocked_says_why(operator: Client, connection: Connection, gateway: Device) -> None:
    block(operator, connection)
    assert "already" in block(operator, connection, 409)["detail"]
    Verdict.objects.all().delete()
    Device.objects.update(roles=["mptcp.sensor"])
    assert "mptcp.enforcer" in block(operator, connection, 409)["detail"]


def test_later_subflow_is_added_to_what_is_enforced(operator: Client, gateway: Device) -> None:
    scene = SceneConnection(1)
    first = scene.handshake() + scene.data(3)
    (row,) = connections_make(first)
    block(operator, row)
    revision = DesiredState.objects.get(role="mptcp.enforcer").revision
    (row,) = connections_make(first + scene.join() + scene.data(3))
    verdicts_follow(changed=[row.pk], gone=[])
    assert sorted(flow[0] for flow in spec()[0].flows) == [flow.src for flow in scene.subflows]
    verdicts_follow(changed=[row.pk], gone=[])
    assert DesiredState.objects.get(role="mptcp.enforcer").revision == revision + 1


def test_verdict_follows_its_connection_into_another(operator: Client, gateway: Device) -> None:
    connection, other = connections_make([*whole(1), *whole(2)])
    verdict = block(operator, connection)
    assert connection.domain is not None
    gone = connections_gone(domain=connection.domain, merged=[(connection.engine_id, other.engine_id)])
    verdicts_follow(changed=[], gone=gone)
    assert Verdict.objects.get().connection_id == other.pk
    assert spec()[0].id == verdict["id"]
    assert "part of connection" in block(operator, connection, 409)["detail"]


def test_verdict_ends_by_time(operator: Client, connection: Connection) -> None:
    block(operator, connection)
    assert verdicts_expire() == 0
    Verdict.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert verdicts_expire() == 1
    assert Verdict.objects.get().end_reason == "expired"
    assert spec() == ()


def test_other_sites_gateways_are_left_alone(operator: Client, connection: Connection) -> None:
    gateway_make("gw-b", "hq")
    assert block(operator, connection)["gateways"] == ["gw"]
    assert not DesiredState.objects.filter(device__name="gw-b").exists()
