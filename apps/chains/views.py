"""The page of ``chains`` until the app is built: what will live here, nothing pretended."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from nfvportal.accounts.access import Role, role_required

PAGE = {
    "title": "Chains",
    "summary": "Service function chains, made hybrid",
    "plans": [
        "Draw a chain of network functions and see which may run in parallel, and why each other pair may not.",
        "Compare the predicted latency of the hybrid chain with the sequential one, before and after it is applied.",
        "Watch counters per hop and trace one packet through the chain.",
    ],
}


@role_required(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponse:
    """Say what will live here."""
    return render(request, "placeholder.html", PAGE)
