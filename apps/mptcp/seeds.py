"""The demo's sensors: the branch's gateway looks at 1 % of what its hosts send and get. Safe to repeat."""

from apps.mptcp.selectors import SENSOR_ROLE
from apps.mptcp.services.sensors import sensor_ensure
from nfvportal.inventory.models import Device

# TABLE: device, interface, share of the packets. All subflows of the branch's hosts pass this interface.
SENSORS: tuple[tuple[str, str, float], ...] = (("gw-a", "lan0", 0.01),)


def seed_demo() -> None:
    """Switch on what is missing; what people changed stays."""
    for name, interface, sampling_ratio in SENSORS:
        device = Device.objects.filter(name=name, roles__contains=[SENSOR_ROLE]).first()
        if device is not None:
            sensor_ensure(device=device, interface=interface, sampling_ratio=sampling_ratio)
