"""Answers for load balancers, orchestrators and Prometheus."""

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from nfvportal.accounts.access import Role, has_role
from nfvportal.accounts.services import user_for_token
from nfvportal.health.selectors import readiness


@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """Answer as long as the process can; asks nobody else."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when requests can be served, 503 with the part that is missing otherwise."""
    parts = readiness()
    is_ready = all(words == "ok" for words in parts.values())
    return JsonResponse(
        {"status": "ok" if is_ready else "not ready", "parts": parts}, status=200 if is_ready else 503
    )


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return this process's metrics as Prometheus text; for viewers, by session or bearer token."""
    scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
    token_user = user_for_token(raw.strip()) if scheme.lower() == "bearer" else None
    if not has_role(token_user or request.user or AnonymousUser(), Role.VIEWER):
        return HttpResponse(
            "a viewer's session or bearer token is needed\n", status=401, content_type="text/plain"
        )
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
