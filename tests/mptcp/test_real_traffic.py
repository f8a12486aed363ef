"""Real Multipath TCP in namespaces: the truth of the sockets, the recording, and what we and the live sensors find."""

import io
import json

import numpy as np
import pytest

from apps.mptcp.engine.associator import associate
from apps.mptcp.engine.capture import CaptureDecoder, read_capture
from apps.mptcp.engine.records import Has
from tests.support.mptcp_packets_file import PacketsFile
from tests.support.mptcp_score import Truth, score_connections
from tests.support.mptcp_traffic import Recording, TrafficPlan, record_traffic, why_no_traffic

pytestmark = [pytest.mark.lab, pytest.mark.slow]
PLAN = TrafficPlan(connection_count=12, duration_s=4.0, watch_ratio=0.05)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A few seconds of a dozen connections."""
    if reason := why_no_traffic():
        pytest.skip(f"no traffic: {reason}")
    return record_traffic(tmp_path_factory.mktemp("mptcp"), PLAN)


def test_the_recording_is_whole_and_has_all_that_can_happen(recording: Recording) -> None:
    assert recording.facts["packets"]["dropped"] == 0
    counts: dict[int, int] = {}
    for subflow in recording.subflows:
        counts[subflow.connection] = counts.get(subflow.connection, 0) + 1
    assert len(counts) == 13
    assert min(counts.values()) >= 3
    decoder = CaptureDecoder()
    has = 0
    for records in read_capture(io.BytesIO(recording.capture.read_bytes()), decoder=decoder):
        has |= int(np.bitwise_or.reduce(records.has))
        assert int(records.payload_bytes.max()) <= 1460, (
            "what left the host is what was on the wire: no offloads"
        )
    wanted = Has.CAPABLE | Has.JOIN | Has.DSN_64 | Has.DATA_FIN | Has.ADD_ADDR | Has.REMOVE_ADDR | Has.PRIO
    assert has & wanted == wanted
    report = decoder.report
    assert (report.packet_count, report.is_broken, report.is_cut) == (
        recording.facts["packets"]["count"], False, False,
    )  # fmt: skip
    assert report.malformed_count == 0


def test_the_links_together_are_the_whole(recording: Recording) -> None:
    parts = [PacketsFile(path) for path in recording.captures]
    whole = PacketsFile(recording.capture)
    assert sum(map(len, parts)) == len(whole)
    assert np.all(np.diff(whole.times_s) >= 0)


def test_with_all_packets_the_connections_are_those_of_the_sockets(recording: Recording) -> None:
    connections = associate(read_capture(io.BytesIO(recording.capture.read_bytes()))).connections()
    found = score_connections(connections, Truth(recording))
    assert (found.recall, found.precision, found.exact_ratio) == (1.0, 1.0, 1.0)
    assert (found.unseen_ratio, found.unknown_count) == (0.0, 0)


def test_sensors_beside_it_find_siblings_while_it_runs(recording: Recording) -> None:
    told = json.loads((recording.capture.parent / "watch.json").read_text())
    lost = [count for name, count in told["counts"].items() if name != "records"]
    assert lost == [0] * 6
    share = told["counts"]["records"] / recording.facts["packets"]["count"]
    assert 0.035 < share < 0.065
    found = [subflow for subflow in told["subflows"] if subflow["found_s"] is not None]
    assert len(found) > 20


def test_copies_of_a_recording_are_other_connections(recording: Recording) -> None:
    packets = PacketsFile(recording.capture)
    connections = associate(read_capture(io.BytesIO(packets.multiplied(3)))).connections()
    alone = associate(read_capture(io.BytesIO(packets.data))).connections()
    sizes = sorted(len(connection.subflows) for connection in alone)
    assert sorted(len(connection.subflows) for connection in connections) == sorted(3 * sizes)
