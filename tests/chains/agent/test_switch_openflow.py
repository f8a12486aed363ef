"""OpenFlow 1.3 against Open vSwitch and its user-space data path: frames, entries, refusals; and against nonsense."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apps.chains.agent import switch_drivers, switch_openflow
from apps.chains.agent.switch import Switch, parse_switch_spec
from apps.chains.agent.switch_openflow import OpenFlow
from apps.chains.chain_export import openflow_write
from apps.chains.engine.steering import Group
from nfvportal.lib.errors import InvalidInputError
from tests.chains.agent.switch_bed import GROUP, OTHER_GROUP, PORTS, Context, Ends, frame_to, make_bridge, sh
from tests.nfvportal.agent.in_namespace import in_namespace
from tests.support.open_vswitch import OpenVSwitch, open_vswitch, why_not

MARK = bytes.fromhex("ffffffffffff020000000009aaaa") + bytes(60)


class SlowEnds(Ends):
    """Ends of a switch that forwards when it gets to it."""

    def members(self, group: str, into: str = "p1") -> set[str]:
        """Send a frame to a group, then one to all; return the ports by which the first left until the second came."""
        frame = frame_to(group)
        for one in (frame, MARK):
            self.sockets[into].send(one)
        found: dict[str, list[bytes]] = {port: [] for port in self.sockets}
        deadline_s = time.monotonic() + 10
        while any(MARK not in frames for port, frames in found.items() if port != into):
            assert time.monotonic() < deadline_s, found
            for port, end in self.sockets.items():
                found[port] += [got for got in end.frames() if got in (frame, MARK) or got[:6] == frame[:6]]
        assert all(
            frames.count(frame) == len(frames) - (port != into) <= 1 for port, frames in found.items()
        ), found
        return {port for port, frames in found.items() if frame in frames}

    def until(self, group: str, wanted: set[str]) -> None:
        """Wait until frames go there: Open vSwitch follows a change for a moment with what it has in its cache."""
        deadline_s = time.monotonic() + 10
        while (found := self.members(group)) != wanted:
            assert time.monotonic() < deadline_s, found


@contextmanager
def switch_here() -> Iterator[OpenVSwitch]:
    """A switch in this namespace with the ports of the bed."""
    if reason := why_not():
        pytest.skip(reason)
    make_bridge()
    sh("ip link del br0")
    with tempfile.TemporaryDirectory(prefix="nfvovs-") as name, open_vswitch(Path(name), PORTS) as switch:
        yield switch


def apply(driver: OpenFlow, groups: dict[str, set[str]]) -> None:
    asyncio.run(driver.apply({group: frozenset(ports) for group, ports in groups.items()}))


@in_namespace
def test_members_get_one_copy_and_nobody_else_any() -> None:
    with switch_here() as switch:
        driver, ends = OpenFlow(switch.connection), SlowEnds()
        assert asyncio.run(driver.probe()) == "ok"
        groups = {GROUP: {"p2", "p4"}, OTHER_GROUP: {"p1", "p3"}}
        apply(driver, groups)
        assert ends.members(GROUP) == {"p2", "p4"}
        assert ends.members(OTHER_GROUP) == {"p3"}, "never back to who sent it"
        assert ends.members(OTHER_GROUP, "p4") == {"p1", "p3"}
        assert ends.members("02:00:00:07:01:02") == {"p2", "p3", "p4"}, "an unknown address"
        assert asyncio.run(driver.held()) == {group: frozenset(ports) for group, ports in groups.items()}
        apply(driver, {GROUP: {"p3"}})
        ends.until(GROUP, {"p3"})
        ends.until(OTHER_GROUP, {"p2", "p3", "p4"})  # a group that is gone is flooded


@in_namespace
def test_twice_is_once_and_entries_of_others_stay() -> None:
    with switch_here() as switch:
        switch.ofctl("add-group", "group_id=7,type=indirect,bucket=output:1")
        switch.ofctl("add-flow", "cookie=5,priority=9,dl_dst=03:00:00:00:00:01,actions=group:7")

        def shown() -> str:
            flows = switch.ofctl("dump-flows")
            lines = [
                line.split(" duration")[0] + line.split("n_bytes")[-1] for line in flows.splitlines()[1:]
            ]
            return "\n".join([*sorted(lines), *sorted(switch.ofctl("dump-groups").splitlines()[1:])])

        before = shown()
        apply(OpenFlow(switch.connection), {GROUP: {"p2", "p4"}, OTHER_GROUP: {"p1"}})
        held = shown()
        assert held.count("type=all") == 2
        apply(OpenFlow(switch.connection), {GROUP: {"p2", "p4"}, OTHER_GROUP: {"p1"}})
        assert shown() == held
        apply(OpenFlow(switch.connection), {})
        assert shown() == before


@in_namespace
def test_refusals_are_told_in_the_switch_s_words() -> None:
    with switch_here() as switch:
        full = ["create", "Flow_Table", "flow_limit=2", "overflow_policy=refuse"]
        switch.vsctl("--", "--id=@t", *full, "--", "set", "bridge", "ovs0", "flow_tables:0=@t")
        with pytest.raises(InvalidInputError, match="FLOW_MOD_FAILED TABLE_FULL") as caught:
            apply(OpenFlow(switch.connection), {GROUP: {"p2"}, OTHER_GROUP: {"p3"}})
        assert caught.value.field == f"groups.{OTHER_GROUP}"
        switch.vsctl("clear", "bridge", "ovs0", "flow_tables")
        apply(OpenFlow(switch.connection), {GROUP: {"p2"}, OTHER_GROUP: {"p3"}})
        with pytest.raises(InvalidInputError, match="port p9"):
            apply(OpenFlow(switch.connection), {GROUP: {"p9"}})
        switch.vsctl("set", "bridge", "ovs0", "protocols=OpenFlow10")
        deadline_s = time.monotonic() + 10
        while asyncio.run(OpenFlow(switch.connection).probe()) == "ok":
            assert time.monotonic() < deadline_s
        assert "does not speak OpenFlow 1.3" in asyncio.run(OpenFlow(switch.connection).probe())


@in_namespace
def test_the_role_takes_a_switch_by_its_connection() -> None:
    with switch_here() as switch:
        context, ends = Context(), SlowEnds()
        role = Switch(context)  # type: ignore[arg-type]
        asyncio.run(role.apply({"groups": {GROUP: ["p2", "p3"]}, "connection": switch.connection}))
        assert context.told[-1]["driver"] == "openflow"
        assert ends.members(GROUP) == {"p2", "p3"}


@in_namespace
def test_a_device_with_open_vswitch_and_no_bridge_uses_it() -> None:
    with switch_here() as switch:
        switch_drivers.OVS_DIRECTORY = switch.directory  # type: ignore[misc]  # in a process of its own
        driver, probed = asyncio.run(switch_drivers.choose_driver())
        assert (driver.name, probed["openflow"]) == ("openflow", "ok")
        assert probed["bridge_mdb"] == "this device has no bridge"


@in_namespace
def test_exported_rules_are_taken_and_are_what_the_driver_makes() -> None:
    with switch_here() as switch:
        groups = [Group(2, GROUP, ("a", "b")), Group(3, OTHER_GROUP, ("b", "c"))]
        script = openflow_write("web", groups, {"a": "p2", "b": "p4", "c": "p3"})
        for _ in range(2):
            switch.command("sh", "-s", "--", switch.connection, text=script)
        assert SlowEnds().members(GROUP) == {"p2", "p4"}
        wanted = {GROUP: frozenset({"p2", "p4"}), OTHER_GROUP: frozenset({"p4", "p3"})}
        driver = OpenFlow(switch.connection)
        assert asyncio.run(driver.held()) == wanted
        shown = switch.ofctl("dump-groups")
        asyncio.run(driver.apply(wanted))
        assert switch.ofctl("dump-groups") == shown, "nothing to change"


async def against(answer: Callable[[bytes], bytes | None]) -> str:
    """Return what the driver says of a listener that answers like that; ``None`` closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            said = answer(data)
            if said is None:
                break
            writer.write(said)
        writer.close()

    with tempfile.TemporaryDirectory(prefix="nfvovs-") as name:
        server = await asyncio.start_unix_server(serve, f"{name}/switch")
        async with server:
            return await OpenFlow(f"unix:{name}/switch").probe()


def test_a_peer_that_talks_nonsense_or_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch_openflow, "ANSWER_WITHIN_S", 0.2)
    assert "length" in asyncio.run(against(lambda _: bytes(8)))
    assert "closed" in asyncio.run(against(lambda _: None))
    assert "no answer within" in asyncio.run(against(lambda _: b""))
    assert "multiples of 8" not in asyncio.run(against(lambda data: data)), "an echo is no switch"
    refusal = bytes.fromhex("0401001c0000000100000000") + b"no thanks, buddy"
    assert "HELLO_FAILED code 0 no thanks" in asyncio.run(against(lambda _: refusal))


def test_nobody_there_is_said() -> None:
    assert "No such file" in asyncio.run(OpenFlow("unix:/nonexistent/switch").probe())


@pytest.mark.parametrize(
    "connection",
    [
        "tcp:example.org:6653",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:99999",
        "unix:relative",
        "ssl:1.1.1.1:1",
        7,
        ["x"],
    ],
)
def test_other_connections_are_refused(connection: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_switch_spec({"connection": connection})
    assert caught.value.field == "connection"


def test_connections_have_these_forms() -> None:
    for connection in ("unix:/run/openvswitch/br0.mgmt", "tcp:127.0.0.1:6653", "tcp:[::1]:6653"):
        assert parse_switch_spec({"connection": connection}).connection == connection
    with pytest.raises(InvalidInputError, match="must be given"):
        parse_switch_spec({"driver": "openflow"})
