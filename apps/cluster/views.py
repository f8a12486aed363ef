"""The page of ``cluster`` until the app is built: what will live here, nothing pretended."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from nfvportal.accounts.access import Role, role_required

PAGE = {
    "title": "Cluster",
    "summary": "Controller clusters under partial connectivity",
    "plans": [
        "Watch the members of a consensus cluster and who reaches whom.",
        "See liveness failures named: oscillating leadership, stale-log deadlock, no quorum.",
        "Route around them.",
    ],
}


@role_required(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponse:
    """Say what will live here."""
    return render(request, "placeholder.html", PAGE)
