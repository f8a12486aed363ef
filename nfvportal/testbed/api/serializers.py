"""REST shapes of the lab."""

from rest_framework import serializers

from nfvportal.lab.faults import FAULT_KINDS
from nfvportal.rest.strict import FiniteFloatField, StrictSerializer

MAX_DURATION_S = 3600


class FaultSerializer(StrictSerializer):
    """A fault to inject; without ``duration_s`` it stays until it is cleared."""

    link = serializers.CharField(max_length=64)
    kind = serializers.ChoiceField(choices=sorted(FAULT_KINDS))
    value = FiniteFloatField(
        required=False, allow_null=True, default=None, help_text="loss: 0..1; delay: ms; rate: bit/s"
    )
    duration_s = FiniteFloatField(
        required=False, allow_null=True, default=None, min_value=0.1, max_value=MAX_DURATION_S
    )
