"""Tables of ``wan``. Samples live in partitioned tables of their own, see ``apps/wan/samples.py``."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

from nfvportal.inventory.models import Device, Link


class SitePair(models.Model):
    """Two gateways and the WAN links between them.

    Virtual subnets are on side ``a`` (the branch); ``remote_prefixes`` lie behind side ``b``.
    """

    name = models.SlugField(max_length=64, unique=True)
    gateway_a = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="pairs_a")
    gateway_b = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="pairs_b")
    remote_prefixes = models.JSONField(default=list)
    probe_interval_ms = models.FloatField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    probe_multiplier = models.PositiveIntegerField(
        default=3, validators=[MinValueValidator(2), MaxValueValidator(50)]
    )
    probe_port = models.PositiveIntegerField(
        default=3784, validators=[MinValueValidator(1), MaxValueValidator(65535)]
    )
    probe_key_sealed = models.TextField(editable=False)
    hold_base_s = models.FloatField(default=1, validators=[MinValueValidator(0), MaxValueValidator(600)])
    hold_max_s = models.FloatField(default=60, validators=[MinValueValidator(0), MaxValueValidator(3600)])

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(gateway_a=models.F("gateway_b")), name="pair_has_two_gateways"
            )
        ]

    def __str__(self) -> str:
        return self.name


class WanLink(models.Model):
    """A WAN link of a site pair; its ends, rate and provider are in the inventory."""

    pair = models.ForeignKey(SitePair, on_delete=models.CASCADE, related_name="links")
    link = models.OneToOneField(Link, on_delete=models.PROTECT, related_name="wan")

    class Meta:
        ordering = ("pair__name", "-link__capacity_bps", "link__name")

    def __str__(self) -> str:
        return self.link.name


class VirtualSubnet(models.Model):
    """A subnet of side ``a`` that rides on one link at a time. Index 1 is where single-path traffic lives."""

    pair = models.ForeignKey(SitePair, on_delete=models.CASCADE, related_name="subnets")
    index = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(255)])
    prefix = models.CharField(max_length=18)
    is_default = models.BooleanField(default=False)
    home = models.ForeignKey(
        WanLink, null=True, blank=True, on_delete=models.SET_NULL, related_name="home_of"
    )

    class Meta:
        ordering = ("pair__name", "index")
        constraints = [models.UniqueConstraint(fields=["pair", "index"], name="subnet_index_once_per_pair")]

    def __str__(self) -> str:
        return f"{self.prefix} ({self.index})"


class MapEpoch(models.Model):
    """Which link carried which virtual subnet from a moment on; ``mapping`` is index (as text) -> link name."""

    pair = models.ForeignKey(SitePair, on_delete=models.CASCADE, related_name="epochs")
    number = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    mapping = models.JSONField()
    reason = models.CharField(max_length=200)
    actor = models.CharField(max_length=150)

    class Meta:
        ordering = ("-id",)
        constraints = [models.UniqueConstraint(fields=["pair", "number"], name="epoch_number_once_per_pair")]

    def __str__(self) -> str:
        return f"{self.pair} map {self.number}"


class LinkState(models.Model):
    """What one gateway last said about one link."""

    wan_link = models.ForeignKey(WanLink, on_delete=models.CASCADE, related_name="states")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=16)
    direction = models.CharField(max_length=8, blank=True, default="")
    since = models.DateTimeField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["wan_link", "device"], name="state_once_per_gateway")]

    def __str__(self) -> str:
        return f"{self.wan_link} {self.state} ({self.device})"


class LinkLatest(models.Model):
    """The newest measurement of a link by side ``a``."""

    wan_link = models.OneToOneField(
        WanLink, on_delete=models.CASCADE, primary_key=True, related_name="latest"
    )
    at = models.DateTimeField()
    rtt_ms = models.FloatField(null=True)
    jitter_ms = models.FloatField(null=True)
    loss_ratio = models.FloatField(null=True)
    rx_bps = models.FloatField(null=True)
    tx_bps = models.FloatField(null=True)

    def __str__(self) -> str:
        return f"{self.wan_link} at {self.at:%H:%M:%S}"


class HostSubflows(models.Model):
    """The live subflows of one host, as it last listed them."""

    device = models.OneToOneField(Device, on_delete=models.CASCADE, primary_key=True, related_name="+")
    at = models.DateTimeField()
    flows = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.device}: {len(self.flows)} subflows"


class FailoverEvent(models.Model):
    """One failure of one link, however many gateways reported it: open until the link is back.

    ``reports`` holds what each gateway said. Times are those of the gateway that acted first.
    """

    wan_link = models.ForeignKey(WanLink, on_delete=models.CASCADE, related_name="failovers")
    direction = models.CharField(max_length=8)
    fault_at = models.DateTimeField(null=True, blank=True)
    last_heard_at = models.DateTimeField()
    detected_at = models.DateTimeField()
    acted_at = models.DateTimeField()
    detection_ms = models.FloatField()
    action_ms = models.FloatField()
    transport_ms = models.FloatField(null=True, blank=True)
    lost_ms = models.FloatField(null=True, blank=True)
    stall_ms = models.FloatField(null=True, blank=True)
    moves = models.JSONField(default=list)
    reports = models.JSONField(default=dict)
    restored_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ("-detected_at", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=["wan_link"], condition=models.Q(restored_at=None), name="one_open_failover_per_link"
            )
        ]
        indexes = [models.Index(fields=["-detected_at", "-id"], name="failover_newest")]

    def __str__(self) -> str:
        return f"{self.wan_link} at {self.detected_at:%Y-%m-%d %H:%M:%S}"
