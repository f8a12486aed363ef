"""REST of sensors: which interface of which device is sampled, and how much of it."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.mptcp.api.sensor_serializers import SensorChangeSerializer, SensorSerializer
from apps.mptcp.selectors import SENSOR_ROLE, sensor_list
from apps.mptcp.services.sensors import sensor_set, sensor_stop
from nfvportal.audit.services import audit_record
from nfvportal.inventory.models import Device
from nfvportal.rest.strict import check_filters


class SensorsView(APIView):
    """All devices with the role."""

    @extend_schema(responses=SensorSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Return what each samples."""
        check_filters(request, (), paged=False)
        return Response(sensor_list())


class SensorView(APIView):
    """One device."""

    @extend_schema(request=SensorChangeSerializer, responses=SensorSerializer(many=True))
    def put(self, request: Request, device: str) -> Response:
        """Sample an interface of the device from now on, or nothing; return all sensors."""
        check_filters(request, (), paged=False)
        row = get_object_or_404(
            Device.objects.select_related("site"), name=device, roles__contains=[SENSOR_ROLE]
        )
        serializer = SensorChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = serializer.validated_data
        if fields["interface"] is None:
            sensor_stop(device=row)
        else:
            sensor_set(device=row, **fields)
        audit_record(
            actor=request.user, action="mptcp.sensor_set", subject=row.name, before=None, after=dict(fields)
        )
        return Response(sensor_list())
