"""Tables of ``mptcp``. Times that devices and captures tell are epoch seconds: a capture's clock may say anything.

Numbers of 64 bits (keys never are stored; DSNs only relative to the connection's lowest) stay out of JSON.
"""

import secrets

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now

from apps.mptcp.engine.values import AlarmKind, ChangeKind, EvidenceKind, SubflowState
from nfvportal.inventory.models import Device, Site

ADDRESS_LENGTH = 45
SUBFLOW_STATES = [state.value for state in SubflowState]
EVIDENCE_KINDS = [kind.value for kind in EvidenceKind]
ALARM_KINDS = [kind.value for kind in AlarmKind]
CHANGE_KINDS = [kind.value for kind in ChangeKind]


class AssociationDomain(models.Model):
    """What one writer associates: all that the sensors of one site see.

    This is the shard by endpoint: the subflows of the hosts behind a site pass that site's gateways, so both ends of
    every pair of siblings are in one domain, and domains share nothing. A connection between two sites with sensors is
    seen, and listed, in both. ``position`` is the newest entry of the domain's log of records whose effect is stored;
    ``snapshot_position`` the newest that the snapshot covers: entries up to there may be trimmed.
    """

    site = models.OneToOneField(Site, on_delete=models.CASCADE, related_name="association_domain")
    position = models.CharField(max_length=40, default="0-0")
    snapshot = models.BinaryField(null=True)
    snapshot_position = models.CharField(max_length=40, default="0-0")
    snapshot_at = models.DateTimeField(null=True, blank=True)
    worked_at = models.DateTimeField(null=True, blank=True)
    worked_by = models.CharField(max_length=100, blank=True, default="")
    record_count = models.BigIntegerField(default=0)
    dropped_count = models.BigIntegerField(default=0)
    dropped_at = models.DateTimeField(null=True, blank=True)  # when records were last dropped
    subflow_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("site__name",)

    def __str__(self) -> str:
        return self.site.name


class Observer(models.Model):
    """A place where packets are seen; ``told`` is what its sensor last said of itself: ratio and counts."""

    domain = models.ForeignKey(AssociationDomain, on_delete=models.CASCADE, related_name="observers")
    number = models.PositiveIntegerField()
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+")
    interface = models.CharField(max_length=64, blank=True, default="")
    told = models.JSONField(default=dict, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("domain", "number")
        constraints = [
            models.UniqueConstraint(fields=["domain", "number"], name="observer_number_once_per_domain"),
            models.UniqueConstraint(fields=["domain", "device", "interface"], name="observer_once_per_place"),
        ]

    def __str__(self) -> str:
        return f"{self.device.name}:{self.interface}" if self.interface else self.device.name


class CaptureState(models.TextChoices):
    """Where the reading of a capture stands."""

    WAITING = "waiting"
    READING = "reading"
    READY = "ready"
    FAILED = "failed"


def _file_key() -> str:
    return secrets.token_hex(16)


class Capture(models.Model):
    """An uploaded file of packets and what was found in it. The file lies in ``<state>/captures/<file_key>``."""

    file_name = models.CharField(max_length=200)
    file_key = models.CharField(max_length=32, unique=True, default=_file_key, editable=False)
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=CaptureState.choices, default=CaptureState.WAITING)
    job_id = models.UUIDField(null=True, blank=True)
    options = models.JSONField(default=dict, blank=True)
    report = models.JSONField(default=dict, blank=True)
    error = models.CharField(max_length=500, blank=True, default="")
    is_file_kept = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.file_name


class ConnectionState(models.TextChoices):
    """Where a connection is in its life. ``gone``: merged into another one."""

    ACTIVE = "active"
    IDLE = "idle"
    ENDED = "ended"
    GONE = "gone"


class Connection(models.Model):
    """Subflows that belong together, of a domain or of a capture; ``engine_id`` is the engine's number in it.

    ``dsn_base`` is the lowest data sequence number seen, per direction, as text; points are relative to it.
    """

    domain = models.ForeignKey(
        AssociationDomain, null=True, blank=True, on_delete=models.CASCADE, related_name="connections"
    )
    capture = models.ForeignKey(
        Capture, null=True, blank=True, on_delete=models.CASCADE, related_name="connections"
    )
    engine_id = models.BigIntegerField()
    state = models.CharField(max_length=16, choices=ConnectionState.choices, default=ConnectionState.ACTIVE)
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    confidence = models.FloatField()
    is_blockable = models.BooleanField()
    coverage_ab = models.FloatField(null=True, blank=True)
    coverage_ba = models.FloatField(null=True, blank=True)
    tokens = ArrayField(models.BigIntegerField(), default=list)
    subflow_count = models.PositiveIntegerField(default=0)
    client = models.CharField(max_length=60, blank=True, default="", help_text="end of the first subflow")
    server = models.CharField(max_length=60, blank=True, default="", help_text="end of the first subflow")
    addresses = ArrayField(models.CharField(max_length=ADDRESS_LENGTH), default=list)
    evidence_kinds = ArrayField(models.CharField(max_length=16), default=list)
    dsn_base = models.JSONField(default=list)
    first_s = models.FloatField()
    last_s = models.FloatField()

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(domain=None) ^ models.Q(capture=None), name="connection_has_one_source"
            ),
            models.UniqueConstraint(fields=["domain", "engine_id"], name="connection_once_per_domain"),
            models.UniqueConstraint(fields=["capture", "engine_id"], name="connection_once_per_capture"),
        ]
        indexes = [
            GinIndex(fields=["addresses"], name="connection_by_address"),
            GinIndex(fields=["tokens"], name="connection_by_token"),
            models.Index(fields=["state", "-id"], name="connection_by_state"),
            models.Index(fields=["last_s"], name="connection_by_time"),
        ]

    def __str__(self) -> str:
        return f"connection {self.pk}"


class Subflow(models.Model):
    """One subflow: 4-tuple with the lower end first, and its epoch. ``points``: see ``mapping.points_of``."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="subflows")
    engine_id = models.BigIntegerField()
    epoch = models.PositiveIntegerField(default=0)
    a = models.CharField(max_length=ADDRESS_LENGTH)
    a_port = models.PositiveIntegerField()
    b = models.CharField(max_length=ADDRESS_LENGTH)
    b_port = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=[(state, state) for state in SUBFLOW_STATES])
    is_a_client = models.BooleanField(null=True, blank=True)
    packet_count = models.BigIntegerField(default=0)
    seen_by = ArrayField(models.PositiveIntegerField(), default=list)
    first_s = models.FloatField()
    last_s = models.FloatField()
    points = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("connection", "engine_id")
        constraints = [
            models.UniqueConstraint(fields=["connection", "engine_id"], name="subflow_once_per_connection")
        ]
        indexes = [models.Index(fields=["a", "a_port", "b", "b_port"], name="subflow_by_tuple")]

    def __str__(self) -> str:
        return f"{self.a}:{self.a_port} – {self.b}:{self.b_port}"


class Evidence(models.Model):
    """Why a subflow belongs to its connection; ``other`` is the sibling it was tested against, if there is one."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="evidence")
    kind = models.CharField(max_length=16, choices=[(kind, kind) for kind in EVIDENCE_KINDS])
    subflow = models.BigIntegerField(help_text="engine's number of the subflow")
    other = models.BigIntegerField(null=True, blank=True)
    false_probability = models.FloatField()
    words = models.CharField(max_length=500)
    at_s = models.FloatField()

    class Meta:
        ordering = ("connection", "subflow", "id")

    def __str__(self) -> str:
        return f"{self.kind} of {self.connection}"


class Alarm(models.Model):
    """What deserves an operator's eye; open until somebody acknowledges it."""

    connection = models.ForeignKey(
        Connection, null=True, blank=True, on_delete=models.CASCADE, related_name="alarms"
    )
    domain = models.ForeignKey(AssociationDomain, on_delete=models.CASCADE, related_name="alarms")
    kind = models.CharField(max_length=32, choices=[(kind, kind) for kind in ALARM_KINDS])
    words = models.CharField(max_length=500)
    at_s = models.FloatField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.kind} at {self.at_s:.0f}"


class ChangeLog(models.Model):
    """What happened to connections, in the order that subscribers replay it: ``id`` is the sequence number.

    Numbers become visible in their order (writers take a lock), so whoever asks for what came after one misses nothing.
    """

    kind = models.CharField(max_length=32)
    connection = models.ForeignKey(Connection, null=True, on_delete=models.SET_NULL, related_name="+")
    data = models.JSONField(default=dict)
    at_s = models.FloatField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("id",)
        indexes = [models.Index(fields=["created_at"], name="change_by_time")]

    def __str__(self) -> str:
        return f"{self.pk} {self.kind}"


class Verdict(models.Model):
    """Stop a connection: all its subflows of now and of later. It ends by time or by hand."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="verdicts")
    reason = models.CharField(max_length=500)
    is_forced = models.BooleanField(default=False)
    gateways = ArrayField(models.CharField(max_length=64), default=list)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150, blank=True, default="")
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True, default="")
    end_reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["connection"],
                condition=models.Q(ended_at=None),
                name="one_open_verdict_per_connection",
            )
        ]

    def __str__(self) -> str:
        return f"verdict {self.pk} on {self.connection}"


class Subscription(models.Model):
    """Somebody who is told by signed POST what happens to connections, from a sequence number on."""

    url = models.URLField(max_length=500)
    kinds = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    secret_sealed = models.TextField(editable=False)
    sent_seq = models.BigIntegerField(default=0)
    is_active = models.BooleanField(default=True)
    failure_count = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.url
