"""REST of the event log: to read."""

from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view

from nfvportal.events.api.serializers import EventSerializer
from nfvportal.events.models import Event, Severity
from nfvportal.events.selectors import event_list
from nfvportal.rest.strict import choice_filter, text_filter
from nfvportal.rest.views import ReadViewSet


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("type", OpenApiTypes.STR, description="e.g. wan.link_failed"),
            OpenApiParameter("severity", OpenApiTypes.STR, enum=Severity.values),
            OpenApiParameter("device", OpenApiTypes.STR, description="name of the device that reported it"),
        ]
    )
)
class EventViewSet(ReadViewSet):
    """What happened, newest first."""

    serializer_class = EventSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = ("type", "severity", "device")
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[Event]:
        """Return events, newest first."""
        if self.action != "list":
            return event_list()
        return event_list(
            type=text_filter(self.request, "type", 64),
            severity=choice_filter(self.request, "severity", Severity.values),
            device=text_filter(self.request, "device", 64),
        )
