"""The decoder against tshark on the same file: an oracle that nobody here wrote."""

import shutil
import subprocess
from pathlib import Path

import pytest

from apps.mptcp.engine.records import address_halves
from tests.mptcp.engine.decoding import capture_rows
from tests.support import mptcp_containers as make
from tests.support import mptcp_packets as packets
from tests.support.mptcp_containers import Seen

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

# tshark's field -> our column.
FIELDS = {
    "tcp.seq_raw": "seq",
    "tcp.ack_raw": "ack",
    "tcp.len": "payload_bytes",
    "tcp.options.mptcp.version": "version",
    "tcp.options.mptcp.sendkey": "key",
    "tcp.options.mptcp.recvkey": "peer_key",
    "tcp.options.mptcp.recvtok": "token",
    "tcp.options.mptcp.sendrand": "nonce",
    "tcp.options.mptcp.addrid": "address_id",
    "tcp.options.mptcp.rawdataack": "data_ack",
    "tcp.options.mptcp.rawdataseqno": "dsn",
    "tcp.options.mptcp.subflowseqno": "ssn",
    "tcp.options.mptcp.datalvllen": "map_bytes",
    "tcp.options.mptcp.port": "added_port",
}
KEY, PEER = 0x1122334455667788, 0x99AABBCCDDEEFF00
SEGMENTS = [
    packets.Segment(flags=packets.SYN, seq=9, options=packets.capable()),
    packets.Segment(flags=18, seq=10, ack=10, options=packets.capable(key=PEER)),
    packets.Segment(options=packets.capable(key=KEY, peer_key=PEER)),
    packets.Segment(flags=24, options=packets.capable(key=KEY, peer_key=PEER, map_bytes=3), payload=b"abc"),
    packets.Segment(flags=packets.SYN, options=packets.capable(0, key=KEY)),
    packets.Segment(flags=packets.SYN, options=packets.join_syn(0xCAFEBABE, 0x12345678, 3)),
    packets.Segment(flags=18, options=packets.join_syn_ack(0x87654321, 4)),
    packets.Segment(options=packets.join_ack()),
    packets.Segment(options=packets.dss(2**63 + 5, 8, 2**64 - 3, 8, 77, 4), payload=b"abcd"),
    packets.Segment(options=packets.dss(5, 4, 2**32 - 3, 4, 77, 4, checksum=True), payload=b"abcd"),
    packets.Segment(options=packets.dss(dsn=2**40, map_bytes=1, fin=True)),
    packets.Segment(options=packets.add_addr(5, "10.9.8.7", 8080)),
    packets.Segment(options=packets.add_addr(6, "2001:db8::77")),
    packets.Segment(options=packets.add_addr(7, "10.9.8.7", echo=True)),
    packets.Segment(options=packets.remove_addr(9)),
    packets.Segment(src="2001:db8::1", dst="2001:db8::2", options=packets.dss(1, 8), payload=b"x" * 100),
]


def shown(path: Path) -> list[list[str]]:
    """Return tshark's fields of each packet, and both possible addresses of ADD_ADDR."""
    names = [*FIELDS, "tcp.options.mptcp.ipv4", "tcp.options.mptcp.ipv6"]
    command = [
        "tshark",
        "-n",
        "-r",
        str(path),
        "-T",
        "fields",
        *(part for name in names for part in ("-e", name)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("link", ["ethernet", "qinq", "sll", "sll2", "raw", "ppp", "null"])
def test_fields_are_those_that_tshark_shows(tmp_path: Path, link: str) -> None:
    seen = []
    for index, segment in enumerate(SEGMENTS):
        number, data = packets.in_link(packets.ip_bytes(segment), link)
        seen.append(Seen(index, data, number))
    content = make.pcap(seen, link=seen[0].link)
    path = tmp_path / "capture.pcap"
    path.write_bytes(content)
    rows, _ = capture_rows(content)
    lines = shown(path)
    assert len(rows) == len(lines) == len(SEGMENTS)
    said = 0
    for row, line in zip(rows, lines, strict=True):
        for (field, column), text in zip(FIELDS.items(), line[: len(FIELDS)], strict=True):
            if text:
                said += 1
                assert int(text, 0) == row[column], field
        added = line[len(FIELDS)] or line[len(FIELDS) + 1]
        assert (row["added_hi"], row["added_lo"]) == (address_halves(added) if added else (0, 0))
    assert said > 4 * len(SEGMENTS)
