"""REST shapes of what is looked at: sensors at interfaces, collectors of routers' samples."""

from typing import Any

from rest_framework import serializers

from apps.mptcp.selectors import DATAGRAM_RATE_MAX, IPFIX_PORT, SFLOW_PORT
from apps.mptcp.services.collectors import EXPORTERS_MAX, PORT_MAX, RATE_MAX
from nfvportal.rest.strict import FiniteFloatField, StrictSerializer


class LookingSerializer(serializers.Serializer[Any]):
    """A device that can look at packets; ``told``: what it last said of itself, its counts among it."""

    device = serializers.CharField()
    site = serializers.CharField()
    status = serializers.CharField()
    error = serializers.CharField()
    told = serializers.JSONField()
    told_at_s = serializers.FloatField(allow_null=True)


class SensorSerializer(LookingSerializer):
    """A device that can sample its packets; ``interface`` null: it does not."""

    interfaces = serializers.ListField(child=serializers.CharField())
    interface = serializers.CharField(allow_null=True)
    sampling_ratio = serializers.FloatField(allow_null=True)


class SensorChangeSerializer(StrictSerializer):
    """What a device is to sample; ``interface`` null: nothing."""

    interface = serializers.CharField(max_length=15, allow_null=True)
    sampling_ratio = FiniteFloatField(required=False, default=0.01)


class CollectorSerializer(LookingSerializer):
    """A device that can take samples of routers; ``exporters`` empty: it hears nobody."""

    exporters = serializers.ListField(child=serializers.CharField())
    sflow_port = serializers.IntegerField(allow_null=True)
    ipfix_port = serializers.IntegerField(allow_null=True)
    datagram_rate_max = serializers.IntegerField()
    is_applied = serializers.BooleanField()


class CollectorChangeSerializer(StrictSerializer):
    """Whose samples a device is to take; no exporters: nobody's. A port that is null is not listened at."""

    exporters = serializers.ListField(
        child=serializers.CharField(max_length=64),
        max_length=EXPORTERS_MAX,
        help_text="addresses or networks; the first that fits a sender counts",
    )
    sflow_port = serializers.IntegerField(
        required=False, allow_null=True, default=SFLOW_PORT, min_value=1, max_value=PORT_MAX
    )
    ipfix_port = serializers.IntegerField(
        required=False, allow_null=True, default=IPFIX_PORT, min_value=1, max_value=PORT_MAX
    )
    datagram_rate_max = serializers.IntegerField(
        required=False,
        default=DATAGRAM_RATE_MAX,
        min_value=1,
        max_value=RATE_MAX,
        help_text="datagrams per second from one address",
    )
