"""REST shape of events."""

from typing import Any

from rest_framework import serializers

from nfvportal.events.models import Event, Severity
from nfvportal.events.selectors import event_data


class EventSerializer(serializers.Serializer[Event]):
    """An event; ``at_s`` is epoch seconds by the clock of the source."""

    id = serializers.IntegerField()
    type = serializers.CharField()
    at_s = serializers.FloatField()
    severity = serializers.ChoiceField(choices=Severity.values)
    subject = serializers.CharField()
    device = serializers.CharField()
    data = serializers.JSONField()  # type: ignore[assignment]  # the stubs know Serializer.data only

    def to_representation(self, instance: Event) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(event_data(instance))
