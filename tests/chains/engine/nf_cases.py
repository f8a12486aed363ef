"""Parameters under which every network function of ours has something to do in the traffic below."""

from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource

REQUEST = b"GET /private/x HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
PARAMS: dict[str, dict[str, object]] = {
    "firewall": {
        "rules": [
            {"action": "deny", "proto": "udp", "dst_port": [53]},
            {"action": "allow", "src": "10.1.0.0/16", "dst_port": ["80-443"]},
            {"action": "allow", "src": "2001:db8::/32", "proto": "tcp"},
        ],
        "flows_max": 8,
    },
    "monitor": {"flows_max": 8},
    "load_balancer": {
        "vip": "192.168.0.1",
        "backends": [{"address": "172.16.0.1"}, {"address": "172.16.0.2", "weight": 3}],
        "flows_max": 8,
    },
    "nat": {"inside": "10.0.0.0/8", "public": "203.0.113.5", "port_low": 2000, "port_high": 2003},
    "vpn": {"key": "not a secret at all"},
    "ids": {"signatures": [{"name": "evil", "pattern": "evil"}, {"name": "get", "pattern_hex": "474554"}]},
    "ips": {"signatures": [{"name": "evil", "pattern": "evil", "dst_port": [80, 443]}], "flows_max": 8},
    "dpi": {"signatures": [{"name": "http", "pattern": "HTTP/1."}]},
    "url_filter": {"blocked": ["example.com/private", "bad.example"], "flows_max": 8},
    "rate_limiter": {"rate_bps": 4_000_000, "burst_bytes": 3000},
    "header_enrichment": {"rules": [{"dscp": 46, "dst_port": [80]}, {"dscp": 8, "proto": "udp"}]},
    "waiter": {"wait_us": 7},
}

MIX = TrafficMix(
    flow_count=14,
    servers=2,
    odd_ratio=0.25,
    ipv6_ratio=0.3,
    tcp_ratio=0.6,
    texts=(b"evil", REQUEST, b"POST / HTTP/1.1\r\nHost: bad.example\r\n\r\n"),
    text_ratio=0.3,
    server_ports=(80, 443, 53),
    small_ratio=0.9,
)


def timed_frames(seed: int, count: int) -> list[tuple[int, bytes]]:
    """Return traffic in which all of the above happens."""
    return list(TrafficSource(MIX, seed).timed(count, 2000.0))
