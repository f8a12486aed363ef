"""RFC 9457 problem details for every error of the API.

Source: RFC 9457 sections 3 and 4. ``errors`` is our extension: one object per offending field, with its limit.
"""

import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

from nfvportal.lib.errors import InvalidInputError

logger = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"

TITLES = {
    400: "Invalid input",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "Changed by somebody else",
    413: "Too large",
    415: "Unsupported media type",
    428: "If-Match required",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available now",
}


class ConflictError(exceptions.APIException):
    """The request does not fit the current state."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class PreconditionFailedError(exceptions.APIException):
    """The thing changed since the client read it; ``current_tag`` says what it is now, ``current`` may hold it."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"

    def __init__(self, current_tag: str, current: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"it changed since you read it; its entity tag is now {current_tag}")
        self.current_tag = current_tag
        self.current = current


class PreconditionRequiredError(exceptions.APIException):
    """A change of something that several people edit must say which version it changes."""

    status_code = status.HTTP_428_PRECONDITION_REQUIRED
    default_code = "precondition_required"
    default_detail = "send If-Match with the entity tag of the version that you change"


class UnavailableError(exceptions.APIException):
    """A part that is needed for this is not there now."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"


def problem(
    status_code: int, detail: str = "", *, errors: list[dict[str, str]] | None = None, **extra: Any
) -> dict[str, Any]:
    """Return a problem details object."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES.get(status_code, "Error"),
        "status": status_code,
    }
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = errors
    return {**body, **extra}


def problem_handler(error: Exception, context: dict[str, Any]) -> Response:
    """Turn whatever a view raised into a problem; the unexpected is logged and told without a leak."""
    set_rollback()
    headers: dict[str, str] = {}
    if isinstance(error, InvalidInputError):
        body = problem(400, str(error), errors=[{"field": error.field, "limit": error.limit}])
    elif isinstance(error, exceptions.ValidationError):
        body = problem(400, "one or more fields are not valid", errors=list(_field_errors("", error.detail)))
    elif isinstance(error, PreconditionFailedError):
        body = problem(412, str(error.detail), current_tag=error.current_tag)
        if error.current is not None:
            body["current"] = error.current
        headers["ETag"] = error.current_tag
    elif isinstance(error, Http404):
        body = problem(404, str(error) or "there is nothing at this address")
    elif isinstance(error, RequestDataTooBig):
        body = problem(413, f"the body must be at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes")
    elif isinstance(error, PermissionDenied):
        body = problem(403, str(error) or "your role does not allow this")
    elif isinstance(error, exceptions.APIException):
        body = problem(error.status_code, str(error.detail))
        headers.update(_headers_of(error))
    else:
        logger.exception("unexpected error in %s", context.get("view"), exc_info=error)
        body = problem(500, "something went wrong on our side; it has been logged")
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)


def _headers_of(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(challenge)
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait))
    return headers


def _field_errors(path: str, detail: Any) -> Any:
    """Yield ``{field, limit}`` for each message in DRF's nested detail."""
    if isinstance(detail, dict):
        for name, value in detail.items():
            inner = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            yield from _field_errors(inner, value)
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            nested = isinstance(value, dict | list)
            yield from _field_errors(f"{path}[{index}]" if nested else path, value)
    else:
        yield {"field": path, "limit": str(detail)}


def not_found(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    """Answer an address below ``/api/`` that does not exist."""
    body = problem(404, f"there is nothing at {request.path}")
    return JsonResponse(body, status=404, content_type=CONTENT_TYPE)
