"""The agent's parts without a portal: back-off, buffer, disk, roles that fail."""

import contextlib
import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nfvportal.agent.backoff import Backoff
from nfvportal.agent.connection import Portal
from nfvportal.agent.desired import Desired, DesiredStore
from nfvportal.agent.outbox import Outbox
from nfvportal.agent.role_host import Applied, HostedContext, RoleHost
from nfvportal.agent.roles import ROLES
from nfvportal.lib import wire
from nfvportal.lib.errors import InvalidInputError
from tests.nfvportal.agent.echo import ECHO
from tests.support.web import eventually


@given(st.integers(), st.floats(0.01, 1), st.floats(1, 60))
def test_backoff_starts_fast_and_stays_below_its_cap(seed: int, first_s: float, cap_s: float) -> None:
    backoff = Backoff(Random(seed), first_s, cap_s)
    delays = [backoff.next_s() for _ in range(20)]
    assert delays[0] <= first_s
    for index, delay_s in enumerate(delays):
        bound_s = min(cap_s, first_s * 2**index)
        assert bound_s / 2 <= delay_s <= bound_s
    backoff.reset()
    assert backoff.next_s() <= first_s


class OutboxBesideItsTwin(RuleBasedStateMachine):
    """The outbox does what a plain list would: everything unacknowledged, in order, newest state only, bounded."""

    BOUND = 8

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox("b", max_events=self.BOUND, max_samples=3)
        self.kept: list[int] = []
        self.state_id = 0
        self.sent: set[int] = set()
        self.drops = 0

    def _add(self, event: str) -> None:
        self.kept.append(self.outbox.add_event("wan.gateway", event, {}, 1.0))
        while len(self.kept) > self.BOUND:
            self.kept.pop(0)
            self.drops += 1

    @rule()
    def add(self) -> None:
        self._add("wan.link_failed")

    @rule()
    def add_state(self) -> None:
        if self.state_id in self.kept:
            self.kept.remove(self.state_id)
        self._add("wan.gateway.state")
        self.state_id = self.kept[-1]

    @rule()
    def take(self) -> None:
        ids = [frame["id"] for frame in self.outbox.take()]
        assert ids == [event_id for event_id in self.kept if event_id not in self.sent]
        self.sent |= set(ids)

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        event_id = data.draw(st.sampled_from(self.kept) if self.kept else st.just(0))
        self.outbox.acknowledge(event_id)
        if event_id in self.kept:
            self.kept.remove(event_id)

    @rule()
    def reconnect(self) -> None:
        self.outbox.reconnected()
        self.sent.clear()

    @invariant()
    def agrees(self) -> None:
        assert self.outbox.pending_count == len(self.kept)
        assert self.outbox.drops.event_count == self.drops


TestOutbox = OutboxBesideItsTwin.TestCase


def test_samples_wait_in_a_short_queue_and_are_counted_when_dropped() -> None:
    outbox = Outbox("b", max_samples=3)
    for index in range(5):
        outbox.add_samples("wan.gateway", {"at_s": [index]})
    assert [frame["columns"]["at_s"] for frame in outbox.take()] == [[2], [3], [4]]
    assert outbox.drops.sample_count == 2
    assert outbox.take() == []


def test_what_the_outbox_makes_is_what_the_portal_reads() -> None:
    outbox = Outbox("b")
    outbox.add_event("wan.gateway", "wan.link_failed", {"link": "fiber"}, 1.5)
    outbox.add_samples("wan.gateway", {"at_s": (1.0, 2.0)})
    for frame in outbox.take():
        assert wire.decode(wire.encode(frame), wire.FROM_AGENT) == frame


def test_desired_state_survives_on_disk(tmp_path: Path) -> None:
    store = DesiredStore(tmp_path / "desired.json")
    assert store.load() == {}
    store.save({"wan.gateway": Desired(3, {"a": [1]})})
    assert store.load() == {"wan.gateway": Desired(3, {"a": [1]})}
    assert [path.name for path in tmp_path.iterdir()] == ["desired.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a":1}', '{"a":{"revision":"x","spec":{}}}', '{"a":{"revision":1}}']
)
def test_damaged_desired_state_is_said_not_guessed(tmp_path: Path, text: str) -> None:
    (tmp_path / "desired.json").write_text(text)
    with pytest.raises(InvalidInputError):
        DesiredStore(tmp_path / "desired.json").load()


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_any_json_on_disk_is_desired_state_or_invalid_input(value: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "desired.json"
        path.write_text(json.dumps(value))
        with contextlib.suppress(InvalidInputError):
            assert isinstance(DesiredStore(path).load(), dict)


@pytest.mark.parametrize("address", ["unix:relative", "http://x", "", "none", "unix:"])
def test_portal_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InvalidInputError):
        Portal(address)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RoleHost, list[Applied], Outbox]:
    monkeypatch.setitem(ROLES, "test.echo", ECHO["test.echo"])
    outbox, outcomes = Outbox("b"), list[Applied]()

    def context(role: str) -> HostedContext:
        return HostedContext("gw-a", role, tmp_path, outbox, None)

    return RoleHost(context, outcomes.append, Random(1)), outcomes, outbox


async def _outcomes(outcomes: list[Applied], count: int) -> list[Applied]:
    await eventually(lambda: len(outcomes) >= count)
    return outcomes


async def test_applying_twice_changes_nothing(host: tuple[RoleHost, list[Applied], Outbox]) -> None:
    roles, outcomes, outbox = host
    for _ in range(3):
        roles.want("test.echo", Desired(1, {"events": 2}))
        await _outcomes(outcomes, 1)
    await roles.close()
    assert set(outcomes) == {Applied("test.echo", 1, True, None)}
    assert outbox.pending_count == 2


async def test_refused_spec_and_unknown_role_are_reported(
    host: tuple[RoleHost, list[Applied], Outbox],
) -> None:
    roles, outcomes, _ = host
    roles.want("test.echo", Desired(1, {"refuse": True}))
    (refused,) = await _outcomes(outcomes, 1)
    assert refused == Applied("test.echo", 1, False, "refuse: must be false")
    roles.want("no.such", Desired(1, {}))
    assert "must be one of" in ((await _outcomes(outcomes, 2))[1].error or "")
    await roles.close()


async def test_a_crashing_role_is_tried_again_until_it_works(
    host: tuple[RoleHost, list[Applied], Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nfvportal.agent import role_host

    monkeypatch.setattr(role_host, "RETRY_CAP_S", 0.02)
    roles, outcomes, _ = host
    roles.want("test.echo", Desired(1, {"crashes": 3}))
    said = await _outcomes(outcomes, 4)
    assert [one.ok for one in said] == [False, False, False, True]
    assert said[0].error == "ZeroDivisionError: boom"
    assert roles.snapshots() == {"test.echo": {"spec": {"crashes": 3}}}
    await roles.close()
