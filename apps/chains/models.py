"""Tables of ``chains``."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

SLUG_LENGTH = 64


class NfType(models.Model):
    """A type of network function: what it does to packets, and how long it takes.

    ``profile`` and ``service`` are the JSON of ``apps/chains/plan_json.py``; ``implementation`` is what data plane and
    emulator run, empty for types that can be planned only.
    """

    slug = models.SlugField(max_length=SLUG_LENGTH, unique=True)
    title = models.CharField(max_length=100)
    description = models.TextField(max_length=2000, blank=True, default="")
    profile = models.JSONField()
    service = models.JSONField()
    provenance = models.CharField(max_length=300, blank=True, default="")
    implementation = models.CharField(max_length=SLUG_LENGTH, blank=True, default="")
    is_builtin = models.BooleanField(default=False, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.CharField(max_length=150, blank=True, default="", editable=False)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug


class Chain(models.Model):
    """A service function chain as its operator drew it: the newest revision.

    ``definition`` is what ``apps/chains/chain_file.py`` validates. ``path`` is the chain's number on the wire, given
    with the first deployment and kept; ``epoch`` counts its deployments. ``trace_nonce`` names the trace that its
    classifier shall make next, empty for none.
    """

    name = models.SlugField(max_length=SLUG_LENGTH, unique=True)
    title = models.CharField(max_length=200, blank=True, default="")
    definition = models.JSONField()
    version = models.PositiveIntegerField(default=1)
    path = models.PositiveIntegerField(
        null=True, blank=True, unique=True, validators=[MinValueValidator(1), MaxValueValidator(2**24 - 1)]
    )
    epoch = models.PositiveIntegerField(default=0)
    trace_nonce = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    updated_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ChainRevision(models.Model):
    """One version of a chain; restoring it makes a new one with the same content."""

    chain = models.ForeignKey(Chain, on_delete=models.CASCADE, related_name="revisions")
    version = models.PositiveIntegerField()
    title = models.CharField(max_length=200, blank=True, default="")
    definition = models.JSONField()
    note = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ("-id",)
        constraints = [models.UniqueConstraint(fields=["chain", "version"], name="revision_once_per_chain")]

    def __str__(self) -> str:
        return f"{self.chain} version {self.version}"


class Plan(models.Model):
    """What the planner answered: a hybrid chain, or why there is none. Never changed once written.

    ``content`` is the answer as REST gives it. ``inputs`` is the chain with the profiles and times that the planner
    took, so that a plan can be applied and audited after the catalogue changed. ``job_id`` makes a job that is run
    twice write one plan.
    """

    chain = models.ForeignKey(Chain, on_delete=models.CASCADE, related_name="plans")
    chain_version = models.PositiveIntegerField()
    is_feasible = models.BooleanField()
    content = models.JSONField()
    inputs = models.JSONField()
    reason = models.CharField(max_length=300, blank=True, default="")
    job_id = models.UUIDField(null=True, blank=True, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["chain", "-id"], name="plan_of_chain")]

    def __str__(self) -> str:
        return f"plan {self.pk} of {self.chain}"


class ChainPlacement(models.Model):
    """Where many chains would run together: which server and instances each gets. Never changed once written.

    ``content`` is the answer as REST gives it, ``asked`` what it was made for. ``previous`` is what it was compared
    with, so that few buckets move. ``job_id`` makes a job that is run twice write one placement.
    """

    is_feasible = models.BooleanField()
    admitted_count = models.PositiveIntegerField(default=0)
    refused_count = models.PositiveIntegerField(default=0)
    moved_buckets = models.PositiveIntegerField(default=0)
    content = models.JSONField()
    asked = models.JSONField(default=dict)
    previous = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    took_s = models.FloatField(default=0.0)
    job_id = models.UUIDField(null=True, blank=True, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"placement {self.pk}"


class DeploymentStatus(models.TextChoices):
    """Where a deployment stands."""

    PENDING = "pending"
    APPLYING = "applying"
    LIVE = "live"
    SUPERSEDED = "superseded"
    REMOVED = "removed"
    FAILED = "failed"


# While it has one of these, it may hold resources of servers.
OPEN_STATUSES = (DeploymentStatus.PENDING, DeploymentStatus.APPLYING, DeploymentStatus.LIVE)


class Deployment(models.Model):
    """One plan on the devices, as one epoch of the chain's path.

    Desired states are made from two columns: every device of the plan holds it while ``is_installed``; the classifier
    sends packets by it while ``is_active``. ``servers`` names the devices, so that they are not read out of the plan.
    ``told`` is what agents said of the switch: packets held, milliseconds waited, packets lost.
    """

    chain = models.ForeignKey(Chain, on_delete=models.CASCADE, related_name="deployments")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="deployments")
    previous = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    epoch = models.PositiveIntegerField()
    status = models.CharField(
        max_length=16, choices=DeploymentStatus.choices, default=DeploymentStatus.PENDING
    )
    is_installed = models.BooleanField(default=False)
    is_active = models.BooleanField(default=False)
    servers = models.JSONField(default=list)
    devices = models.JSONField(default=dict)
    told = models.JSONField(default=dict)
    error = models.TextField(blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    job_id = models.UUIDField(null=True, blank=True, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150, blank=True, default="")
    live_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=["chain", "epoch"], name="epoch_once_per_chain"),
            models.UniqueConstraint(
                fields=["chain"], condition=models.Q(is_active=True), name="one_active_deployment_per_chain"
            ),
            models.UniqueConstraint(
                fields=["chain"],
                condition=models.Q(status__in=["pending", "applying"]),
                name="one_change_at_a_time_per_chain",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.chain} epoch {self.epoch}"


class HopLatest(models.Model):
    """The newest counters of one operator, as its device told them.

    ``recent`` holds the median latencies of the last seconds, oldest first, at most as many as calibration looks at.
    """

    chain = models.ForeignKey(Chain, on_delete=models.CASCADE, related_name="hops")
    epoch = models.PositiveIntegerField()
    operator = models.PositiveSmallIntegerField()
    device_name = models.CharField(max_length=64)
    at = models.DateTimeField()
    counters = models.JSONField()
    recent = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain", "epoch", "operator"], name="hop_once")]

    def __str__(self) -> str:
        return f"{self.chain} operator {self.operator}"


class LatencySample(models.Model):
    """One second of one chain, as its classifier measured it. Kept for a day.

    ``bins`` counts packets by latency: bin i holds 2^i up to 2^(i+1) microseconds.
    """

    chain = models.ForeignKey(Chain, on_delete=models.CASCADE, related_name="latencies")
    at = models.DateTimeField()
    epoch = models.PositiveIntegerField()
    counters = models.JSONField()
    rate_pps = models.FloatField(null=True)
    latency_us_p50 = models.FloatField(null=True)
    latency_us_p95 = models.FloatField(null=True)
    latency_us_p99 = models.FloatField(null=True)
    bins = models.JSONField(default=list)

    class Meta:
        ordering = ("-at",)
        constraints = [models.UniqueConstraint(fields=["chain", "at"], name="latency_once_per_moment")]
        indexes = [models.Index(fields=["at"], name="latency_by_time")]

    def __str__(self) -> str:
        return f"{self.chain} at {self.at:%H:%M:%S}"


class AlarmKind(models.TextChoices):
    """What is wrong."""

    SLO = "slo"
    UNDECLARED_WRITE = "undeclared_write"
    DRIFT = "drift"


class ChainAlarm(models.Model):
    """Something an operator should look at: open until it is over.

    ``key`` tells alarms of one kind apart, e.g. the network function and the field it wrote.
    """

    chain = models.ForeignKey(Chain, on_delete=models.CASCADE, related_name="alarms")
    kind = models.CharField(max_length=24, choices=AlarmKind.choices)
    key = models.CharField(max_length=200, blank=True, default="")
    message = models.CharField(max_length=500)
    data = models.JSONField(default=dict)
    raised_at = models.DateTimeField()
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["chain", "kind", "key"],
                condition=models.Q(cleared_at=None),
                name="one_open_alarm_per_cause",
            )
        ]

    def __str__(self) -> str:
        return f"{self.chain} {self.kind}: {self.message}"
