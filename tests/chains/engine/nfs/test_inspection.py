"""Signature detection and URL filter: what is found, what only looks like it, and flows after a find."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.chains.engine.nfs.ids import SignatureDetector
from apps.chains.engine.nfs.url_filter import UrlFilter, http_target, tls_server_name
from tests.chains.engine.nfs.making import packet


def detector(*patterns: str, is_blocking: bool = False, **more: object) -> SignatureDetector:
    signatures = [{"name": one, "pattern": one, **more} for one in patterns]
    return SignatureDetector({"signatures": signatures}, is_blocking=is_blocking)


def feed(nf: SignatureDetector, *payloads: bytes, src_port: int = 1000) -> list[bool]:
    return [nf.process(packet("10.0.0.1", "1.1.1.1", src_port, 80, payload), 0) for payload in payloads]


def test_overlapping_signatures_are_all_found() -> None:
    nf = detector("abcd", "bc", "cde")
    feed(nf, b"xxabcdexx")
    assert {name: nf.counters[f"alert:{name}"] for name in ("abcd", "bc", "cde")} == {
        "abcd": 1,
        "bc": 1,
        "cde": 1,
    }


def test_a_pattern_split_over_packets_is_found_once_and_in_its_flow_alone() -> None:
    nf = detector("attack")
    feed(nf, b"..att")
    feed(nf, b"ack", src_port=2000)
    assert nf.counters["alerts"] == 0
    feed(nf, b"ack..")
    feed(nf, b"..")
    assert nf.counters["alerts"] == 1


@pytest.mark.parametrize("count", [3, 40])
def test_random_patterns_equal_the_twin(count: int) -> None:
    """Few patterns are searched one by one, many through one expression; the twin looks at every position."""
    rng = random.Random(count)
    for _ in range(30):
        patterns = sorted({"".join(rng.choices("ab", k=rng.randrange(1, 8))) for _ in range(count)})
        nf = detector(*patterns)
        payloads = ["".join(rng.choices("abc", k=rng.randrange(12))) for _ in range(4)]
        stream = "".join(payloads)
        feed(nf, *(one.encode() for one in payloads))
        ends = [sum(map(len, payloads[: k + 1])) for k in range(4)]
        for pattern in patterns:
            hits = {
                next(k for k, end in enumerate(ends) if at + len(pattern) <= end)
                for at in range(len(stream))
                if stream.startswith(pattern, at)
            }
            assert nf.counters[f"alert:{pattern}"] == len(hits), (patterns, payloads, pattern)


def test_the_passive_one_passes_the_active_one_blocks_from_then_on() -> None:
    assert feed(detector("evil"), b"ok", b"evil", b"ok") == [True, True, True]
    active = detector("evil", is_blocking=True)
    assert feed(active, b"ok", b"evil", b"ok") == [True, False, False]
    assert feed(active, b"ok", src_port=2000) == [True]


def test_conditions_of_a_signature() -> None:
    assert feed(detector("evil", is_blocking=True, dst_port=[443]), b"evil") == [True]
    assert feed(detector("evil", is_blocking=True, proto="udp"), b"evil") == [True]


def hello(name: bytes) -> bytes:
    """Return a TLS ClientHello with one server name (RFC 8446 section 4.1.2, RFC 6066 section 3)."""
    entry = b"\0" + struct.pack("!H", len(name)) + name
    names = struct.pack("!H", len(entry)) + entry
    extensions = struct.pack("!HH", 10, 2) + b"\0\0" + struct.pack("!HH", 0, len(names)) + names
    body = (
        b"\x03\x03"
        + bytes(32)
        + b"\x04sess"
        + b"\0\x02\x13\x01"
        + b"\x01\0"
        + struct.pack("!H", len(extensions))
        + extensions
    )
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


@pytest.mark.parametrize(
    ("payload", "target"),
    [
        (b"GET / HTTP/1.1\r\nHost: A.example.\r\n\r\n", ("a.example", "/")),
        (b"POST /x HTTP/1.0\r\nAccept: */*\r\nhost:a.example:8080\r\n\r\n", ("a.example", "/x")),
        (b"GET http://a.example/y HTTP/1.1\r\nHost: b.example\r\n\r\n", ("a.example", "/y")),
        (b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", ("a.example", "/")),
        (b"GET / HTTP/1.1\r\n\r\n", None),
        (b"GET /\r\n", None),
        (b"FETCH / HTTP/1.1\r\nHost: a.example\r\n\r\n", None),
    ],
)
def test_targets_of_requests(payload: bytes, target: tuple[str, str] | None) -> None:
    assert http_target(payload) == target


def test_server_names_of_greetings() -> None:
    assert tls_server_name(hello(b"Secret.Example")) == "secret.example"
    assert tls_server_name(b"\x17" + hello(b"a")[1:]) is None


@given(st.binary(max_size=120), st.integers(0, 120))
def test_no_bytes_raise(noise: bytes, at: int) -> None:
    greeting = hello(b"secret.example")
    for payload in (noise, greeting[:at] + noise, b"GET " + noise):
        http_target(payload)
        tls_server_name(payload)


def test_blocked_hosts_and_paths() -> None:
    nf = UrlFilter({"blocked": ["*.ads.example", "news.example/private"]})
    for host, path, is_refused in (
        ("ads.example", "/", True),
        ("x.y.ads.example", "", True),
        ("bads.example", "/", False),
        ("news.example", "/private/1", True),
        ("www.news.example", "/private", True),
        ("news.example", "/public", False),
        ("news.example", "", False),
    ):
        assert nf.is_refused(host, path) == is_refused, (host, path)


def test_a_blocked_flow_stays_blocked() -> None:
    nf = UrlFilter({"blocked": ["bad.example"]})
    payloads = (b"", hello(b"bad.example"), b"more")
    assert [nf.process(packet("10.0.0.1", "1.1.1.1", 5, 443, one), 0) for one in payloads] == [
        True,
        False,
        False,
    ]
    assert nf.process(packet("10.0.0.1", "1.1.1.1", 6, 443, b"more"), 0)
