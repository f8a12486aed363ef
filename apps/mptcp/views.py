"""The page of ``mptcp`` until the app is built: what will live here, nothing pretended."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from nfvportal.accounts.access import Role, role_required

PAGE = {
    "title": "MPTCP",
    "summary": "Subflows of one Multipath TCP connection, told apart from samples",
    "plans": [
        "Upload a capture or switch on sensors, and see which subflows belong together and on what evidence.",
        "Ask by REST for the siblings of a subflow.",
        "Extend a verdict on one subflow to all present and future siblings.",
    ],
}


@role_required(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponse:
    """Say what will live here."""
    return render(request, "placeholder.html", PAGE)
