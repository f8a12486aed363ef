"""``python -m tests.benchmarks.wan_flip ROUTES REPETITIONS``: one nexthop replace against one replace per route.

Runs inside a node of topology ``pair`` (interface ``eth0``, neighbours at 10.0.0.2 and 10.0.0.3); prints JSON.
"""

import json
import socket
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

from nfvportal.agent.netlink import Netlink, Nexthop, Route, pack_nexthop_replace, pack_route_replace

PROTOCOL = 200
TABLE = 254
GATEWAYS = ("10.0.0.2", "10.0.0.3")
FIRST_PREFIX = int(IPv4Address("172.16.0.0"))
COMPAT_MODE = Path("/proc/sys/net/ipv4/nexthop_compat_mode")


def main(route_count: int, repetitions: int) -> None:
    """Measure and print ``{nexthop_ms: [...], per_route_ms: [...]}``."""
    COMPAT_MODE.write_text("0")
    interface = socket.if_nametoindex("eth0")
    hops = [Nexthop(number, GATEWAYS[number % 2], interface, PROTOCOL) for number in (1, 2, 3)]
    prefixes = [f"{IPv4Address(FIRST_PREFIX + 256 * number)}/24" for number in range(route_count)]
    netlink = Netlink()
    netlink.send_all([pack_nexthop_replace(hop) for hop in hops])
    netlink.send_all([pack_route_replace(Route(prefix, TABLE, 1, PROTOCOL)) for prefix in prefixes])
    flips = [pack_nexthop_replace(Nexthop(1, gateway, interface, PROTOCOL)) for gateway in GATEWAYS]
    by_route = [
        [pack_route_replace(Route(prefix, TABLE, hop, PROTOCOL)) for prefix in prefixes] for hop in (2, 3)
    ]
    nexthop_ms, per_route_ms = [], []
    for number in range(repetitions):
        started_s = time.perf_counter()
        netlink.send_all([flips[number % 2]])
        nexthop_ms.append((time.perf_counter() - started_s) * 1000)
    for number in range(max(2, repetitions // 10)):
        started_s = time.perf_counter()
        netlink.send_all(by_route[number % 2])
        per_route_ms.append((time.perf_counter() - started_s) * 1000)
    print(
        json.dumps(
            {"nexthop_ms": nexthop_ms, "per_route_ms": per_route_ms, "routes": len(netlink.routes(PROTOCOL))}
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
