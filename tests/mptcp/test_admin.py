"""What mptcp stored, in the admin: every page of a row opens, nothing can be changed there."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client

from apps.mptcp.models import AssociationDomain, Connection
from tests.support.mptcp_rows import connections_make, gateway_make
from tests.support.mptcp_scene import whole

pytestmark = pytest.mark.django_db


def test_lists_and_rows_open_and_are_read_only(admin_client: Client) -> None:
    gateway_make()
    connections_make(whole(1))
    opened = set()
    for model in apps.get_app_config("mptcp").get_models():
        if not admin.site.is_registered(model):
            continue
        path = f"/admin/mptcp/{model._meta.model_name}/"
        assert admin_client.get(path).status_code == 200, path
        assert admin_client.get(f"{path}add/").status_code == 403, path
        row = model._default_manager.first()
        if row is not None:
            assert admin_client.get(f"{path}{row.pk}/change/").status_code == 200, path
            assert admin_client.post(f"{path}{row.pk}/delete/", {"post": "yes"}).status_code == 403, path
            opened.add(model)
    assert {AssociationDomain, Connection} <= opened
