"""The OpenAPI document: complete, without a warning, and made without a database."""

from pathlib import Path

import yaml
from django.core.management import call_command

from tests.support.routes import routes

UNDESCRIBED = {"/api/v1/schema/", "/api/docs/"}


def test_document_is_complete_and_free_of_warnings_without_a_database(tmp_path: Path) -> None:
    """No ``django_db`` mark: a query, for example to list the rows of a related field, fails this test."""
    path = tmp_path / "openapi.yml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(path))
    document = yaml.safe_load(path.read_text())
    described = {
        (address.replace("{id}", "{pk}"), method.upper())
        for address, operations in document["paths"].items()
        for method in operations
    }
    served = {
        (route.path, method)
        for route in routes()
        if route.path not in UNDESCRIBED
        for method in route.methods
    }
    assert described == served
    assert document["components"]["schemas"]["Link"]["properties"]["a"] == {"type": "string"}
