"""REST shapes of placements."""

from typing import Any

from rest_framework import serializers

from apps.chains.events import PLACEMENT_KINDS
from apps.chains.models import ChainPlacement
from apps.chains.selectors import placement_data, placement_summary
from nfvportal.rest.strict import StrictSerializer

REFUSALS = ["slo", "pin", "single", "link", "capacity"]


class PlacementAskSerializer(StrictSerializer):
    """What to place: all chains by default, each with weight 1 and a core per instance."""

    chains = serializers.ListField(child=serializers.CharField(), required=False)
    weights = serializers.DictField(child=serializers.FloatField(), required=False)
    instance_cores = serializers.FloatField(required=False)
    is_fresh = serializers.BooleanField(required=False)


class TermsSerializer(serializers.Serializer[Any]):
    """The objective: weight refused, servers crossed, mean latency, instances; a gap is a share."""

    missed = serializers.FloatField()
    crossed = serializers.FloatField()
    mean_us = serializers.FloatField()
    copies = serializers.FloatField()


class PlacementRowSerializer(serializers.Serializer[ChainPlacement]):
    """A placement in lists."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=PLACEMENT_KINDS)
    method = serializers.CharField()
    is_optimal = serializers.BooleanField()
    admitted = serializers.IntegerField()
    refused = serializers.IntegerField()
    terms = TermsSerializer(allow_null=True)
    bounds = TermsSerializer(allow_null=True)
    gaps = TermsSerializer(allow_null=True)
    moved_buckets = serializers.IntegerField()
    kept_buckets = serializers.IntegerField()
    witness = serializers.CharField()
    previous = serializers.IntegerField(allow_null=True)
    took_s = serializers.FloatField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()

    def to_representation(self, instance: ChainPlacement) -> dict[str, Any]:
        """Return plain data."""
        return placement_summary(instance)


class PlacedServerSerializer(serializers.Serializer[Any]):
    """What a server is given; what nothing is placed on has no load."""

    name = serializers.CharField()
    cores = serializers.FloatField()
    link_bps = serializers.FloatField()
    cores_owned = serializers.FloatField(required=False)
    cores_busy = serializers.FloatField(required=False)
    link_used_bps = serializers.FloatField(required=False)


class PlacedInstanceSerializer(serializers.Serializer[Any]):
    """One instance: busy is a share of its time, and its limit the strictest chain's."""

    name = serializers.CharField()
    kind = serializers.CharField()
    type = serializers.CharField()
    server = serializers.CharField()
    number = serializers.IntegerField()
    cores = serializers.FloatField()
    service_us = serializers.FloatField()
    is_single = serializers.BooleanField()
    rate_pps = serializers.FloatField()
    busy = serializers.FloatField()
    busy_limit = serializers.FloatField()


class PlacedChainSerializer(serializers.Serializer[Any]):
    """An admitted chain; ``nfs`` has the instances of each network function with their buckets."""

    name = serializers.CharField()
    weight = serializers.FloatField()
    rate_pps = serializers.FloatField()
    slo_p99_us = serializers.FloatField(allow_null=True)
    mean_us = serializers.FloatField()
    p99_us = serializers.FloatField()
    busy_limit = serializers.FloatField()
    servers = serializers.ListField(child=serializers.CharField())
    crossed = serializers.FloatField()
    moved_buckets = serializers.IntegerField()
    segments = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
    nfs = serializers.ListField(child=serializers.DictField())


class RefusedChainSerializer(serializers.Serializer[Any]):
    """A chain without a place, and why."""

    name = serializers.CharField()
    weight = serializers.FloatField()
    rate_pps = serializers.FloatField()
    slo_p99_us = serializers.FloatField(allow_null=True)
    reason = serializers.ChoiceField(choices=REFUSALS)
    witness = serializers.CharField()


class PlacementSerializer(PlacementRowSerializer):
    """A placement with who is where. Without any server there is a ``witness`` and nothing else."""

    refused = RefusedChainSerializer(many=True)  # type: ignore[assignment]  # a count in lists
    chains = PlacedChainSerializer(many=True, required=False)
    instances = PlacedInstanceSerializer(many=True, required=False)
    servers = PlacedServerSerializer(many=True, required=False)
    buckets = serializers.IntegerField(required=False)
    constants = serializers.DictField(child=serializers.FloatField(), required=False)
    asked = serializers.DictField()
    reason = serializers.CharField(required=False)

    def to_representation(self, instance: ChainPlacement) -> dict[str, Any]:
        """Return plain data."""
        return placement_data(instance)
