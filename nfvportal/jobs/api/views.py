"""REST of jobs: follow and cancel. Each kind is started where it belongs."""

from typing import ClassVar

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from nfvportal.accounts.access import has_role
from nfvportal.jobs import services
from nfvportal.jobs.api.serializers import JobSerializer
from nfvportal.jobs.kinds import JOB_KINDS
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.selectors import job_list
from nfvportal.rest.strict import choice_filter
from nfvportal.rest.views import ReadViewSet


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("state", OpenApiTypes.STR, enum=JobState.values),
            OpenApiParameter("kind", OpenApiTypes.STR, enum=sorted(JOB_KINDS)),
        ]
    )
)
class JobViewSet(ReadViewSet):
    """Long work."""

    serializer_class = JobSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-created_at", "-id")
    filters: ClassVar[tuple[str, ...]] = ("state", "kind")
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Job]:
        """Return jobs, newest first."""
        if self.action != "list":
            return job_list()
        return job_list(
            state=choice_filter(self.request, "state", JobState.values),
            kind=choice_filter(self.request, "kind", sorted(JOB_KINDS)),
        )

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Ask the job to stop; a finished one stays as it is."""
        job = self.get_object()
        kind = JOB_KINDS.get(job.kind)
        if kind is not None and not has_role(request.user, kind.minimum):
            raise PermissionDenied(f"this needs the role {kind.minimum.value}")
        assert isinstance(request.user, User)
        return Response(JobSerializer(services.job_cancel(job=job, user=request.user)).data)
