"""Pages of ``mptcp``. What they show comes over the live stream and REST; a page only says where it is."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from apps.mptcp.models import ConnectionState
from apps.mptcp.selectors import capture_data, capture_list, connection_get
from nfvportal.accounts.access import Role, role_required


@role_required(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponse:
    """List connections, alarms and captures."""
    return render(request, "mptcp/index.html")


@role_required(Role.OPERATOR)
def upload(request: HttpRequest) -> HttpResponse:
    """Show the form for a capture."""
    return render(request, "mptcp/upload.html", {"max_capture_bytes": settings.MAX_CAPTURE_BYTES})


@role_required(Role.VIEWER)
def accuracy(request: HttpRequest) -> HttpResponse:
    """Show what sampling rate and window cost."""
    return render(request, "mptcp/accuracy.html")


@role_required(Role.VIEWER)
def capture(request: HttpRequest, capture_id: int) -> HttpResponse:
    """Show one capture: how far its reading is, then what was found."""
    row = get_object_or_404(capture_list(), pk=capture_id)
    return render(request, "mptcp/capture.html", {"capture": capture_data(row)})


@role_required(Role.VIEWER)
def connection(request: HttpRequest, connection_id: int) -> HttpResponse:
    """Show one connection; one that was merged into another leads there."""
    row = connection_get(connection_id)
    if row.state == ConnectionState.GONE and row.merged_into_id is not None:
        return redirect("mptcp-connection-page", connection_id=row.merged_into_id)
    return render(request, "mptcp/connection.html", {"connection": row})
