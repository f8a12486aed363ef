"""REST of collectors: whose samples of packets (sFlow, IPFIX) a device takes, and what came."""

from django.contrib.auth.models import User
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.mptcp.api.sensor_serializers import CollectorChangeSerializer, CollectorSerializer
from apps.mptcp.selectors import COLLECTOR_ROLE, collector_list
from apps.mptcp.services.collectors import collector_set, collector_stop
from nfvportal.inventory.models import Device
from nfvportal.rest.strict import check_filters


class CollectorsView(APIView):
    """All devices with the role."""

    @extend_schema(responses=CollectorSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Return whom each hears, what came, and what was dropped and why."""
        check_filters(request, (), paged=False)
        return Response(collector_list())


class CollectorView(APIView):
    """One device."""

    @extend_schema(request=CollectorChangeSerializer, responses=CollectorSerializer(many=True))
    def put(self, request: Request, device: str) -> Response:
        """Take samples of these exporters from now on, or of nobody; return all collectors."""
        check_filters(request, (), paged=False)
        row = get_object_or_404(
            Device.objects.select_related("site"), name=device, roles__contains=[COLLECTOR_ROLE]
        )
        serializer = CollectorChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = serializer.validated_data
        assert isinstance(request.user, User)
        if fields["exporters"]:
            collector_set(device=row, user=request.user, **fields)
        else:
            collector_stop(device=row, user=request.user)
        return Response(collector_list())
