"""REST shapes of ``chains``. Bodies are checked by ``chain_definition``; the fields here describe them."""

from typing import Any

from rest_framework import serializers

from apps.chains.chain_definition import PROTOCOLS, REPLANS, definition_parse, servers_parse
from apps.chains.engine.profiles import Flag, StateScope
from apps.chains.events import CHAIN_STATUSES, PACKET_FIELDS, PLAN_KINDS, SLO_STATES
from apps.chains.models import (
    AlarmKind,
    Chain,
    ChainAlarm,
    ChainRevision,
    Deployment,
    DeploymentStatus,
    NfType,
    Plan,
)
from apps.chains.selectors import (
    alarm_data,
    chain_data,
    chain_rows,
    deployment_data,
    nf_type_data,
    plan_data,
    plan_summary,
)
from apps.chains.services.calibration import comparison_of
from apps.chains.services.nf_types import nf_type_parse
from nfvportal.rest.strict import StrictSerializer

STATE_SCOPES = [scope.value for scope in StateScope]
FLAGS = [flag.value for flag in Flag]


class ProfileSerializer(serializers.Serializer[Any]):
    """What a type of network function does to packets and to its own state."""

    reads = serializers.ListField(child=serializers.ChoiceField(choices=PACKET_FIELDS), required=False)
    writes = serializers.ListField(child=serializers.ChoiceField(choices=PACKET_FIELDS), required=False)
    adds_header = serializers.BooleanField(required=False)
    removes_header = serializers.BooleanField(required=False)
    drops = serializers.BooleanField(required=False)
    drop_reads = serializers.ListField(child=serializers.ChoiceField(choices=PACKET_FIELDS), required=False)
    flags = serializers.ListField(child=serializers.ChoiceField(choices=FLAGS), required=False)
    state = serializers.ChoiceField(choices=STATE_SCOPES, required=False)
    shared_state = serializers.CharField(required=False)


class ServiceSerializer(serializers.Serializer[Any]):
    """How long a packet occupies a network function: mean in microseconds, squared coefficient of variation."""

    mean_us = serializers.FloatField()
    scv = serializers.FloatField(required=False)
    is_waiting = serializers.BooleanField(required=False)


class NfTypeSerializer(serializers.Serializer[NfType]):
    """A type of network function."""

    slug = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField(required=False)
    profile = ProfileSerializer()
    service = ServiceSerializer(required=False)
    provenance = serializers.CharField(required=False)
    implementation = serializers.CharField(required=False)
    is_builtin = serializers.BooleanField(read_only=True)
    can_run = serializers.BooleanField(read_only=True)
    version = serializers.IntegerField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)
    updated_by = serializers.CharField(read_only=True)

    def to_internal_value(self, data: Any) -> Any:
        """Check the body."""
        return nf_type_parse(data, is_partial=self.partial)

    def to_representation(self, instance: NfType) -> dict[str, Any]:
        """Return plain data."""
        return dict(nf_type_data(instance))


class NfSerializer(serializers.Serializer[Any]):
    """One network function of a chain; without ``service`` it takes as long as its type."""

    name = serializers.CharField()
    type = serializers.CharField()
    params = serializers.DictField(required=False)
    service = ServiceSerializer(required=False)
    pinned_server = serializers.CharField(required=False)
    is_state_advisory = serializers.BooleanField(required=False)


class MatchSerializer(serializers.Serializer[Any]):
    """Which packets take the chain; what is left out matches everything."""

    src = serializers.CharField(required=False)
    dst = serializers.CharField(required=False)
    proto = serializers.ChoiceField(choices=PROTOCOLS, required=False)
    dst_port = serializers.ListField(child=serializers.IntegerField(), required=False)


class DeploymentSerializer(serializers.Serializer[Deployment]):
    """A plan on the devices."""

    id = serializers.IntegerField()
    chain = serializers.CharField()
    plan = serializers.IntegerField()
    chain_version = serializers.IntegerField()
    path = serializers.IntegerField(allow_null=True)
    epoch = serializers.IntegerField()
    status = serializers.ChoiceField(choices=DeploymentStatus.values)
    is_active = serializers.BooleanField()
    servers = serializers.ListField(child=serializers.CharField())
    devices = serializers.DictField(child=serializers.DictField())
    told = serializers.DictField()
    previous = serializers.IntegerField(allow_null=True)
    error = serializers.CharField()
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    live_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: Deployment) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(deployment_data(instance))


class DeploymentDetailSerializer(DeploymentSerializer):
    """A plan on the devices, with what was predicted beside what is measured (while packets take it)."""

    comparison = serializers.DictField(allow_null=True)

    def to_representation(self, instance: Deployment) -> dict[str, Any]:
        """Return the same data as the live stream, and the comparison."""
        comparison = comparison_of(instance) if instance.is_active else None
        return {**deployment_data(instance), "comparison": comparison}


class ChainBodySerializer(serializers.Serializer[Any]):
    """A chain as people write it."""

    name = serializers.CharField()
    title = serializers.CharField(required=False)
    nfs = NfSerializer(many=True)
    match = MatchSerializer(required=False)
    rate_pps = serializers.FloatField()
    packet_bytes = serializers.FloatField(required=False)
    slo_p99_ms = serializers.FloatField(required=False, allow_null=True)
    replan = serializers.ChoiceField(choices=REPLANS, required=False)

    def to_internal_value(self, data: Any) -> Any:
        """Check the body."""
        return definition_parse(data)


class WhatIfSerializer(ChainBodySerializer):
    """A chain, and the servers to plan it on instead of those at hand."""

    servers = serializers.ListField(child=serializers.DictField(), required=False)

    def to_internal_value(self, data: Any) -> Any:
        """Check the body."""
        chain = dict(data) if isinstance(data, dict) else data
        servers = chain.pop("servers", None) if isinstance(chain, dict) else None
        return {
            "definition": definition_parse(chain),
            "servers": None if servers is None else servers_parse("servers", servers),
        }


class ChainSerializer(ChainBodySerializer):
    """A chain with its version and where it stands."""

    version = serializers.IntegerField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)
    updated_by = serializers.CharField(read_only=True)
    deployment = DeploymentSerializer(read_only=True, allow_null=True)

    def to_representation(self, instance: Chain) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(chain_data(instance))


class ChainRowListSerializer(serializers.ListSerializer[Any]):
    """Reads what all rows of a page need at once."""

    def to_representation(self, data: Any) -> list[Any]:
        """Return what the live stream says of each chain, with its definition."""
        rows = list(data)
        return [{**chain_data(row), **state} for row, state in zip(rows, chain_rows(rows), strict=True)]


class ChainRowSerializer(ChainSerializer):
    """A chain in the list: also where it stands and what it does now."""

    nf_types = serializers.ListField(child=serializers.CharField(), read_only=True)
    status = serializers.ChoiceField(choices=CHAIN_STATUSES, read_only=True)
    slo_state = serializers.ChoiceField(choices=SLO_STATES, read_only=True)
    alarm_count = serializers.IntegerField(read_only=True)
    at_s = serializers.FloatField(allow_null=True, read_only=True)
    measured_pps = serializers.FloatField(allow_null=True, read_only=True)
    latency_us_p50 = serializers.FloatField(allow_null=True, read_only=True)
    latency_us_p99 = serializers.FloatField(allow_null=True, read_only=True)

    class Meta:
        list_serializer_class = ChainRowListSerializer


class RevisionSerializer(serializers.ModelSerializer[ChainRevision]):
    """One version of a chain."""

    class Meta:
        model = ChainRevision
        fields = ("version", "title", "definition", "note", "created_at", "created_by")


class RestoreSerializer(StrictSerializer):
    """Which version to make the newest again."""

    version = serializers.IntegerField(min_value=1, max_value=2**31 - 1)


class PlanSerializer(serializers.Serializer[Plan]):
    """A plan (``kind`` plan) with its proof, or why there is none (``kind`` infeasible)."""

    kind = serializers.ChoiceField(choices=PLAN_KINDS)
    id = serializers.IntegerField()
    chain = serializers.CharField()
    chain_version = serializers.IntegerField()
    note = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    root = serializers.DictField(required=False)  # type: ignore[assignment]  # becomes a field
    sequential_root = serializers.DictField(required=False)
    prediction = serializers.DictField(required=False)
    sequential = serializers.DictField(required=False)
    obligations = serializers.ListField(child=serializers.DictField(), required=False)
    pairs = serializers.ListField(child=serializers.DictField())
    constants = serializers.DictField(required=False)
    is_optimal = serializers.BooleanField(required=False)
    gap_ratio = serializers.FloatField(required=False, allow_null=True)
    servers = serializers.ListField(child=serializers.CharField(), required=False)
    candidates = serializers.ListField(child=serializers.DictField(), required=False)
    rate_pps = serializers.FloatField(required=False)
    slo_p99_us = serializers.FloatField(required=False, allow_null=True)
    reason = serializers.CharField(required=False, help_text="capacity, link or slo")
    witness = serializers.CharField(required=False)
    best = serializers.DictField(required=False, allow_null=True)

    def to_representation(self, instance: Plan) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return plan_data(instance)


class PlanRowSerializer(serializers.Serializer[Plan]):
    """A plan in a list."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=PLAN_KINDS)
    chain = serializers.CharField()
    chain_version = serializers.IntegerField()
    note = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    p99_us = serializers.FloatField(allow_null=True)
    sequential_p99_us = serializers.FloatField(allow_null=True)
    witness = serializers.CharField()

    def to_representation(self, instance: Plan) -> dict[str, Any]:
        """Return a plan without graph and pairs."""
        return plan_summary(instance)


class AlarmSerializer(serializers.Serializer[ChainAlarm]):
    """Something to look at; open while ``cleared_at_s`` is null."""

    id = serializers.IntegerField()
    chain = serializers.CharField()
    kind = serializers.ChoiceField(choices=AlarmKind.values)
    key = serializers.CharField()
    message = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]  # becomes a field
    raised_at_s = serializers.FloatField()
    cleared_at_s = serializers.FloatField(allow_null=True)

    def to_representation(self, instance: ChainAlarm) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(alarm_data(instance))


class VerdictsSerializer(serializers.Serializer[Any]):
    """The verdict of every pair of a chain: ``first, second, first_name, second_name, kind, rule, fields, reason``."""

    pairs = serializers.ListField(child=serializers.DictField())


class ChainImportSerializer(StrictSerializer):
    """A chain in a file's text; with ``dry_run`` it is only read."""

    text = serializers.CharField(max_length=262_144, trim_whitespace=False)
    format = serializers.ChoiceField(choices=["yaml"], required=False, default="yaml")
    dry_run = serializers.BooleanField(required=False, default=False)
