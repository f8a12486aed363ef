"""Firewall: the first rule that matches decides, replies of allowed flows pass, the table is bounded."""

import ipaddress
import random

from apps.chains.engine.nfs.firewall import Firewall
from apps.chains.engine.packet import parse
from apps.chains.engine.protocols import TCP, UDP
from tests.chains.engine.nfs.making import packet


def test_first_match_decides_then_the_default() -> None:
    firewall = Firewall(
        {
            "rules": [
                {"action": "deny", "src": "10.0.0.66"},
                {"action": "allow", "src": "10.0.0.0/24", "proto": "tcp", "dst_port": [80, "8000-8100"]},
            ]
        }
    )
    assert not firewall.process(packet("10.0.0.66", "1.1.1.1"), 0)
    assert firewall.process(packet("10.0.0.1", "1.1.1.1", 5, 8050), 0)
    assert not firewall.process(packet("10.0.0.1", "1.1.1.1", 5, 8101), 0)
    assert not firewall.process(packet("10.0.0.1", "1.1.1.1", 5, 80, proto=UDP), 0)
    assert not firewall.process(packet("10.0.1.1", "1.1.1.1"), 0)
    assert firewall.counters == {"passed": 1, "denied": 4}


def test_replies_pass_only_when_stateful_and_only_after_the_request() -> None:
    rules = [{"action": "allow", "src": "10.0.0.0/8"}]
    stateful, stateless = Firewall({"rules": rules}), Firewall({"rules": rules, "is_stateful": False})
    reply = packet("1.1.1.1", "10.0.0.1", 80, 1000)
    for firewall in (stateful, stateless):
        assert not firewall.process(reply, 0)
        assert firewall.process(packet("10.0.0.1", "1.1.1.1"), 1)
    assert stateful.process(reply, 2)
    assert not stateless.process(reply, 2)
    assert not stateful.process(packet("1.1.1.1", "10.0.0.1", 81, 1000), 3)


def test_the_flow_unused_for_longest_is_forgotten() -> None:
    firewall = Firewall({"rules": [{"action": "allow", "src": "10.0.0.0/8"}], "flows_max": 2})
    for last in (1, 2):
        firewall.process(packet(f"10.0.0.{last}", "1.1.1.1"), 0)
    assert firewall.process(packet("1.1.1.1", "10.0.0.1", 80, 1000), 1)
    firewall.process(packet("10.0.0.3", "1.1.1.1"), 2)
    assert firewall.process(packet("1.1.1.1", "10.0.0.1", 80, 1000), 3)
    assert not firewall.process(packet("1.1.1.1", "10.0.0.2", 80, 1000), 3)


def test_rules_with_ports_never_match_packets_without() -> None:
    firewall = Firewall({"rules": [{"action": "allow", "dst_port": ["0-65535"]}]})
    assert firewall.process(packet("10.0.0.1", "1.1.1.1"), 0)
    assert not firewall.process(packet("10.0.0.1", "1.1.1.1", proto=1), 0)


def test_what_is_not_ip_passes() -> None:
    assert Firewall({}).process(parse(b"\xff" * 12 + b"\x08\x06" + bytes(46)), 0)


def test_random_rules_equal_the_twin() -> None:
    """The twin asks the library for addresses and goes through the rules in order, remembering nothing."""
    rng = random.Random(1)
    for _ in range(60):
        rules = [
            {
                "action": rng.choice(("allow", "deny")),
                "src": f"10.0.{rng.randrange(2)}.0/{rng.choice((16, 23, 24, 31))}",
                "proto": rng.choice(("tcp", "udp", "any")),
                "dst_port": rng.choice(([], [80], ["70-90", 443])),
            }
            for _ in range(rng.randrange(5))
        ]
        firewall = Firewall({"rules": rules, "is_stateful": False, "default": "allow"})
        for _ in range(20):
            src, port = f"10.0.{rng.randrange(3)}.{rng.randrange(4)}", rng.choice((69, 70, 80, 443))
            proto = rng.choice((TCP, UDP))
            assert firewall.process(packet(src, "1.1.1.1", 9, port, proto=proto), 0) == twin(
                rules, src, proto, port
            )


def twin(rules: list[dict[str, object]], src: str, proto: int, port: int) -> bool:
    for rule in rules:
        network = ipaddress.ip_network(str(rule["src"]), strict=False)
        is_port = rule["dst_port"] == [] or port in {
            80: {80},
            "70-90": {*range(70, 91), 443},
        }.get(rule["dst_port"][0], set())  # type: ignore[index]
        if (
            ipaddress.ip_address(src) in network
            and rule["proto"] in ("any", {TCP: "tcp", UDP: "udp"}[proto])
            and is_port
        ):
            return rule["action"] == "allow"
    return True
