"""REST shape of jobs."""

from typing import Any

from rest_framework import serializers

from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.selectors import job_data


class JobSerializer(serializers.Serializer[Job]):
    """A job; times are epoch seconds, ``progress_ratio`` is 0..1."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=JobState.values)
    progress_ratio = serializers.FloatField()
    message = serializers.CharField()
    error = serializers.CharField()
    result = serializers.JSONField(allow_null=True)
    params = serializers.JSONField()
    created_by = serializers.CharField()
    created_at_s = serializers.FloatField()
    started_at_s = serializers.FloatField(allow_null=True)
    finished_at_s = serializers.FloatField(allow_null=True)
    is_cancel_requested = serializers.BooleanField()
    can_cancel = serializers.BooleanField()

    def to_representation(self, instance: Job) -> dict[str, Any]:
        """Return the same data as the live stream."""
        return dict(job_data(instance))
