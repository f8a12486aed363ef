"""The demo's sensors: specs that the agent understands, safe to repeat, people's choices kept."""

import pytest

from apps.mptcp.agent.sensor import parse_sensor_spec
from apps.mptcp.models import Observer
from apps.mptcp.seeds import seed_demo
from apps.mptcp.services.sensors import sensor_set
from apps.wan.models import SitePair
from nfvportal.inventory.models import DesiredState, Device
from nfvportal.lib.errors import InvalidInputError
from tests.support.demo import pair as pair

pytestmark = pytest.mark.django_db


def test_gateway_s_sensor_understands_its_spec(pair: SitePair) -> None:
    state = DesiredState.objects.get(role="mptcp.sensor")
    spec = parse_sensor_spec(state.spec)
    assert spec is not None
    assert (state.device.name, spec.interface, spec.sampling_ratio) == ("gw-a", "lan0", 0.01)
    observer = Observer.objects.get()
    assert (observer.number, observer.device.name, observer.domain.site.name) == (
        spec.observer,
        "gw-a",
        "branch",
    )


def test_repeating_keeps_what_people_changed(pair: SitePair) -> None:
    sensor_set(device=Device.objects.get(name="gw-a"), interface="wan-lte", sampling_ratio=0.5)
    seed_demo()
    assert DesiredState.objects.get(role="mptcp.sensor").spec["sampling_ratio"] == 0.5


@pytest.mark.parametrize(
    ("interface", "ratio", "field"), [("nothing", 0.1, "interface"), ("lan0", 0, "sampling_ratio")]
)
def test_sensors_that_cannot_be_are_refused(pair: SitePair, interface: str, ratio: float, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        sensor_set(device=Device.objects.get(name="gw-a"), interface=interface, sampling_ratio=ratio)
    assert refused.value.field == field
