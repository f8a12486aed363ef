"""The admin's pages: all of them open, and history cannot be changed there by anybody."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from nfvportal.accounts.read_only import ReadOnlyAdmin

pytestmark = pytest.mark.django_db(transaction=True)
HISTORY = {"events.event", "inventory.desiredstate", "jobs.job", "wan.failoverevent", "wan.mapepoch"}


def _read_only() -> dict[str, ReadOnlyAdmin]:
    pages = admin.site._registry.items()
    return {model._meta.label_lower: page for model, page in pages if isinstance(page, ReadOnlyAdmin)}


def test_every_list_opens(admin_client: Client) -> None:
    for model in admin.site._registry:
        answer = admin_client.get(f"/admin/{model._meta.app_label}/{model._meta.model_name}/")
        assert answer.status_code == 200, model._meta.label


def test_history_is_to_look_at_even_for_superusers(admin_client: Client, admin_user: User) -> None:
    request = RequestFactory().get("/admin/")
    request.user = admin_user
    pages = _read_only()
    assert set(pages) >= HISTORY
    for label, page in pages.items():
        assert admin_client.get(f"/admin/{label.replace('.', '/')}/add/").status_code == 403, label
        assert page.has_view_permission(request), label
        assert not page.has_change_permission(request), label
        assert not page.has_delete_permission(request), label
