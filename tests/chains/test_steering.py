"""Which back end copies frames, as devices told: in REST and on the chain's page."""

from collections.abc import Mapping

import pytest

from nfvportal.events.models import Event
from tests.support.chains import runnable
from tests.support.people import session_client, token_client

TOLD = {
    "driver": "bridge_mdb",
    "probed": {"openflow": "no connection to a switch was given", "bridge_mdb": "ok", "tc_mirred": "ok"},
    "groups": {"03:00:00:07:01:02": ["to-server-1", "to-server-2"]},
}


def tell(device: str, type_: str, data: Mapping[str, object]) -> None:
    Event.objects.create(type=type_, device_name=device, data=dict(data), at="2026-01-01T00:00:00Z")


@pytest.mark.django_db
def test_the_newest_word_of_each_device_counts(fabric: object) -> None:
    client = token_client("viewer")
    assert client.get("/api/v1/chains/steering/").json() == {"devices": []}
    tell("dc-switch", "chains.switch.state", {"driver": "bridge_flood"})
    tell("dc-switch", "chains.switch.state", TOLD)
    tell("dc-server-1", "chains.server.state", {"mirror": "user space"})
    tell("dc-server-1", "chains.nf_restarted", {"mirror": "no state"})
    rows = client.get("/api/v1/chains/steering/").json()["devices"]
    assert [(row["device"], row["primitive"], row["group_count"]) for row in rows] == [
        ("dc-server-1", "user space", 0),
        ("dc-switch", "bridge_mdb", 1),
    ]
    assert rows[1]["probed"] == TOLD["probed"]


@pytest.mark.django_db
def test_the_page_says_what_is_used_and_why_not_another(fabric: object) -> None:
    chain, client = runnable(), session_client("viewer")
    page = f"/chains/{chain.name}/"
    assert "What copies frames" not in client.get(page).content.decode()
    tell("dc-switch", "chains.switch.state", TOLD)
    shown = client.get(page).content.decode()
    assert "bridge_mdb" in shown
    assert "openflow: no connection to a switch was given" in shown
    assert "tc_mirred: works too, not needed" in shown
