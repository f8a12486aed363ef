"""Load balancer and NAT: both directions, known flows keep what they have, pools are used up and reused in order."""

import itertools
import random
from collections import Counter

from apps.chains.engine.nfs.load_balancer import LoadBalancer
from apps.chains.engine.nfs.nat import Nat
from apps.chains.engine.protocols import ICMP, UDP
from tests.chains.engine.checking import are_checksums_right
from tests.chains.engine.nfs.making import ends, packet

VIP = "192.0.2.1"


def balancer(*addresses: str, **more: object) -> LoadBalancer:
    return LoadBalancer({"vip": VIP, "backends": [{"address": one} for one in addresses], **more})


def chosen(nf: LoadBalancer, client: str, port: int) -> str:
    one = packet(client, VIP, port, 80)
    assert nf.process(one, 0)
    assert are_checksums_right(one)
    return ends(one)[2]


def test_flows_stay_and_replies_come_from_the_virtual_address() -> None:
    nf = balancer("10.0.0.1", "10.0.0.2")
    backend = chosen(nf, "1.1.1.1", 5000)
    assert chosen(nf, "1.1.1.1", 5000) == backend
    reply = packet(backend, "1.1.1.1", 80, 5000)
    nf.process(reply, 0)
    assert ends(reply) == (VIP, 80, "1.1.1.1", 5000)
    other = packet(backend, "1.1.1.1", 80, 5001)
    nf.process(other, 0)
    assert ends(other)[0] == backend
    assert nf.counters == {"forward": 2, "reply": 1, "other": 1}


def test_only_its_port_and_protocol() -> None:
    nf = balancer("10.0.0.1", port=80, proto="tcp")
    for one in (
        packet("1.1.1.1", VIP, 5, 81),
        packet("1.1.1.1", VIP, 5, 80, proto=UDP),
        packet("::1", "::2"),
    ):
        before = bytes(one.data)
        nf.process(one, 0)
        assert bytes(one.data) == before


def test_weights_share_flows_and_a_new_backend_moves_few() -> None:
    """Weights 1 and 3: a quarter and three quarters; a third backend takes a third, the others keep the rest."""
    nf = LoadBalancer(
        {"vip": VIP, "backends": [{"address": "10.0.0.1"}, {"address": "10.0.0.2", "weight": 3}]}
    )
    counts = Counter(chosen(nf, "1.1.1.1", port) for port in range(1000, 2500))
    assert abs(counts["10.0.0.1"] / 1500 - 0.25) < 0.04
    two, three = balancer("10.0.0.1", "10.0.0.2"), balancer("10.0.0.1", "10.0.0.2", "10.0.0.3")
    moved = [
        after
        for before, after in (
            (chosen(two, "1.1.1.1", port), chosen(three, "1.1.1.1", port)) for port in range(1000, 2000)
        )
        if before != after
    ]
    assert set(moved) == {"10.0.0.3"}
    assert abs(len(moved) / 1000 - 1 / 3) < 0.05


NAT = {"inside": "10.0.0.0/8", "public": "203.0.113.1", "port_low": 2000, "port_high": 2002}


def out(nf: Nat, src: str, port: int, dst: str = "1.1.1.1", proto: int = 6) -> int:
    one = packet(src, dst, port, 80, proto=proto)
    assert nf.process(one, 0)
    assert are_checksums_right(one)
    assert ends(one)[0] == "203.0.113.1"
    return ends(one)[1]


def back(nf: Nat, port: int, proto: int = 6) -> tuple[str, int]:
    one = packet("1.1.1.1", "203.0.113.1", 80, port, proto=proto)
    assert nf.process(one, 0)
    assert are_checksums_right(one)
    return ends(one)[2:]


def test_there_and_back_again() -> None:
    nf = Nat(NAT)
    assert out(nf, "10.0.0.1", 5000) == 2000
    assert back(nf, 2000) == ("10.0.0.1", 5000)
    assert back(nf, 2001) == ("203.0.113.1", 2001)
    assert back(nf, 2000, UDP) == ("203.0.113.1", 2000)


def test_a_mapping_does_not_depend_on_the_destination() -> None:
    """RFC 4787 REQ-1."""
    nf = Nat(NAT)
    assert out(nf, "10.0.0.1", 5000) == out(nf, "10.0.0.1", 5000, "2.2.2.2") == 2000
    assert out(nf, "10.0.0.1", 5000, proto=UDP) == 2001


def test_a_full_pool_takes_the_port_unused_for_longest() -> None:
    nf = Nat(NAT)
    assert [out(nf, "10.0.0.1", port) for port in (1, 2, 3)] == [2000, 2001, 2002]
    back(nf, 2000)
    assert out(nf, "10.0.0.1", 4) == 2001
    assert back(nf, 2001) == ("10.0.0.1", 4)
    assert nf.counters["recycled"] == 1


def test_inside_traffic_and_what_has_no_ports_pass() -> None:
    nf = Nat(NAT)
    for one in (
        packet("10.0.0.1", "10.0.0.2"),
        packet("10.0.0.1", "1.1.1.1", proto=ICMP),
        packet("::1", "::2"),
    ):
        before = bytes(one.data)
        assert nf.process(one, 0)
        assert bytes(one.data) == before


def test_no_two_inside_endpoints_ever_share_a_port() -> None:
    nf, rng = Nat({**NAT, "port_high": 2007}), random.Random(1)
    for _ in range(400):
        out(nf, f"10.0.0.{rng.randrange(1, 5)}", rng.randrange(6))
        mappings = nf.state()["mappings"]
        assert isinstance(mappings, list)
        for one, other in itertools.combinations(mappings, 2):
            assert one[0] != other[0]
            assert one[1] != other[1]
