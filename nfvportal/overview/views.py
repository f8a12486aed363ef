"""The home page: health of each part and the event log, kept fresh by the live stream."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from nfvportal.accounts.access import Role, role_required
from nfvportal.overview.selectors import overview_get


@role_required(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponse:
    """Show how the portal is."""
    return render(request, "overview/index.html", overview_get())
