"""The page of the audit log, for administrators."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from nfvportal.accounts.access import Role, role_required
from nfvportal.audit.selectors import audit_data, audit_list

PAGE_SIZE = 100
FILTERS = ("actor", "action", "subject")
MAX_ID = 2**62


@role_required(Role.ADMIN)
def index(request: HttpRequest) -> HttpResponse:
    """List who changed what, newest first, ``PAGE_SIZE`` at a time."""
    filters = {name: request.GET.get(name, "")[:200].replace("\x00", "") for name in FILTERS}
    before = request.GET.get("before", "")
    entries = audit_list(**filters)
    if before.isascii() and before.isdigit() and int(before) < MAX_ID:
        entries = entries.filter(id__lt=int(before))
    page = list(entries[: PAGE_SIZE + 1])
    next_url = ""
    if len(page) > PAGE_SIZE:
        query = {name: value for name, value in filters.items() if value}
        next_url = f"?{urlencode({**query, 'before': page[PAGE_SIZE - 1].pk})}"
    context = {
        "entries": [audit_data(entry) for entry in page[:PAGE_SIZE]],
        "filters": filters,
        "next_url": next_url,
    }
    return render(request, "audit/index.html", context)
