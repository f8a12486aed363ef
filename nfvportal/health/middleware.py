"""Counts and times HTTP requests by view, so that a scanner's random addresses do not become metrics."""

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter, Histogram

REQUESTS = Counter("nfvportal_http_requests", "HTTP requests", ["method", "view", "status"])
LATENCY = Histogram("nfvportal_http_request_seconds", "Time to answer HTTP requests", ["view"])
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class MetricsMiddleware:
    """Measures every request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer and count."""
        started_s = time.perf_counter()
        response = self._get_response(request)
        match = request.resolver_match
        view = match.view_name or match._func_path if match else "none"
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(method, view, response.status_code).inc()
        LATENCY.labels(view).observe(time.perf_counter() - started_s)
        return response
