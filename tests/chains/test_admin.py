"""The catalogue in the admin: checked as over REST, every change a version with an audit entry."""

import json
from typing import Any

import pytest
from django.test import Client

from apps.chains.models import NfType
from nfvportal.audit.models import AuditEntry
from tests.support.chains import chain_make, nf_type, type_body

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]
ADMIN = "/admin/chains/nftype"


def form(**fields: Any) -> dict[str, Any]:
    body = {
        **type_body(),
        "service": {"mean_us": 12},
        "description": "",
        "provenance": "",
        "implementation": "",
    }
    body |= fields
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in body.items()}


def test_type_is_added_and_changed_as_a_new_version(admin_client: Client) -> None:
    assert admin_client.post(f"{ADMIN}/add/", form()).status_code == 302
    row = nf_type("waf")
    assert (row.version, row.updated_by, row.service["scv"], row.is_builtin) == (1, "admin", 1.0, False)
    changed = admin_client.post(f"{ADMIN}/{row.pk}/change/", form(title="WAF"))
    assert changed.status_code == 302
    row.refresh_from_db()
    assert (row.title, row.version) == ("WAF", 2)
    entry = AuditEntry.objects.get(action="chains.nf_type_update")
    assert (entry.before["title"], entry.after["title"]) == ("Web application firewall", "WAF")


@pytest.mark.parametrize(
    ("name", "value"),
    [("profile", {"reads": ["nothing"]}), ("service", {"mean_us": 0}), ("profile", "no json")],
)
def test_broken_profile_is_refused_with_its_field(name: str, value: Any, admin_client: Client) -> None:
    answer = admin_client.post(f"{ADMIN}/add/", form(**{name: value}))
    assert answer.status_code == 200
    assert name in answer.context["adminform"].form.errors
    assert not NfType.objects.filter(slug="waf").exists()


def test_built_in_and_used_types_are_not_deleted(admin_client: Client) -> None:
    admin_client.post(f"{ADMIN}/add/", form())
    chain_make("guarded", ("waf",))
    for slug in ("waf", "firewall"):
        assert admin_client.post(f"{ADMIN}/{nf_type(slug).pk}/delete/", {"post": "yes"}).status_code == 403
    NfType.objects.filter(slug="waf").update(slug="other")
    assert admin_client.post(f"{ADMIN}/{nf_type('other').pk}/delete/", {"post": "yes"}).status_code == 302
    assert not NfType.objects.filter(slug="other").exists()


def test_deleting_many_at_once_keeps_what_must_stay(admin_client: Client) -> None:
    keys = list(NfType.objects.values_list("pk", flat=True))
    admin_client.post(f"{ADMIN}/", {"action": "delete_selected", "_selected_action": keys, "post": "yes"})
    assert NfType.objects.count() == len(keys)
