"""REST of the lab: status, topologies, faults. Not there unless ``LAB_ENABLED``."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from nfvportal.audit.services import audit_record
from nfvportal.jobs.api.serializers import JobSerializer
from nfvportal.jobs.services import job_start
from nfvportal.lab.client import LabRefused, LabUnavailable
from nfvportal.lab.topology import list_topologies
from nfvportal.rest.problems import UnavailableError
from nfvportal.rest.strict import check_filters
from nfvportal.rest.views import accepted
from nfvportal.testbed.api.serializers import FaultSerializer
from nfvportal.testbed.services import fault_clear, lab


class LabView(APIView):
    """Common to all: where the lab is not enabled there is nothing here."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check role, switch and filters before every request."""
        super().initial(request, *args, **kwargs)
        if not settings.LAB_ENABLED:
            raise Http404("the lab is switched off here (LAB_ENABLED)")
        check_filters(request, (), paged=False)

    def handle_exception(self, exc: Exception) -> Response:
        """Say 503 with words when the lab does not answer."""
        if isinstance(exc, LabUnavailable | LabRefused):
            exc = UnavailableError(str(exc))
        return super().handle_exception(exc)


class StatusView(LabView):
    """The lab."""

    @extend_schema(operation_id="lab_status", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Return topology, nodes with their agents, links with faults and counters, and the self-test."""
        return Response(lab().status())


class TopologyView(LabView):
    """Topologies."""

    @extend_schema(operation_id="lab_topologies", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Return the names of the topologies that the lab knows."""
        return Response({"topologies": list_topologies()})


class FaultsView(LabView):
    """Faults of the lab's links."""

    @extend_schema(operation_id="lab_faults", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Return the faults that are active."""
        links = lab().status()["links"]
        return Response({"faults": {link["name"]: link["fault"] for link in links if link.get("fault")}})

    @extend_schema(
        operation_id="lab_fault_start",
        request=FaultSerializer,
        responses={202: OpenApiResponse(JobSerializer)},
    )
    def post(self, request: Request) -> Response:
        """Start a job that breaks a link, for ``duration_s`` or until the fault is cleared."""
        serializer = FaultSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        assert isinstance(request.user, User)
        job = job_start(kind="lab.fault", params=serializer.validated_data, user=request.user)
        return accepted(job.id, JobSerializer(job).data)


class FaultView(LabView):
    """The fault of one link."""

    @extend_schema(operation_id="lab_fault_clear", request=None, responses=OpenApiTypes.OBJECT)
    def delete(self, request: Request, link: str) -> Response:
        """Restore the link; restoring a whole one does no harm."""
        actor = request.user.get_username()
        cleared_s = fault_clear(link=link, actor=actor)
        audit_record(
            actor=actor, action="lab.fault_clear", subject=link, before=None, after=None, request=request
        )
        return Response({"link": link, "cleared_at_s": cleared_s})
