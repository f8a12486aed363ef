"""Who may do what: every route and every live topic has a row here, and every row is asked by everybody."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from apps.chains.chain_definition import definition_parse
from apps.chains.models import ChainAlarm, ChainPlacement, Deployment, Plan
from apps.chains.services.chains import chain_create
from apps.mptcp.models import (
    Alarm,
    AssociationDomain,
    Capture,
    ChangeLog,
    Connection,
    Subflow,
    Subscription,
    Verdict,
)
from apps.wan.models import MapEpoch, SitePair, VirtualSubnet, WanLink
from nfvportal.accounts.access import RANK, Role
from nfvportal.accounts.models import ApiToken
from nfvportal.accounts.services import api_token_create
from nfvportal.audit.models import AuditEntry
from nfvportal.inventory.models import Device, Interface, Link, Site
from nfvportal.jobs.models import Job
from tests.support.demo import failed_event, failover_make
from tests.support.people import session_client, token_client
from tests.support.routes import Route, routes

pytestmark = pytest.mark.django_db


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may, and what the answer is then to a request without a body.

    Args:
        role: the least role; ``None``: everybody, strangers too.
        status: when it is allowed; 400 and 428 show that the request got past the guard.
        is_question: asked by POST, yet nothing is changed: tokens that only read may ask.
    """

    role: Role | None
    status: int = 200
    is_question: bool = False


VIEWER, OPERATOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.ADMIN
EDITED = {"GET": Rule(VIEWER), "PUT": Rule(ADMIN, 428), "PATCH": Rule(ADMIN, 428), "DELETE": Rule(ADMIN, 428)}
LISTED = {"GET": Rule(VIEWER), "POST": Rule(ADMIN, 400)}
READ = {"GET": Rule(VIEWER)}

REST: dict[str, dict[str, Rule]] = {
    "/api/docs/": {"GET": Rule(None)},
    "/api/v1/schema/": {"GET": Rule(None)},
    "/api/v1/tokens/": {"GET": Rule(VIEWER), "POST": Rule(VIEWER, 400)},
    "/api/v1/tokens/{pk}/": {"GET": Rule(VIEWER), "DELETE": Rule(VIEWER, 204)},
    "/api/v1/audit/": {"GET": Rule(ADMIN)},
    "/api/v1/audit/{pk}/": {"GET": Rule(ADMIN)},
    "/api/v1/events/": READ,
    "/api/v1/events/{pk}/": READ,
    "/api/v1/jobs/": READ,
    "/api/v1/jobs/{pk}/": READ,
    "/api/v1/jobs/{pk}/cancel/": {"POST": Rule(OPERATOR)},
    "/api/v1/inventory/sites/": LISTED,
    "/api/v1/inventory/sites/{pk}/": EDITED,
    "/api/v1/inventory/devices/": LISTED,
    "/api/v1/inventory/devices/{pk}/": EDITED,
    "/api/v1/inventory/devices/{pk}/rotate-token/": {"POST": Rule(ADMIN)},
    "/api/v1/inventory/devices/{pk}/desired-states/": READ,
    "/api/v1/inventory/devices/export/": READ,
    "/api/v1/inventory/devices/import/": {"POST": Rule(ADMIN, 400)},
    "/api/v1/inventory/interfaces/": LISTED,
    "/api/v1/inventory/interfaces/{pk}/": EDITED,
    "/api/v1/inventory/links/": LISTED,
    "/api/v1/inventory/links/{pk}/": EDITED,
    "/api/v1/lab/": {"GET": Rule(VIEWER, 503)},  # no lab runs here
    "/api/v1/lab/topologies/": READ,
    "/api/v1/lab/faults/": {"GET": Rule(VIEWER, 503), "POST": Rule(OPERATOR, 400)},
    "/api/v1/lab/faults/{link}/": {"DELETE": Rule(OPERATOR, 503)},
    "/api/v1/chains/nf-types/": {"GET": Rule(VIEWER), "POST": Rule(OPERATOR, 400)},
    "/api/v1/chains/nf-types/{slug}/": {
        "GET": Rule(VIEWER),
        "PATCH": Rule(OPERATOR, 428),
        "DELETE": Rule(OPERATOR, 428),
    },
    "/api/v1/chains/chains/": {"GET": Rule(VIEWER), "POST": Rule(OPERATOR, 400)},
    "/api/v1/chains/chains/{name}/": {
        "GET": Rule(VIEWER),
        "PUT": Rule(OPERATOR, 428),
        "DELETE": Rule(OPERATOR, 428),
    },
    "/api/v1/chains/chains/analyse/": {"POST": Rule(OPERATOR, 400)},
    "/api/v1/chains/chains/import/": {"POST": Rule(OPERATOR, 400)},
    "/api/v1/chains/chains/what-if/": {"POST": Rule(OPERATOR, 400)},
    "/api/v1/chains/chains/{name}/export/": READ,
    "/api/v1/chains/chains/{name}/plan/": {"POST": Rule(OPERATOR, 202)},
    "/api/v1/chains/chains/{name}/rollback/": {"POST": Rule(OPERATOR, 400)},  # nothing was live before
    "/api/v1/chains/chains/{name}/remove/": {"POST": Rule(OPERATOR, 400)},  # it is not deployed
    "/api/v1/chains/chains/{name}/trace/": {"POST": Rule(OPERATOR, 400)},
    "/api/v1/chains/plans/": READ,
    "/api/v1/chains/plans/{pk}/": READ,
    "/api/v1/chains/plans/{pk}/diff/": {"GET": Rule(VIEWER, 400)},
    "/api/v1/chains/plans/{pk}/apply/": {"POST": Rule(OPERATOR, 400)},  # the plan is infeasible
    "/api/v1/chains/placements/": {"GET": Rule(VIEWER), "POST": Rule(OPERATOR, 202)},
    "/api/v1/chains/placements/{pk}/": READ,
    "/api/v1/chains/deployments/": READ,
    "/api/v1/chains/deployments/{pk}/": READ,
    "/api/v1/chains/charts/{slug}/": {"GET": Rule(VIEWER, 404)},
    "/api/v1/chains/steering/": READ,
    "/api/v1/chains/chains/{name}/revisions/": READ,
    "/api/v1/chains/chains/{name}/restore/": {"POST": Rule(OPERATOR, 400)},
    "/api/v1/chains/chains/{name}/hops/": READ,
    "/api/v1/chains/chains/{name}/latency/": READ,
    "/api/v1/chains/alarms/": READ,
    "/api/v1/chains/alarms/{pk}/": READ,
    "/api/v1/wan/links/": READ,
    "/api/v1/wan/links/{pk}/": READ,
    "/api/v1/wan/virtual-subnets/": READ,
    "/api/v1/wan/virtual-subnets/{pk}/": READ,
    "/api/v1/wan/map-epochs/": READ,
    "/api/v1/wan/map-epochs/{pk}/": READ,
    "/api/v1/wan/failovers/": READ,
    "/api/v1/wan/failovers/{pk}/": READ,
    "/api/v1/wan/failovers/{pk}/acknowledge/": {"POST": Rule(OPERATOR)},
    "/api/v1/wan/map/": {"GET": Rule(VIEWER), "PUT": Rule(OPERATOR, 428)},
    "/api/v1/wan/samples/": {"GET": Rule(VIEWER, 400)},
    "/api/v1/wan/charts/{name}/": READ,
    "/api/v1/mptcp/connections/": READ,
    "/api/v1/mptcp/connections/{pk}/": READ,
    "/api/v1/mptcp/connections/{pk}/picture/": READ,
    "/api/v1/mptcp/connections/{pk}/paths/": READ,
    "/api/v1/mptcp/verdicts/": {"GET": Rule(VIEWER), "POST": Rule(OPERATOR, 400)},
    "/api/v1/mptcp/verdicts/{pk}/": READ,
    "/api/v1/mptcp/verdicts/{pk}/undo/": {"POST": Rule(OPERATOR)},
    "/api/v1/mptcp/subscriptions/": {"GET": Rule(OPERATOR), "POST": Rule(OPERATOR, 400)},
    "/api/v1/mptcp/subscriptions/{pk}/": {"GET": Rule(OPERATOR), "DELETE": Rule(OPERATOR, 204)},
    "/api/v1/mptcp/subflows/": READ,
    "/api/v1/mptcp/subflows/{pk}/": READ,
    "/api/v1/mptcp/lookup/": {"GET": Rule(VIEWER, 400), "POST": Rule(VIEWER, 400, is_question=True)},
    "/api/v1/mptcp/captures/": {"GET": Rule(VIEWER), "POST": Rule(OPERATOR, 400)},
    "/api/v1/mptcp/captures/{pk}/": {"GET": Rule(VIEWER), "DELETE": Rule(OPERATOR, 204)},
    "/api/v1/mptcp/captures/{pk}/accuracy/": {"POST": Rule(OPERATOR, 400)},  # it was not read yet
    "/api/v1/mptcp/accuracy/": READ,
    "/api/v1/mptcp/sensors/": READ,
    "/api/v1/mptcp/sensors/{device}/": {"PUT": Rule(OPERATOR, 400)},
    "/api/v1/mptcp/collectors/": READ,
    "/api/v1/mptcp/collectors/{device}/": {"PUT": Rule(OPERATOR, 404)},  # it has not the role
    "/api/v1/mptcp/alarms/": READ,
    "/api/v1/mptcp/alarms/{pk}/": READ,
    "/api/v1/mptcp/alarms/{pk}/acknowledge/": {"POST": Rule(OPERATOR)},
    "/api/v1/mptcp/domains/": READ,
    "/api/v1/mptcp/domains/{pk}/": READ,
    "/api/v1/mptcp/changes/": READ,
    "/api/v1/mptcp/changes/{pk}/": READ,
}
PAGES: dict[str, dict[str, Rule]] = {
    "/livez": {"GET": Rule(None)},
    "/readyz": {"GET": Rule(None)},
    "/metrics": {"GET": Rule(VIEWER)},
    "/": READ,
    "/tokens/": {"GET": Rule(VIEWER), "POST": Rule(VIEWER)},
    "/tokens/{token_id}/revoke/": {"POST": Rule(VIEWER, 302)},
    "/audit/": {"GET": Rule(ADMIN)},
    "/jobs/": READ,
    "/jobs/{job_id}/": READ,
    "/wan/": READ,
    "/chains/": READ,
    "/chains/new/": {"GET": Rule(OPERATOR)},
    "/chains/catalogue/": READ,
    "/chains/placement/": READ,
    "/chains/plans/{plan_id}/": READ,
    "/chains/{name}/": READ,
    "/mptcp/": READ,
    "/mptcp/upload/": {"GET": Rule(OPERATOR)},
    "/mptcp/accuracy/": READ,
    "/mptcp/captures/{capture_id}/": READ,
    "/mptcp/connections/{connection_id}/": READ,
    "/cluster/": READ,
}
# Login and logout must be open; what is not an address answers 404 to everybody. They have tests of their own.
CHAIN = "asked-for"
DOORS = {"/login/", "/logout/", "/admin/login/", "/admin/logout/", "/api/v1/.*"}

Address = Callable[[str, Client], str]


def _is_admin(path: str) -> bool:
    return path.startswith("/admin/") and path not in DOORS


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    rules = REST | PAGES
    served = [route for route in routes() if not _is_admin(route.path) and route.path not in DOORS]
    assert {route.path for route in served} == set(rules)
    silent = {
        route.path: set(route.methods) ^ set(rules[route.path])
        for route in served
        if route.methods and set(route.methods) != set(rules[route.path])
    }
    assert silent == {}


@pytest.fixture
def address(pair: SitePair) -> Address:
    """Fills the parameters of an address with things that exist, and the asker's own token."""
    ids: dict[str, Any] = {
        "/api/v1/audit/": AuditEntry.objects.first(),
        "/api/v1/events/": failed_event(),
        "/api/v1/jobs/": Job.objects.create(kind="lab.fault", params={}),
        "/api/v1/inventory/sites/": Site.objects.first(),
        "/api/v1/inventory/devices/": Device.objects.get(name="gw-a"),
        "/api/v1/inventory/interfaces/": Interface.objects.first(),
        "/api/v1/inventory/links/": Link.objects.first(),
        "/api/v1/wan/links/": WanLink.objects.first(),
        "/api/v1/wan/virtual-subnets/": VirtualSubnet.objects.first(),
        "/api/v1/wan/map-epochs/": MapEpoch.objects.first(),
        "/api/v1/wan/failovers/": failover_make(),
    }
    ids["/jobs/"] = ids["/api/v1/jobs/"]
    ids |= _chain_things() | _mptcp_things()

    def fill(path: str, client: Client) -> str:
        known = next((thing.pk for start, thing in ids.items() if path.startswith(start)), None)
        name = "goodput" if "charts" in path else "fiber"
        name = CHAIN if "/chains/" in path else name
        for parameter in ("{pk}", "{job_id}", "{plan_id}", "{capture_id}", "{connection_id}"):
            path = path.replace(parameter, str(_own_token(client) if "/tokens/" in path else known))
        return (
            path.replace("{token_id}", str(_own_token(client)))
            .replace("{name}", name)
            .replace("{slug}", "monitor")
            .replace("{link}", name)
            .replace("{device}", "gw-a")
        )

    return fill


def _chain_things() -> dict[str, Any]:
    """Return what stands behind the addresses of chains."""
    body = {"name": CHAIN, "rate_pps": 10, "nfs": [{"name": "monitor", "type": "monitor"}]}
    chain = chain_create(definition=definition_parse(body), actor=None)
    alarm = ChainAlarm.objects.create(chain=chain, kind="slo", message="slow", raised_at=timezone.now())
    content: dict[str, Any] = {
        "kind": "infeasible",
        "reason": "capacity",
        "witness": "no server",
        "pairs": [],
        "best": None,
    }
    plan = Plan.objects.create(chain=chain, chain_version=1, is_feasible=False, content=content, inputs={})
    deployment = Deployment.objects.create(chain=chain, plan=plan, epoch=1, status="failed")
    nowhere = {"kind": "infeasible", "reason": "capacity", "witness": "There is no server at hand."}
    placement = ChainPlacement.objects.create(is_feasible=False, content=nowhere)
    return {
        "/api/v1/chains/alarms/": alarm,
        "/api/v1/chains/placements/": placement,
        "/api/v1/chains/plans/": plan,
        "/chains/plans/": plan,
        "/api/v1/chains/deployments/": deployment,
    }


def _mptcp_things() -> dict[str, Any]:
    """Return what stands behind the addresses of mptcp."""
    domain, _ = AssociationDomain.objects.get_or_create(site=Site.objects.get(name="branch"))
    times = {"first_s": 1.0, "last_s": 2.0}
    connection = Connection.objects.create(
        domain=domain, engine_id=10**9, confidence=1.0, is_blockable=True, **times
    )
    ends = {"a": "10.0.0.1", "a_port": 1, "b": "10.0.0.2", "b_port": 2}
    subflow = Subflow.objects.create(connection=connection, engine_id=1, state="active", **ends, **times)
    alarm = Alarm.objects.create(domain=domain, kind="join_flood", words="many joins", at_s=1.0)
    capture = Capture.objects.create(file_name="walk.pcap", size_bytes=1, sha256="0" * 64)
    verdict = Verdict.objects.create(connection=connection, reason="asked", expires_at=timezone.now())
    subscription = Subscription.objects.create(url="http://127.0.0.1:9/", secret_sealed="")
    change = ChangeLog.objects.create(kind="connection_found", connection=connection, at_s=1.0)
    return {
        "/api/v1/mptcp/connections/": connection,
        "/mptcp/connections/": connection,
        "/api/v1/mptcp/subflows/": subflow,
        "/api/v1/mptcp/captures/": capture,
        "/mptcp/captures/": capture,
        "/api/v1/mptcp/alarms/": alarm,
        "/api/v1/mptcp/domains/": domain,
        "/api/v1/mptcp/verdicts/": verdict,
        "/api/v1/mptcp/subscriptions/": subscription,
        "/api/v1/mptcp/changes/": change,
    }


def _own_token(client: Client) -> int:
    token = ApiToken.objects.filter(user_id=getattr(client, "user_id", 0)).order_by("id").first()
    return token.pk if token else 0


def _asked(rules: dict[str, dict[str, Rule]]) -> Iterator[tuple[str, str, Rule]]:
    for path, methods in rules.items():
        for method, rule in methods.items():
            yield path, method, rule


def _answers(
    client: Client,
    address: Address,
    rules: dict[str, dict[str, Rule]],
    expected: Callable[[str, str, Rule], int],
) -> dict[str, tuple[int, int]]:
    """Return ``"METHOD path" -> (answer, expected)`` where they differ; each request is undone."""
    wrong = {}
    for path, method, rule in _asked(rules):
        with transaction.atomic():
            answer = client.generic(method, address(path, client), content_type="application/json")
            transaction.set_rollback(True)
        if answer.status_code != (wanted := expected(path, method, rule)):
            wrong[f"{method} {path}"] = (answer.status_code, wanted)
    return wrong


def _guarded(rules: dict[str, dict[str, Rule]]) -> dict[str, dict[str, Rule]]:
    """Return the rules without what is open to strangers, who ask for it in a test of their own."""
    return {path: methods for path, methods in rules.items() if all(rule.role for rule in methods.values())}


def _may(role: str | None, rule: Rule) -> bool:
    return rule.role is None or (role is not None and RANK[Role(role)] >= RANK[rule.role])


@pytest.mark.parametrize("role", [None, "viewer", "operator", "admin"])
def test_sessions(role: str | None, address: Address) -> None:
    client = _with_token_of_its_own(session_client(role))

    def expected(path: str, method: str, rule: Rule) -> int:
        if _may(role, rule):
            return rule.status
        return 401 if path == "/metrics" else 403

    assert _answers(client, address, _guarded(REST | PAGES), expected) == {}


def test_strangers(address: Address) -> None:
    def expected(path: str, method: str, rule: Rule) -> int:
        if rule.role is None:
            return rule.status
        return 401 if path in REST or path == "/metrics" else 302

    assert _answers(Client(), address, REST | PAGES, expected) == {}
    for path in PAGES:
        if PAGES[path].get("GET") and PAGES[path]["GET"].role and path != "/metrics":
            assert Client().get(address(path, Client())).headers["Location"].startswith("/login/?next=/")


@pytest.mark.parametrize("can_write", [False, True])
@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_tokens(role: str, can_write: bool, address: Address) -> None:
    def expected(path: str, method: str, rule: Rule) -> int:
        if _may(role, rule) and (can_write or method == "GET" or rule.is_question):
            return rule.status
        return 401 if path == "/metrics" else 403

    client = token_client(role, can_write=can_write)
    client.user_id = ApiToken.objects.latest("id").user_id  # type: ignore[attr-defined]
    assert _answers(client, address, _guarded(REST) | {"/metrics": PAGES["/metrics"]}, expected) == {}


@pytest.mark.parametrize("state", ["expired", "revoked", "unknown"])
def test_ended_tokens_open_nothing(state: str, address: Address) -> None:
    client = token_client("admin", can_write=True, state=state)
    assert _answers(client, address, REST | {"/metrics": PAGES["/metrics"]}, lambda *_: 401) == {}


def test_tokens_open_no_pages(address: Address) -> None:
    pages = {path: rules for path, rules in PAGES.items() if path not in ("/metrics", "/livez", "/readyz")}
    client = token_client("admin", can_write=True)
    assert _answers(client, address, pages, lambda *_: 302) == {}


def test_users_who_were_locked_out_are_strangers(address: Address) -> None:
    client = session_client("admin")
    token = token_client("admin", can_write=True, name="locked")
    User.objects.update(is_active=False)
    for path, method, rule in _asked(REST):
        if rule.role is not None:
            for one in (client, token):
                assert one.generic(method, address(path, one)).status_code == 401, path


def _with_token_of_its_own(client: Client) -> Client:
    user = User.objects.get(pk=client.session["_auth_user_id"])
    api_token_create(user=user, name="own", days=1, can_write=False)
    client.user_id = user.pk  # type: ignore[attr-defined]
    return client


def _admin_routes() -> Iterator[Route]:
    return (route for route in routes() if _is_admin(route.path))


@pytest.mark.parametrize("role", [None, "viewer", "operator", "admin"])
def test_admin_is_closed_to_who_is_not_staff(role: str | None) -> None:
    client = session_client(role) if role else Client()
    answers = {route.path: client.get(route.path.format_map(_Ones())) for route in _admin_routes()}
    assert len(answers) > 50
    inside = {
        path
        for path, answer in answers.items()
        if answer.status_code != 302 or not answer.headers["Location"].startswith("/admin/login/")
    }
    assert inside == set()


def test_staff_without_rights_sees_nothing_in_the_admin() -> None:
    client = session_client("viewer", is_staff=True)
    seen = {
        route.path
        for route in _admin_routes()
        if client.get(route.path.format_map(_Ones())).status_code == 200
    }
    assert seen == {"/admin/", "/admin/password_change/", "/admin/password_change/done/", "/admin/jsi18n/"}


class _Ones(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/jobs/{pk}/cancel/"),
        ("POST", "/api/v1/wan/failovers/{pk}/acknowledge/"),
        ("POST", "/tokens/"),
    ],
)
def test_sessions_change_nothing_without_the_csrf_token(method: str, path: str, address: Address) -> None:
    client = session_client("admin")
    client.handler.enforce_csrf_checks = True
    before = ApiToken.objects.count()
    answer = client.generic(method, address(path, client), "{}", content_type="application/json")
    assert answer.status_code == 403
    assert not Job.objects.exclude(cancel_requested_at=None).exists()
    assert ApiToken.objects.count() == before
