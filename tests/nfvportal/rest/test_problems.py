"""Every error of the API is a problem document with the right status, and tells nothing that it should not."""

import json
import logging
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404
from django.test import Client
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from nfvportal.lib.errors import InvalidInputError
from nfvportal.rest.problems import (
    TITLES,
    ConflictError,
    PreconditionFailedError,
    PreconditionRequiredError,
    UnavailableError,
)
from tests.support.people import session_client, token_client

FIELD = [{"field": "x", "limit": "must be y"}]


class Raising(APIView):
    """Raises what the test wants."""

    authentication_classes = ()
    permission_classes = ()
    error: Exception = Exception()

    def get(self, request: Request) -> Response:
        """Raise."""
        raise self.error


ERRORS: list[tuple[Exception, int, dict[str, Any]]] = [
    (InvalidInputError("x", "must be y"), 400, {"detail": "x: must be y", "errors": FIELD}),
    (exceptions.ValidationError({"x": ["must be y"]}), 400, {"errors": FIELD}),
    (
        exceptions.ValidationError({"a": [{}, {"b": ["no"]}]}),
        400,
        {"errors": [{"field": "a[1].b", "limit": "no"}]},
    ),
    (
        exceptions.ValidationError({"non_field_errors": ["no"]}),
        400,
        {"errors": [{"field": "", "limit": "no"}]},
    ),
    (exceptions.ParseError("no JSON"), 400, {"detail": "no JSON"}),
    (exceptions.NotAuthenticated(), 401, {}),
    (exceptions.AuthenticationFailed("who?"), 401, {"detail": "who?"}),
    (exceptions.PermissionDenied("no"), 403, {"detail": "no"}),
    (PermissionDenied(), 403, {"detail": "your role does not allow this"}),
    (Http404("no such job"), 404, {"detail": "no such job"}),
    (Http404(), 404, {"detail": "there is nothing at this address"}),
    (exceptions.MethodNotAllowed("GET"), 405, {}),
    (exceptions.NotAcceptable(), 406, {}),
    (ConflictError("busy"), 409, {"detail": "busy"}),
    (PreconditionFailedError('"7"'), 412, {"current_tag": '"7"'}),
    (RequestDataTooBig("big"), 413, {}),
    (exceptions.UnsupportedMediaType("text/x"), 415, {}),
    (PreconditionRequiredError(), 428, {}),
    (exceptions.Throttled(wait=12.7), 429, {}),
    (ZeroDivisionError("secret of the house"), 500, {}),
    (UnavailableError("gone"), 503, {"detail": "gone"}),
]


@pytest.mark.parametrize(("error", "status", "content"), ERRORS)
def test_every_class_of_error_is_a_problem(error: Exception, status: int, content: dict[str, Any]) -> None:
    answer = Raising.as_view(error=error)(APIRequestFactory().get("/"))
    answer.accepted_renderer = answer.accepted_renderer
    answer.render()
    # Without an authentication class that has a challenge, REST framework turns 401 into 403.
    expected = 403 if status == 401 else status
    assert answer.status_code == expected
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = json.loads(answer.content)
    assert body["status"] == expected
    assert (body["type"], body["title"]) == ("about:blank", TITLES[expected])
    assert body.items() >= {name: value for name, value in content.items() if name != "errors"}.items()
    assert body.get("errors") == content.get("errors")
    assert "secret" not in answer.content.decode()


def test_headers_tell_machines_what_to_do() -> None:
    view = APIRequestFactory().get("/")
    assert Raising.as_view(error=exceptions.Throttled(wait=12.7))(view).headers["Retry-After"] == "13"
    assert Raising.as_view(error=PreconditionFailedError('"7"'))(view).headers["ETag"] == '"7"'


def test_unexpected_error_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "nfvportal.rest.problems"):
        Raising.as_view(error=ZeroDivisionError("secret"))(APIRequestFactory().get("/"))
    assert "ZeroDivisionError: secret" in caplog.text


def _is_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    return body


@pytest.mark.django_db
class TestOverTheRealAddresses:
    """The same, asked of the real views."""

    def test_strangers_are_challenged(self) -> None:
        answer = Client().get("/api/v1/events/")
        assert "credentials" in _is_problem(answer, 401)["detail"]
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="nfvportal"'

    @pytest.mark.parametrize(
        "path", ["/api/v1/", "/api/v1/nothing/", "/api/v1/jobs", "/api/v1/jobs/abc/", "/api/v1/../x"]
    )
    def test_wrong_addresses(self, path: str) -> None:
        for method in ("get", "post", "delete"):
            _is_problem(getattr(session_client("admin", name=f"{method}"), method)(path), 404)

    def test_wrong_method_names_the_right_ones(self) -> None:
        answer = token_client("admin", can_write=True).delete("/api/v1/events/")
        _is_problem(answer, 405)
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"

    def test_wrong_media_types(self) -> None:
        client = token_client("admin", can_write=True)
        _is_problem(client.get("/api/v1/events/", headers={"Accept": "text/turtle"}), 406)
        for kind in (
            "text/csv",
            "application/xml",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded",
        ):
            _is_problem(client.post("/api/v1/inventory/sites/", b"a=b", content_type=kind), 415)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"nonsense",
            b"[1,2]",
            b'"text"',
            b"5",
            b"null",
            b"\xff\xfe",
            b'{"name": NaN}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
        ],
    )
    def test_broken_bodies(self, body: bytes) -> None:
        client = token_client("admin", can_write=True)
        _is_problem(client.post("/api/v1/inventory/sites/", body, content_type="application/json"), 400)

    def test_body_beyond_the_limit_is_not_read(self) -> None:
        body = b'{"name": "' + b"x" * settings.MAX_UPLOAD_BYTES + b'"}'
        client = token_client("admin", can_write=True)
        problem = _is_problem(
            client.post("/api/v1/inventory/sites/", body, content_type="application/json"), 413
        )
        assert str(settings.MAX_UPLOAD_BYTES) in problem["detail"]

    def test_unknown_and_read_only_fields_are_refused_by_name(self) -> None:
        client = token_client("admin", can_write=True)
        body = {"name": "a", "colour": "red", "id": 7, "x" * 90: 1}
        problem = _is_problem(
            client.post("/api/v1/inventory/sites/", body, content_type="application/json"), 400
        )
        assert {error["field"] for error in problem["errors"]} == {"colour", "id", "x" * 64}
        assert "latitude" in problem["errors"][0]["limit"]

    def test_pages_for_people_stay_pages(self) -> None:
        answer = session_client("viewer").get("/nothing/")
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
