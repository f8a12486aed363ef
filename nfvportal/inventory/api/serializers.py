"""REST shapes of the inventory."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.relations import PKOnlyObject

from nfvportal.inventory.models import DesiredState, Device, Interface, Link, Site
from nfvportal.rest.strict import StrictModelSerializer, StrictSerializer


class SiteSerializer(StrictModelSerializer):
    """A site."""

    class Meta:
        model = Site
        fields = ("id", "name", "title", "latitude", "longitude")


class DesiredStateSerializer(serializers.ModelSerializer[DesiredState]):
    """How far a role is from what it should make true."""

    is_converged = serializers.BooleanField(read_only=True)

    class Meta:
        model = DesiredState
        fields = (
            "role",
            "revision",
            "applied_revision",
            "applied_ok",
            "applied_error",
            "applied_at",
            "is_converged",
        )
        read_only_fields = fields


class DeviceSerializer(StrictModelSerializer):
    """A device; its token is only ever shown by ``rotate-token``."""

    site = serializers.SlugRelatedField(slug_field="name", queryset=Site.objects.all())

    class Meta:
        model = Device
        fields = (
            "id",
            "name",
            "site",
            "kind",
            "roles",
            "note",
            "status",
            "status_since",
            "last_seen_at",
            "agent_version",
            "capabilities",
            "token_prefix",
            "token_rotated_at",
        )
        read_only_fields = fields[6:]


class InterfaceSerializer(StrictModelSerializer):
    """A network interface."""

    device = serializers.SlugRelatedField(slug_field="name", queryset=Device.objects.all())

    class Meta:
        model = Interface
        fields = ("id", "device", "name", "mac", "addresses")


@extend_schema_field(OpenApiTypes.STR)  # else the schema would list every interface as a choice
class InterfaceField(serializers.RelatedField[Interface, str, str]):
    """An interface written as ``device:interface``."""

    default_error_messages = {
        "shape": "must look like gw-a:wan-fiber",
        "missing": "there is no interface {value}",
    }

    def to_representation(self, value: Interface | PKOnlyObject) -> str:
        """Return ``device:interface``."""
        return str(value)

    def to_internal_value(self, data: Any) -> Interface:
        """Find the interface."""
        device, colon, name = str(data).partition(":")
        if not colon or "\x00" in str(data):
            self.fail("shape")
        interfaces = self.get_queryset()
        assert interfaces is not None, "the field is declared with a queryset"
        interface = interfaces.filter(device__name=device, name=name).first()
        if interface is None:
            self.fail("missing", value=str(data)[:100])
        return interface


class LinkSerializer(StrictModelSerializer):
    """A link; ``capacity_bps`` in bit/s, ``delay_ms`` one way."""

    a = InterfaceField(queryset=Interface.objects.select_related("device"))
    b = InterfaceField(queryset=Interface.objects.select_related("device"))

    class Meta:
        model = Link
        fields = ("id", "name", "kind", "a", "b", "capacity_bps", "delay_ms", "provider", "cost_per_gb")


class DeviceTokenSerializer(serializers.Serializer[Any]):
    """A new device token; shown this once."""

    device = serializers.CharField()
    token = serializers.CharField()


class ImportSerializer(StrictSerializer):
    """A CSV text to import."""

    csv = serializers.CharField(max_length=5_000_000, trim_whitespace=False)
    dry_run = serializers.BooleanField(default=False)
