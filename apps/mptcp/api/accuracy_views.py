"""REST of what sampling costs: theory beside what was measured on stored captures."""

from typing import Any

from django.contrib.auth.models import User
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.mptcp import selectors
from apps.mptcp.accuracy import PACKETS, RATIOS, packets_needed
from apps.mptcp.charts import measured_figure, missed_figure, seen_figure
from apps.mptcp.services.accuracy_start import accuracy_start
from nfvportal.jobs.api.serializers import JobSerializer
from nfvportal.rest.strict import check_filters
from nfvportal.rest.views import accepted

CAPTURES_MAX = 10


class AccuracyView(APIView):
    """What sampling rate and window cost."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Return three Plotly figures, the packets that theory asks for, and the measured rows of each capture."""
        check_filters(request, (), paged=False)
        rows = selectors.capture_list().filter(report__has_key="accuracy")[:CAPTURES_MAX]
        measured: list[tuple[str, list[dict[str, Any]]]] = [
            (row.file_name, row.report["accuracy"]) for row in rows
        ]
        return Response(
            {
                "seen": seen_figure(RATIOS, PACKETS),
                "missed": missed_figure(RATIOS, PACKETS),
                "measured": measured_figure(measured),
                "packets_needed": [{"sample": ratio, "packets": packets_needed(ratio)} for ratio in RATIOS],
                "captures": [
                    {"id": row.pk, "file_name": row.file_name, "rows": row.report["accuracy"]} for row in rows
                ],
            }
        )


class CaptureAccuracyView(APIView):
    """Measure on one capture."""

    @extend_schema(request=None, responses={202: OpenApiResponse(JobSerializer)})
    def post(self, request: Request, pk: int) -> Response:
        """Start a job that reads the capture again at 10 %, 1 %, 0.5 % and 0.1 %, at 64 and at 32 bit."""
        check_filters(request, (), paged=False)
        assert isinstance(request.user, User)
        job = accuracy_start(row=get_object_or_404(selectors.capture_list(), pk=pk), user=request.user)
        return accepted(job.id, JobSerializer(job).data)
