"""From what a switch holds to what it shall hold, on a toy switch that does what the specification says."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.engine.openflow import (
    FLOW_ADD,
    FlowEntry,
    FlowMod,
    GroupCommand,
    GroupEntry,
    GroupMod,
    GroupType,
)
from apps.chains.engine.openflow_steering import (
    COOKIE_MASK,
    COOKIE_PREFIX,
    GROUP_END,
    GROUP_FIRST,
    Change,
    flow_add,
    steering_changes,
    steering_held,
)
from apps.chains.engine.openflow_structs import Actions, Bucket, Output, Port, ToGroup, eth_dst
from nfvportal.lib.errors import InvalidInputError

PORTS = tuple(Port(number, bytes(6), f"p{number}") for number in range(1, 6))
MACS = [f"03:00:00:00:01:0{digit}" for digit in range(5)]
wishes = st.dictionaries(
    st.sampled_from(MACS), st.frozensets(st.sampled_from([port.name for port in PORTS]), min_size=1)
)


class ToySwitch:
    """Flow table and group table, by the book (6.4, 6.5)."""

    def __init__(self) -> None:
        self.flows: dict[tuple[int, int, object], FlowEntry] = {}
        self.groups: dict[int, GroupEntry] = {}

    def ours(self) -> list[FlowEntry]:
        return [flow for flow in self.flows.values() if flow.cookie & COOKIE_MASK == COOKIE_PREFIX]

    def do(self, message: FlowMod | GroupMod) -> None:
        if isinstance(message, GroupMod):
            self._group(message)
            return
        key = (message.table, message.priority, message.match)
        if message.command == FLOW_ADD:
            targets = [one.group for one in message.instructions[0].actions]  # type: ignore[union-attr]
            assert all(target in self.groups for target in targets), "a flow to a group that is not there"
            self.flows[key] = FlowEntry(
                message.table, message.priority, message.cookie, message.match, message.instructions
            )
        elif key in self.flows and (self.flows[key].cookie ^ message.cookie) & message.cookie_mask == 0:
            del self.flows[key]

    def _group(self, message: GroupMod) -> None:
        if message.command == GroupCommand.DELETE:
            self.groups.pop(message.group, None)
            self.flows = {key: flow for key, flow in self.flows.items() if target(flow) != message.group}
            return
        assert (message.group in self.groups) == (message.command == GroupCommand.MODIFY)
        self.groups[message.group] = GroupEntry(message.group, message.type, message.buckets)

    def want(self, wanted: dict[str, frozenset[str]]) -> list[Change]:
        changes = steering_changes(wanted, self.ours(), self.groups.values(), PORTS)
        for change in changes:
            self.do(change.message)
        return changes

    def reached(self, mac: str) -> list[int]:
        """Return the ports a frame to an address goes to."""
        found = [flow for flow in self.flows.values() if flow.match == (eth_dst(mac),)]
        if not found:
            return []
        best = max(found, key=lambda flow: flow.priority)
        return [one.port for bucket in self.groups[target(best)].buckets for one in bucket.actions]  # type: ignore[union-attr]


def target(flow: FlowEntry) -> int:
    instruction = flow.instructions[0]
    assert isinstance(instruction, Actions)
    assert isinstance(instruction.actions[0], ToGroup)
    return instruction.actions[0].group


@settings(max_examples=50)
@given(st.lists(wishes, max_size=6))
def test_whatever_was_there_what_is_wanted_is_there_afterwards(
    turns: list[dict[str, frozenset[str]]],
) -> None:
    switch = ToySwitch()
    for wanted in turns:
        switch.want(wanted)
        assert steering_held(switch.ours(), switch.groups.values(), PORTS) == wanted
        for mac in MACS:
            names = [f"p{number}" for number in switch.reached(mac)]
            assert sorted(names) == sorted(wanted.get(mac, ()))
        assert len(switch.groups) == len(wanted), "nothing superfluous"
        assert switch.want(wanted) == [], "twice is once"


@settings(max_examples=50)
@given(wishes, wishes, st.data())
def test_entries_that_others_spoilt_are_set_right(
    before: dict[str, frozenset[str]], wanted: dict[str, frozenset[str]], data: st.DataObject
) -> None:
    switch = ToySwitch()
    switch.want(before)
    for key, flow in list(switch.flows.items()):
        spoilt = data.draw(
            st.sampled_from(["not", "gone", "priority", "other group", "group gone", "bucket"])
        )
        if spoilt == "gone":
            del switch.flows[key]
        elif spoilt == "priority":
            del switch.flows[key]
            switch.flows[0, 7, flow.match] = replace(flow, priority=7)
        elif spoilt == "other group":
            first = next(iter(switch.groups))
            switch.flows[key] = replace(flow, instructions=(Actions((ToGroup(first),)),))
        elif spoilt == "group gone":
            switch.do(GroupMod(GroupCommand.DELETE, target(flow)))
        elif spoilt == "bucket" and target(flow) in switch.groups:
            bucket = Bucket((Output(1), Output(2)))
            switch.groups[target(flow)] = GroupEntry(target(flow), GroupType.ALL, (bucket,))
    switch.want(wanted)
    assert steering_held(switch.ours(), switch.groups.values(), PORTS) == wanted
    assert len(switch.flows) == len(switch.groups) == len(wanted)


def test_entries_of_others_stay() -> None:
    switch = ToySwitch()
    foreign = GroupEntry(7, GroupType.ALL, (Bucket((Output(1),)),))
    switch.groups[7] = foreign
    flow = FlowEntry(0, 5, 1, (eth_dst(MACS[0]),), (Actions((ToGroup(7),)),))
    switch.flows[0, 5, flow.match] = flow
    switch.want({MACS[0]: frozenset({"p2", "p3"})})
    assert switch.reached(MACS[0]) == [2, 3], "ours is more important"
    switch.want({})
    assert switch.groups == {7: foreign}
    assert list(switch.flows.values()) == [flow]


def test_members_change_in_place() -> None:
    switch = ToySwitch()
    switch.want({MACS[0]: frozenset({"p2", "p3"})})
    (change,) = switch.want({MACS[0]: frozenset({"p2", "p4"})})
    assert isinstance(change.message, GroupMod)
    assert change.message.command == GroupCommand.MODIFY


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="port p9"):
        steering_changes({MACS[0]: {"p9"}}, [], [], PORTS)
    full = [GroupEntry(number, GroupType.ALL, ()) for number in range(GROUP_FIRST, GROUP_END)]
    with pytest.raises(InvalidInputError, match="group numbers"):
        steering_changes({MACS[0]: {"p1"}}, [], full, PORTS)


def test_a_flow_knows_its_address() -> None:
    flow = flow_add(MACS[3], 9)
    assert flow.cookie & COOKIE_MASK == COOKIE_PREFIX
    assert flow.match == (eth_dst(MACS[3]),)
