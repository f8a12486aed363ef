"""REST of the inventory."""

from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from nfvportal.inventory import selectors, services
from nfvportal.inventory.api.serializers import (
    DesiredStateSerializer,
    DeviceSerializer,
    DeviceTokenSerializer,
    ImportSerializer,
    InterfaceSerializer,
    LinkSerializer,
    SiteSerializer,
)
from nfvportal.inventory.csv_exchange import devices_to_csv
from nfvportal.inventory.models import Device, DeviceKind, DeviceStatus, Interface, Link, LinkKind, Site
from nfvportal.jobs.api.serializers import JobSerializer
from nfvportal.jobs.services import job_start
from nfvportal.rest.permissions import ViewerReadsAdminWrites
from nfvportal.rest.strict import check_filters, choice_filter, text_filter
from nfvportal.rest.views import EditViewSet, accepted


def _filters(**described: str) -> list[OpenApiParameter]:
    return [OpenApiParameter(name, OpenApiTypes.STR, description=words) for name, words in described.items()]


class InventoryViewSet(EditViewSet):
    """Common to the four tables: administrators change, everybody reads, services write."""

    permission_classes = (ViewerReadsAdminWrites,)

    def save_entity(self, entity: Any) -> Any:
        """Save with an audit entry."""
        return services.entity_save(entity=entity, actor=self.request.user)

    def delete_entity(self, entity: Any) -> None:
        """Delete with an audit entry."""
        services.entity_delete(entity=entity, actor=self.request.user)


class SiteViewSet(InventoryViewSet):
    """Places where devices stand."""

    serializer_class = SiteSerializer

    def get_queryset(self) -> QuerySet[Site]:
        """Return all sites."""
        return selectors.site_list()


@extend_schema_view(
    list=extend_schema(
        parameters=_filters(
            site="name of a site", kind="kind of device", status="agent status", role="role name"
        )
    )
)
class DeviceViewSet(InventoryViewSet):
    """Devices and their agents."""

    serializer_class = DeviceSerializer
    filters: ClassVar[tuple[str, ...]] = ("site", "kind", "status", "role")

    def get_queryset(self) -> QuerySet[Device]:
        """Return devices, filtered in lists."""
        if self.action != "list":
            return selectors.device_list()
        return selectors.device_list(
            site=text_filter(self.request, "site"),
            kind=choice_filter(self.request, "kind", DeviceKind.values),
            status=choice_filter(self.request, "status", DeviceStatus.values),
            role=text_filter(self.request, "role"),
        )

    @extend_schema(request=None, responses=DeviceTokenSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-token")
    def rotate_token(self, request: Request, pk: str) -> Response:
        """Give the device a new token, shown this once; the old one ends at once."""
        device = self.get_object()
        token = services.device_token_rotate(device=device, actor=request.user)
        return Response({"device": device.name, "token": token})

    @extend_schema(responses=DesiredStateSerializer(many=True), filters=False)
    @action(detail=True, url_path="desired-states", pagination_class=None)
    def desired_states(self, request: Request, pk: str) -> Response:
        """Return what the device should make true and how far it is."""
        check_filters(request, (), paged=False)
        states = selectors.desired_states_of(self.get_object().pk)
        return Response(DesiredStateSerializer(states, many=True).data)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR}, filters=False)
    @action(detail=False, url_path="export")
    def export(self, request: Request) -> HttpResponse:
        """Return all devices as CSV."""
        check_filters(request, (), paged=False)
        answer = HttpResponse(devices_to_csv(selectors.device_list()), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="devices.csv"'
        return answer

    @extend_schema(request=ImportSerializer, responses={202: OpenApiResponse(JobSerializer)})
    @action(detail=False, methods=["post"], url_path="import")
    def import_csv(self, request: Request) -> Response:
        """Start a job that creates or updates devices from CSV, all rows or none."""
        serializer = ImportSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        params = {"text": serializer.validated_data["csv"], "dry_run": serializer.validated_data["dry_run"]}
        assert isinstance(request.user, User)
        job = job_start(kind="inventory.import_csv", params=params, user=request.user)
        return accepted(job.id, JobSerializer(job).data)


@extend_schema_view(list=extend_schema(parameters=_filters(device="name of a device")))
class InterfaceViewSet(InventoryViewSet):
    """Network interfaces."""

    serializer_class = InterfaceSerializer
    filters: ClassVar[tuple[str, ...]] = ("device",)

    def get_queryset(self) -> QuerySet[Interface]:
        """Return interfaces, filtered in lists."""
        return selectors.interface_list(
            device=text_filter(self.request, "device") if self.action == "list" else ""
        )


@extend_schema_view(list=extend_schema(parameters=_filters(kind="kind of link")))
class LinkViewSet(InventoryViewSet):
    """Links between interfaces."""

    serializer_class = LinkSerializer
    filters: ClassVar[tuple[str, ...]] = ("kind",)

    def get_queryset(self) -> QuerySet[Link]:
        """Return links, filtered in lists."""
        kind = choice_filter(self.request, "kind", LinkKind.values) if self.action == "list" else ""
        return selectors.link_list(kind=kind)
