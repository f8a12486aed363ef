"""REST of chains and catalogue: shapes, pages, versions as entity tags, import and export."""

import json
from typing import Any

import pytest
from django.test import Client

from apps.chains.models import Chain, ChainRevision, NfType
from nfvportal.audit.models import AuditEntry
from tests.support.chains import chain_body, chain_make, type_body
from tests.support.people import token_client

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]
API = "/api/v1/chains"


@pytest.fixture
def client(db: None) -> Client:
    return token_client("operator", can_write=True)


def send(
    client: Client, method: str, path: str, body: Any = None, *, tag: str | None = None, status: int = 200
) -> Any:
    headers = {} if tag is None else {"If-Match": tag}
    answer = client.generic(
        method,
        f"{API}/{path}",
        "" if body is None else json.dumps(body),
        content_type="application/json",
        headers=headers,
    )
    assert answer.status_code == status, answer.content
    return answer


def get(client: Client, path: str, status: int = 200) -> Any:
    return send(client, "GET", path, status=status).json()


def test_chain_is_stored_with_defaults_filled_in(client: Client) -> None:
    answer = send(client, "POST", "chains/", chain_body(), status=201)
    chain = answer.json()
    assert answer.headers["ETag"] == '"1"'
    assert chain["nfs"][0] == {
        "name": "vpn", "type": "vpn", "params": {}, "pinned_server": "", "is_state_advisory": False,
    }  # fmt: skip
    assert {name: chain[name] for name in ("name", "version", "match", "packet_bytes", "slo_p99_ms", "replan")} == {
        "name": "web-vpn", "version": 1, "match": {}, "packet_bytes": 724.0, "slo_p99_ms": None, "replan": "propose",
    }  # fmt: skip
    assert (chain["updated_by"].startswith("token-operator"), chain["deployment"]) == (True, None)
    assert get(client, "chains/web-vpn/") == chain


def test_change_needs_the_version_that_was_read_and_a_late_one_gets_the_current(client: Client) -> None:
    chain_make()
    send(client, "PUT", "chains/web-vpn/", chain_body(rate_pps=2000), status=428)
    changed = send(client, "PUT", "chains/web-vpn/", chain_body(rate_pps=2000), tag='"1"')
    assert (changed.headers["ETag"], changed.json()["rate_pps"]) == ('"2"', 2000)
    late = send(client, "PUT", "chains/web-vpn/", chain_body(title="late"), tag='"1"', status=412)
    assert (late.headers["ETag"], late.json()["current_tag"], late.json()["current"]) == (
        '"2"', '"2"', changed.json(),
    )  # fmt: skip
    assert Chain.objects.get().version == 2


def test_same_content_makes_no_version(client: Client) -> None:
    chain_make()
    assert send(client, "PUT", "chains/web-vpn/", chain_body(), tag='"1"').headers["ETag"] == '"1"'
    assert ChainRevision.objects.count() == 1


def test_versions_are_listed_and_restored_as_new_ones(client: Client) -> None:
    chain_make()
    for version, rate in ((1, 2000), (2, 3000)):
        send(client, "PUT", "chains/web-vpn/", chain_body(rate_pps=rate), tag=f'"{version}"')
    restored = send(client, "POST", "chains/web-vpn/restore/", {"version": 1})
    assert (restored.json()["rate_pps"], restored.json()["version"]) == (1000.0, 4)
    rows = get(client, "chains/web-vpn/revisions/?page_size=3")
    assert [(row["version"], row["definition"]["rate_pps"], row["note"]) for row in rows["results"]] == [
        (4, 1000.0, "version 1 restored"), (3, 3000, ""), (2, 2000, ""),
    ]  # fmt: skip
    assert rows["next"]
    send(client, "POST", "chains/web-vpn/restore/", {"version": 9}, status=400)
    actions = list(AuditEntry.objects.filter(action__startswith="chains.").values_list("action", flat=True))
    assert actions.count("chains.chain_update") == 3


def test_chain_is_deleted_with_its_tag(client: Client) -> None:
    chain_make()
    send(client, "DELETE", "chains/web-vpn/", status=428)
    send(client, "DELETE", "chains/web-vpn/", tag='"2"', status=412)
    send(client, "DELETE", "chains/web-vpn/", tag='"1"', status=204)
    assert get(client, "chains/web-vpn/", 404)["status"] == 404


def test_name_is_taken_once_and_stays(client: Client) -> None:
    chain_make()
    taken = send(client, "POST", "chains/", chain_body(), status=400).json()
    assert taken["errors"][0]["field"] == "name"
    other = send(client, "PUT", "chains/web-vpn/", chain_body("other"), tag='"1"', status=400).json()
    assert other["errors"][0]["field"] == "name"


BROKEN = [
    ({"rate_pps": 0}, "rate_pps"), ({"rate_pps": "fast"}, "rate_pps"), ({"rate_pps": True}, "rate_pps"),
    ({"rate_pps": 10**400}, "rate_pps"),
    ({"nfs": []}, "nfs"), ({"nfs": [{"name": "a", "type": "nothing"}]}, "nfs[0].type"),
    ({"nfs": [{"name": "a", "type": "monitor"}, {"name": "a", "type": "vpn"}]}, "nfs[1].name"),
    ({"nfs": [{"name": "A!", "type": "monitor"}]}, "nfs[0].name"),
    ({"nfs": [{"name": "a", "type": "monitor", "colour": 1}]}, "nfs[0].colour"),
    ({"nfs": [{"name": "a", "type": "monitor", "service": {"mean_us": -1}}]}, "nfs[0].service.mean_us"),
    ({"nfs": [{"name": "a", "type": "load_balancer", "params": {"vip": "x"}}]}, "nfs[0].params.vip"),
    ({"nfs": [{"name": "a", "type": "monitor", "params": {"x": {"y": "\x00"}}}]}, "nfs[0].params"),
    ({"match": {"src": "10.0.0.1/8"}}, "match.src"), ({"match": {"dst_port": [80]}}, "match.proto"),
    ({"match": {"proto": "tcp", "dst_port": [70000]}}, "match.dst_port[0]"),
    ({"match": {"src": "10.0.0.0/8", "dst": "2001:db8::/32"}}, "match.dst"),
    ({"slo_p99_ms": 0}, "slo_p99_ms"), ({"replan": "always"}, "replan"), ({"name": "new"}, "name"),
    ({"title": "x" * 201}, "title"), ({"why": 1}, "why"), ({"packet_bytes": 10}, "packet_bytes"),
]  # fmt: skip


def test_broken_chains_are_refused_by_field(client: Client) -> None:
    for change, field in BROKEN:
        problem = send(client, "POST", "chains/", {**chain_body(), **change}, status=400).json()
        assert [error["field"] for error in problem["errors"]] == [field], change
    for body in ([], "text", None, 5):
        assert send(client, "POST", "chains/", body, status=400).json()["status"] == 400
    assert not Chain.objects.exists()


def test_list_walks_all_chains_with_their_state(client: Client, django_assert_max_num_queries: Any) -> None:
    for name in ("b", "a", "c"):
        chain_make(name)
    first = get(client, "chains/?page_size=2")
    assert [(row["name"], row["status"], row["slo_state"], row["measured_pps"]) for row in first["results"]] == [
        ("a", "draft", "none", None), ("b", "draft", "none", None),
    ]  # fmt: skip
    rest = client.get(first["next"].removeprefix("http://testserver")).json()
    assert [row["name"] for row in rest["results"]] == ["c"]
    with django_assert_max_num_queries(8):
        get(client, "chains/")


def test_catalogue_lists_built_in_types(client: Client) -> None:
    firewall = get(client, "nf-types/firewall/")
    assert firewall.keys() == {
        "slug", "title", "description", "profile", "service", "provenance", "implementation", "is_builtin",
        "can_run", "version", "updated_at", "updated_by",
    }  # fmt: skip
    assert firewall["profile"].keys() == {
        "reads", "writes", "adds_header", "removes_header", "drops", "drop_reads", "flags", "state", "shared_state",
    }  # fmt: skip
    assert firewall["profile"]["reads"][:3] == ["ip_src", "ip_dst", "ip_proto"]
    slugs = {row["slug"]: row["can_run"] for row in get(client, "nf-types/")["results"]}
    assert (slugs["firewall"], slugs["cache"]) == (True, False)


def test_types_are_added_changed_and_deleted_by_version(client: Client) -> None:
    made = send(client, "POST", "nf-types/", type_body(), status=201)
    assert (made.headers["ETag"], made.json()["is_builtin"], made.json()["can_run"]) == ('"1"', False, False)
    chain_make("guarded", ("monitor", "waf"))
    changed = send(client, "PATCH", "nf-types/waf/", {"title": "WAF"}, tag='"1"')
    assert (changed.headers["ETag"], changed.json()["title"]) == ('"2"', "WAF")
    late = send(client, "PATCH", "nf-types/waf/", {"title": "X"}, tag='"1"', status=412).json()
    assert late["current"]["title"] == "WAF"
    used = send(client, "DELETE", "nf-types/waf/", tag='"2"', status=400).json()
    assert "guarded" in used["detail"]
    Chain.objects.all().delete()
    send(client, "DELETE", "nf-types/waf/", tag='"2"', status=204)
    send(client, "DELETE", "nf-types/firewall/", tag="*", status=400)
    assert NfType.objects.filter(slug="firewall").exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [({"slug": "A"}, "slug"), ({"title": ""}, "title"), ({"profile": {"reads": ["ip_source"]}}, "profile.reads[0]"),
     ({"profile": {"flags": ["fast"]}}, "profile.flags[0]"), ({"profile": {"drops": 1}}, "profile.drops"),
     ({"profile": {"state": "some"}}, "profile.state"), ({"profile": []}, "profile"), ({"version": 2}, "version"),
     ({"slug": "firewall"}, "slug"), ({"service": {"mean_us": 0}}, "service.mean_us")],
)  # fmt: skip
def test_broken_types_are_refused_by_field(change: Any, field: str, client: Client) -> None:
    problem = send(client, "POST", "nf-types/", {**type_body(), **change}, status=400).json()
    assert [error["field"] for error in problem["errors"]] == [field]


def test_analysis_gives_every_pair_its_reason(client: Client) -> None:
    pairs = send(client, "POST", "chains/analyse/", chain_body()).json()["pairs"]
    assert [(pair["first_name"], pair["second_name"]) for pair in pairs] == [
        ("vpn", "monitor"), ("vpn", "firewall"), ("vpn", "load-balancer"), ("monitor", "firewall"),
        ("monitor", "load-balancer"), ("firewall", "load-balancer"),
    ]  # fmt: skip
    assert (pairs[0]["kind"], pairs[3]["kind"]) == ("no", "ok")
    assert all(pair["reason"] for pair in pairs)
    assert not Chain.objects.exists()


FILE = """name: branch
rate_pps: 100
nfs:
  - {name: fw, type: firewall}
  - {name: lb, type: load_balancer, params: {vip: 10.0.0.1, backends: [{address: 10.0.0.2}]}}
"""


def test_file_is_imported_and_exported_again(client: Client) -> None:
    dry = send(client, "POST", "chains/import/", {"text": FILE, "dry_run": True}).json()
    assert (dry["name"], Chain.objects.count()) == ("branch", 0)
    made = send(client, "POST", "chains/import/", {"text": FILE, "format": "yaml"}, status=201).json()
    assert made["nfs"][1]["params"]["vip"] == "10.0.0.1"
    answer = client.get(f"{API}/chains/branch/export/?format=yaml")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="branch.yml"'
    Chain.objects.all().delete()
    again = send(client, "POST", "chains/import/", {"text": answer.content.decode()}, status=201).json()
    assert again["nfs"] == made["nfs"]
    assert (
        "tosca.groups.nfv.VNFFG" in client.get(f"{API}/chains/branch/export/?format=tosca").content.decode()
    )
    assert "openstack sfc port chain create" in (
        client.get(f"{API}/chains/branch/export/?format=networking-sfc").content.decode()
    )
    assert get(client, "chains/branch/export/?format=xml", 400)["errors"][0]["field"] == "format"


def test_broken_file_is_refused_with_line_and_field(client: Client) -> None:
    problem = send(
        client, "POST", "chains/import/", {"text": FILE.replace("type: firewall", "typ: x")}, status=400
    ).json()
    assert (problem["line"], problem["field"]) == (4, "nfs[0].typ")
    assert problem["errors"] == [{"field": "nfs[0].typ", "line": "4", "limit": problem["errors"][0]["limit"]}]


def test_what_is_not_there_is_a_problem_404(client: Client) -> None:
    for path in ("chains/nothing/", "nf-types/nothing/", "chains/nothing/export/", "chains/nothing/revisions/",
                 "chains/nothing/hops/", "alarms/0/"):  # fmt: skip
        assert get(client, path, 404)["status"] == 404, path


def test_unknown_filters_are_refused(client: Client) -> None:
    chain_make()
    for path in ("chains/?colour=red", "nf-types/?slug=x", "chains/web-vpn/?x=1", "chains/web-vpn/hops/?x=1",
                 "chains/web-vpn/revisions/?x=1", "alarms/?x=1"):  # fmt: skip
        assert get(client, path, 400)["status"] == 400, path


def test_hops_latency_and_alarms_are_empty_at_first(client: Client) -> None:
    chain_make()
    assert get(client, "chains/web-vpn/hops/") == {"epoch": None, "hops": []}
    assert get(client, "chains/web-vpn/latency/") == {"newest": None, "history": []}
    assert get(client, "alarms/?chain=web-vpn")["results"] == []
