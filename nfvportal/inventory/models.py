"""The inventory's tables."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

from nfvportal.inventory.validators import validate_addresses, validate_mac, validate_name, validate_roles

MAX_RATE_BPS = 10**13


class Site(models.Model):
    """A place where devices stand."""

    name = models.CharField(max_length=64, unique=True, validators=[validate_name])
    title = models.CharField(max_length=200, blank=True, default="")
    latitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-90), MaxValueValidator(90)]
    )
    longitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-180), MaxValueValidator(180)]
    )

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.title or self.name


class DeviceKind(models.TextChoices):
    """What a device is."""

    HOST = "host"
    GATEWAY = "gateway"
    SERVER = "server"
    SWITCH = "switch"
    CONTROLLER = "controller"


class DeviceStatus(models.TextChoices):
    """Whether the device's agent is connected. ``unknown``: it never was."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    OFFLINE = "offline"


class Device(models.Model):
    """A device; its agent proves itself with a token of which only the SHA-256 is stored."""

    name = models.CharField(max_length=64, unique=True, validators=[validate_name])
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="devices")
    kind = models.CharField(max_length=16, choices=DeviceKind.choices)
    roles = models.JSONField(
        default=list, blank=True, validators=[validate_roles], help_text="names of agent roles, e.g. wan.host"
    )
    token_hash = models.CharField(max_length=64, unique=True, null=True, blank=True, editable=False)
    token_prefix = models.CharField(max_length=16, blank=True, default="", editable=False)
    token_rotated_at = models.DateTimeField(null=True, blank=True, editable=False)
    status = models.CharField(
        max_length=16, choices=DeviceStatus.choices, default=DeviceStatus.UNKNOWN, editable=False
    )
    status_since = models.DateTimeField(db_default=Now(), editable=False)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    agent_version = models.CharField(max_length=64, blank=True, default="", editable=False)
    boot_id = models.CharField(max_length=64, blank=True, default="", editable=False)
    # The agent session that speaks for the device now: an older one that ends late must not mark it offline.
    session_id = models.CharField(max_length=32, blank=True, default="", editable=False)
    capabilities = models.JSONField(default=dict, blank=True, editable=False)
    note = models.TextField(blank=True, default="", max_length=4000)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Take a form's empty field for no roles."""
        self.roles = self.roles or []


class Interface(models.Model):
    """A network interface of a device; ``addresses`` are CIDR texts."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="interfaces")
    name = models.CharField(max_length=15, help_text="as on the device, at most 15 characters")
    mac = models.CharField(max_length=17, blank=True, default="", validators=[validate_mac])
    addresses = models.JSONField(default=list, blank=True, validators=[validate_addresses])

    class Meta:
        ordering = ("device__name", "name")
        constraints = [models.UniqueConstraint(fields=["device", "name"], name="interface_once_per_device")]

    def __str__(self) -> str:
        return f"{self.device.name}:{self.name}"

    def clean(self) -> None:
        """Take a form's empty field for no addresses."""
        self.addresses = self.addresses or []


class LinkKind(models.TextChoices):
    """What a link is for."""

    LAN = "lan"
    WAN = "wan"
    CONTROL = "control"


class Link(models.Model):
    """A link between two interfaces."""

    name = models.CharField(max_length=64, unique=True, validators=[validate_name])
    kind = models.CharField(max_length=16, choices=LinkKind.choices)
    a = models.ForeignKey(Interface, on_delete=models.PROTECT, related_name="links_a")
    b = models.ForeignKey(Interface, on_delete=models.PROTECT, related_name="links_b")
    capacity_bps = models.BigIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MAX_RATE_BPS)], help_text="bit/s"
    )
    delay_ms = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(60_000)],
        help_text="one way, ms",
    )
    provider = models.CharField(max_length=100, blank=True, default="")
    cost_per_gb = models.DecimalField(
        max_digits=10, decimal_places=4, null=True, blank=True, validators=[MinValueValidator(0)]
    )

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(condition=models.Q(capacity_bps__gt=0), name="link_capacity_positive"),
            models.CheckConstraint(condition=~models.Q(a=models.F("b")), name="link_has_two_ends"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a link of an interface with itself or within one device."""
        if self.a_id and self.b_id and self.a.device_id == self.b.device_id:
            raise ValidationError({"b": "must be an interface of another device than a"})


class DesiredState(models.Model):
    """What a role of a device should make true, and how far the device says it is.

    ``revision`` grows with every change of ``spec``; the agent reports the revision it applied.
    """

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="desired_states")
    role = models.CharField(max_length=64)
    revision = models.PositiveIntegerField(default=1)
    spec = models.JSONField(default=dict)
    changed_at = models.DateTimeField(db_default=Now())
    applied_revision = models.PositiveIntegerField(null=True, blank=True)
    applied_ok = models.BooleanField(null=True, blank=True)
    applied_error = models.TextField(blank=True, default="")
    applied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("device__name", "role")
        constraints = [models.UniqueConstraint(fields=["device", "role"], name="desired_state_once_per_role")]

    def __str__(self) -> str:
        return f"{self.device.name} {self.role} revision {self.revision}"

    @property
    def is_converged(self) -> bool:
        """Whether the device applied the newest revision."""
        return bool(self.applied_ok) and self.applied_revision == self.revision
