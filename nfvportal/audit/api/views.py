"""REST of the audit log: administrators read, nobody writes."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers

from nfvportal.audit.models import AuditEntry
from nfvportal.audit.selectors import audit_data, audit_list
from nfvportal.rest.permissions import AdminOnly
from nfvportal.rest.strict import text_filter
from nfvportal.rest.views import ReadViewSet


class AuditEntrySerializer(serializers.Serializer[AuditEntry]):
    """One change that somebody made."""

    id = serializers.IntegerField()
    at_s = serializers.FloatField()
    actor = serializers.CharField()
    action = serializers.CharField()
    subject = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)
    address = serializers.CharField()

    def to_representation(self, instance: AuditEntry) -> dict[str, Any]:
        """Return the same data as the page."""
        return dict(audit_data(instance))


@extend_schema_view(
    list=extend_schema(
        parameters=[OpenApiParameter(name, OpenApiTypes.STR) for name in ("actor", "action", "subject")]
    )
)
class AuditViewSet(ReadViewSet):
    """Who changed what, newest first."""

    permission_classes = (AdminOnly,)
    serializer_class = AuditEntrySerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = ("actor", "action", "subject")
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[AuditEntry]:
        """Return entries, filtered in lists."""
        if self.action != "list":
            return audit_list()
        return audit_list(**{name: text_filter(self.request, name) for name in self.filters})
