"""REST shapes of ``wan``; those of links and failovers are the live stream's."""

from typing import Any, cast

from rest_framework import serializers

from apps.wan.events import LINK_STATES
from apps.wan.models import FailoverEvent, MapEpoch, SitePair, VirtualSubnet, WanLink
from apps.wan.selectors import active_faults, failover_data, link_data, map_data
from nfvportal.rest.strict import StrictSerializer


class WanLinkSerializer(serializers.Serializer[WanLink]):
    """A WAN link: rates in bit/s, times in epoch seconds, ratios 0..1."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    provider = serializers.CharField()
    capacity_bps = serializers.IntegerField()
    delay_ms = serializers.FloatField(allow_null=True)
    state = serializers.ChoiceField(choices=LINK_STATES)
    direction = serializers.CharField()
    since_s = serializers.FloatField(allow_null=True)
    fault = serializers.CharField()
    at_s = serializers.FloatField(allow_null=True)
    goodput_bps = serializers.FloatField(allow_null=True)
    rx_bps = serializers.FloatField(allow_null=True)
    tx_bps = serializers.FloatField(allow_null=True)
    rtt_ms = serializers.FloatField(allow_null=True)
    jitter_ms = serializers.FloatField(allow_null=True)
    loss_ratio = serializers.FloatField(allow_null=True)

    def to_representation(self, instance: WanLink) -> dict[str, Any]:
        """Return the same data as the live stream."""
        context = cast("dict[str, Any]", self.context)  # one dictionary for all rows of an answer
        if "faults" not in context:
            context["faults"] = active_faults()
        return {"id": instance.pk, **link_data(instance, context["faults"])}


class VirtualSubnetSerializer(serializers.ModelSerializer[VirtualSubnet]):
    """A virtual subnet and the link it is at home on, if people chose one."""

    pair: serializers.SlugRelatedField[SitePair] = serializers.SlugRelatedField(
        slug_field="name", read_only=True
    )
    home = serializers.StringRelatedField[WanLink]()

    class Meta:
        model = VirtualSubnet
        fields = ("id", "pair", "index", "prefix", "is_default", "home")


class MapSerializer(serializers.Serializer[MapEpoch]):
    """Which link each virtual subnet rides on: index -> link."""

    number = serializers.IntegerField()
    mapping = serializers.DictField(child=serializers.CharField())
    reason = serializers.CharField()
    actor = serializers.CharField()
    at_s = serializers.FloatField()

    def to_representation(self, instance: MapEpoch) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(map_data(instance))


class MapChangeSerializer(StrictSerializer):
    """Where virtual subnets shall be at home; those left out stay."""

    mapping = serializers.DictField(child=serializers.CharField(max_length=64), allow_empty=False)
    reason = serializers.CharField(max_length=200, required=False, default="")

    def validate_mapping(self, mapping: dict[str, str]) -> dict[int, str]:
        """Return the mapping with numbers for keys."""
        for key in mapping:
            if not key.isascii() or not key.isdigit() or len(key) > 3:
                raise serializers.ValidationError({key[:16]: ["must be the index of a virtual subnet"]})
        return {int(key): link for key, link in mapping.items()}


class FailoverSerializer(serializers.Serializer[FailoverEvent]):
    """A failover and what it cost; null is not known (yet)."""

    id = serializers.IntegerField()
    link = serializers.CharField()
    direction = serializers.CharField()
    fault_at_s = serializers.FloatField(allow_null=True)
    last_heard_at_s = serializers.FloatField()
    detected_at_s = serializers.FloatField()
    acted_at_s = serializers.FloatField()
    detection_ms = serializers.FloatField()
    action_ms = serializers.FloatField()
    transport_ms = serializers.FloatField(allow_null=True)
    lost_ms = serializers.FloatField(allow_null=True)
    stall_ms = serializers.FloatField(allow_null=True)
    moves = serializers.ListField(child=serializers.DictField())
    reported_by = serializers.ListField(child=serializers.CharField())
    restored_at_s = serializers.FloatField(allow_null=True)
    acknowledged_at_s = serializers.FloatField(allow_null=True)
    acknowledged_by = serializers.CharField()

    def to_representation(self, instance: FailoverEvent) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(failover_data(instance))
