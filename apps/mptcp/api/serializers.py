"""REST shapes of ``mptcp``; most are the live stream's. Times are epoch seconds, ratios 0..1."""

from typing import Any, cast

from rest_framework import serializers

from apps.mptcp.capture_options import DIRECTIONS
from apps.mptcp.models import (
    ALARM_KINDS,
    CHANGE_KINDS,
    EVIDENCE_KINDS,
    SUBFLOW_STATES,
    Alarm,
    AssociationDomain,
    Capture,
    CaptureState,
    ChangeLog,
    Connection,
    ConnectionState,
    Subflow,
    Subscription,
    Verdict,
)
from apps.mptcp.selectors import (
    alarm_data,
    capture_data,
    change_data,
    connection_data,
    connection_row,
    domain_data,
    sensors_by_site,
    subflow_data,
    verdict_data,
)
from nfvportal.rest.strict import FiniteFloatField, StrictSerializer

FLOWS_MAX = 1000


class ConnectionRowSerializer(serializers.Serializer[Connection]):
    """A connection in a list; ``tokens`` are eight hexadecimal digits, as ``ss -M`` shows them."""

    id = serializers.IntegerField()
    domain = serializers.CharField()
    capture = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(choices=ConnectionState.values)
    client = serializers.CharField()
    server = serializers.CharField()
    subflow_count = serializers.IntegerField()
    confidence = serializers.FloatField()
    is_blockable = serializers.BooleanField()
    is_blocked = serializers.BooleanField()
    coverage_ab = serializers.FloatField(allow_null=True)
    coverage_ba = serializers.FloatField(allow_null=True)
    tokens = serializers.ListField(child=serializers.CharField())
    evidence_kinds = serializers.ListField(child=serializers.ChoiceField(choices=EVIDENCE_KINDS))
    addresses = serializers.ListField(child=serializers.CharField())
    alarm_count = serializers.IntegerField()
    merged_into = serializers.IntegerField(allow_null=True)
    first_s = serializers.FloatField()
    last_s = serializers.FloatField()

    def to_representation(self, instance: Connection) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(connection_row(instance))


class SubflowSerializer(serializers.Serializer[Subflow]):
    """A subflow: 4-tuple with the lower end first. ``is_a_client``: whether ``a`` opened it; null: not seen."""

    id = serializers.IntegerField()
    epoch = serializers.IntegerField()
    a = serializers.CharField()
    a_port = serializers.IntegerField()
    b = serializers.CharField()
    b_port = serializers.IntegerField()
    state = serializers.ChoiceField(choices=SUBFLOW_STATES)
    is_a_client = serializers.BooleanField(allow_null=True)
    packet_count = serializers.IntegerField()
    seen_by = serializers.ListField(child=serializers.CharField())
    first_s = serializers.FloatField()
    last_s = serializers.FloatField()


class SubflowRowSerializer(SubflowSerializer):
    """A subflow in the list of all, with its connection; observation points by number."""

    connection = serializers.IntegerField()

    def to_representation(self, instance: Subflow) -> dict[str, Any]:
        """Return plain data."""
        return {**subflow_data(instance, {}), "connection": instance.connection_id}


class EvidenceSerializer(serializers.Serializer[Any]):
    """Why a subflow belongs to its connection; ``other`` null: tested against all of the connection."""

    kind = serializers.ChoiceField(choices=EVIDENCE_KINDS)
    subflow = serializers.IntegerField()
    other = serializers.IntegerField(allow_null=True)
    false_probability = serializers.FloatField()
    words = serializers.CharField()
    at_s = serializers.FloatField()


class VerdictSerializer(serializers.Serializer[Any]):
    """A verdict on a connection."""

    id = serializers.IntegerField()
    connection = serializers.IntegerField()
    reason = serializers.CharField()
    is_forced = serializers.BooleanField()
    is_open = serializers.BooleanField()
    created_at_s = serializers.FloatField()
    created_by = serializers.CharField()
    expires_at_s = serializers.FloatField()
    ended_at_s = serializers.FloatField(allow_null=True)
    ended_by = serializers.CharField()
    end_reason = serializers.CharField()
    gateways = serializers.ListField(child=serializers.CharField())


class MptcpAlarmSerializer(serializers.Serializer[Alarm]):
    """What deserves an operator's eye."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=ALARM_KINDS)
    words = serializers.CharField()
    connection = serializers.IntegerField(allow_null=True)
    domain = serializers.CharField()
    at_s = serializers.FloatField()
    acknowledged_at_s = serializers.FloatField(allow_null=True)
    acknowledged_by = serializers.CharField()

    def to_representation(self, instance: Alarm) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(instance if isinstance(instance, dict) else alarm_data(instance))


class ConnectionSerializer(ConnectionRowSerializer):
    """A connection with subflows, evidence, verdicts and alarms."""

    subflows = SubflowSerializer(many=True)
    evidence = EvidenceSerializer(many=True)
    verdicts = VerdictSerializer(many=True)
    alarms = MptcpAlarmSerializer(many=True)

    def to_representation(self, instance: Connection) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(connection_data(instance))


class VerdictCreateSerializer(StrictSerializer):
    """Which connection to stop, why, and for how long."""

    connection = serializers.IntegerField(min_value=1)
    reason = serializers.CharField(max_length=500)
    expires_in_s = FiniteFloatField(required=False, default=3600.0)
    force = serializers.BooleanField(
        required=False, default=False, help_text="although the evidence is weak, for the given reason"
    )


class VerdictRowSerializer(VerdictSerializer):
    """A verdict as a row."""

    def to_representation(self, instance: Verdict) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(verdict_data(instance))


class UndoSerializer(StrictSerializer):
    """Why a verdict ends."""

    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class SubscriptionSerializer(serializers.Serializer[Subscription]):
    """Who is told by webhook; ``sent_seq`` is the last change that was taken, ``kinds`` empty means all."""

    id = serializers.IntegerField()
    url = serializers.CharField()
    kinds = serializers.ListField(child=serializers.ChoiceField(choices=CHANGE_KINDS))
    sent_seq = serializers.IntegerField()
    is_active = serializers.BooleanField()
    failure_count = serializers.IntegerField()
    last_error = serializers.CharField()
    created_by = serializers.CharField()


class SubscriptionMadeSerializer(SubscriptionSerializer):
    """A new subscription with the secret that signs what it gets, shown this once."""

    secret = serializers.CharField()


class SubscriptionCreateSerializer(StrictSerializer):
    """Where to tell, of what, from where on."""

    url = serializers.CharField(max_length=500)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=CHANGE_KINDS), required=False, default=list
    )
    after = serializers.IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=0,
        help_text="sequence number; null: from now on",
    )


class CaptureSerializer(serializers.Serializer[Capture]):
    """An uploaded capture and what was found in it."""

    id = serializers.IntegerField()
    file_name = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    state = serializers.ChoiceField(choices=CaptureState.values)
    job = serializers.CharField()
    options = serializers.JSONField()
    report = serializers.JSONField()
    error = serializers.CharField()
    created_at_s = serializers.FloatField()
    created_by = serializers.CharField()
    finished_at_s = serializers.FloatField(allow_null=True)

    def to_representation(self, instance: Capture) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(capture_data(instance))


class CaptureUploadSerializer(StrictSerializer):
    """A capture file (pcap or pcapng) and how it is to be read."""

    file = serializers.FileField()
    sample = FiniteFloatField(
        required=False, default=1.0, help_text="share of the packets that are looked at, above 0 up to 1"
    )
    seed = serializers.IntegerField(required=False, default=1, min_value=0, max_value=2**32 - 1)
    start_after_s = FiniteFloatField(
        required=False,
        default=0.0,
        min_value=0,
        help_text="pass over what comes earlier, s after the first packet",
    )
    direction = serializers.ChoiceField(
        choices=[direction for direction in DIRECTIONS if direction],
        required=False,
        default="",
        allow_blank=True,
        help_text="only packets from the client, or only those to it",
    )
    without_tokens = serializers.BooleanField(required=False, default=False)
    width32 = serializers.BooleanField(required=False, default=False)


class FlowSerializer(StrictSerializer):
    """A 4-tuple, in either direction."""

    src = serializers.CharField(max_length=45)
    src_port = serializers.IntegerField(min_value=0, max_value=65535)
    dst = serializers.CharField(max_length=45)
    dst_port = serializers.IntegerField(min_value=0, max_value=65535)


class BulkLookupSerializer(StrictSerializer):
    """4-tuples to look up, in what sensors see or in a capture."""

    flows = serializers.ListField(child=FlowSerializer(), allow_empty=False, max_length=FLOWS_MAX)
    capture = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=1)


class LookupSerializer(serializers.Serializer[Any]):
    """Whose a subflow is. ``connection`` null: the 4-tuple was not seen; ``siblings`` are the other subflows."""

    flow = FlowSerializer()
    subflow = SubflowSerializer(allow_null=True)
    connection = ConnectionRowSerializer(allow_null=True)
    siblings = SubflowSerializer(many=True)
    evidence = EvidenceSerializer(many=True)


class BulkLookupAnswerSerializer(serializers.Serializer[Any]):
    """One answer per asked 4-tuple, in their order."""

    results = LookupSerializer(many=True)


class SubflowPathSerializer(serializers.Serializer[Any]):
    """Where a sibling was seen; ``links`` are those of the inventory at these observation points."""

    subflow = serializers.IntegerField()
    seen_by = serializers.ListField(child=serializers.CharField())
    links = serializers.ListField(child=serializers.CharField())


class PathAdviceSerializer(serializers.Serializer[Any]):
    """Which siblings take disjoint paths, as far as was seen; ``unknown``: seen at no observation point with a link."""

    connection = serializers.IntegerField()
    subflows = SubflowPathSerializer(many=True)
    disjoint = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))
    shared_links = serializers.DictField(child=serializers.ListField(child=serializers.IntegerField()))
    unknown = serializers.ListField(child=serializers.IntegerField())
    words = serializers.CharField()


class DomainSerializer(serializers.Serializer[AssociationDomain]):
    """An association domain: what the sensors of one site see."""

    name = serializers.CharField()
    record_count = serializers.IntegerField()
    dropped_count = serializers.IntegerField()
    dropped_at_s = serializers.FloatField(allow_null=True)
    subflow_count = serializers.IntegerField()
    worked_at_s = serializers.FloatField(allow_null=True)
    worked_by = serializers.CharField()
    sensors = serializers.ListField(child=serializers.CharField())

    def to_representation(self, instance: AssociationDomain) -> dict[str, Any]:
        """Return the same data as the live stream."""
        context = cast("dict[str, Any]", self.context)  # one dictionary for all rows of an answer
        if "sensors" not in context:
            context["sensors"] = sensors_by_site()
        return dict(domain_data(instance, context["sensors"].get(instance.site.name, ())))


class ChangeSerializer(serializers.Serializer[ChangeLog]):
    """What happened to a connection; ``seq`` grows."""

    seq = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=CHANGE_KINDS)
    connection = serializers.IntegerField(allow_null=True)
    at_s = serializers.FloatField()
    details = serializers.JSONField()

    def to_representation(self, instance: ChangeLog) -> dict[str, Any]:
        """Return plain data."""
        return change_data(instance)
