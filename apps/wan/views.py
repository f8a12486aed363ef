"""The WAN page; everything on it comes over the live stream."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from nfvportal.accounts.access import Role, role_required


@role_required(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponse:
    """Show the frame that the page's script fills."""
    return render(request, "wan/index.html")
