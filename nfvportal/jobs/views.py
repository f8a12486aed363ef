"""Pages of jobs: list and detail, both kept fresh by the live stream."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from nfvportal.accounts.access import Role, has_role, role_required
from nfvportal.jobs.selectors import SNAPSHOT_JOBS, job_data, job_list


@role_required(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponse:
    """List the newest jobs."""
    jobs = [job_data(job) for job in job_list()[:SNAPSHOT_JOBS]]
    return render(
        request, "jobs/index.html", {"jobs": jobs, "can_operate": has_role(request.user, Role.OPERATOR)}
    )


@role_required(Role.VIEWER)
def detail(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Show one job."""
    job = job_data(get_object_or_404(job_list(), pk=job_id))
    return render(
        request, "jobs/detail.html", {"job": job, "can_operate": has_role(request.user, Role.OPERATOR)}
    )
