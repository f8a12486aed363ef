"""REST of placements of many chains."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chains import selectors
from apps.chains.api.placement_serializers import (
    PlacementAskSerializer,
    PlacementRowSerializer,
    PlacementSerializer,
)
from apps.chains.api.plan_views import JOB_ANSWER, started
from apps.chains.models import ChainPlacement
from apps.chains.services.placements import placement_ask_parse
from nfvportal.rest.views import ReadViewSet


class PlacementViewSet(ReadViewSet):
    """Where many chains would run together, newest first; nothing of it is applied."""

    serializer_class = PlacementSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[ChainPlacement]:
        """Return placements."""
        return selectors.placement_list()

    def get_serializer_class(self) -> Any:
        """Return the shape of the action's answer."""
        return PlacementRowSerializer if self.action == "list" else PlacementSerializer

    @extend_schema(request=PlacementAskSerializer, responses=JOB_ANSWER)
    def create(self, request: Request) -> Response:
        """Start to place all chains, or those named; the job's result is ``{"placement": id}``."""
        serializer = PlacementAskSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        ask = placement_ask_parse(serializer.validated_data)
        return started(request, "chains.place", **ask.as_json())
