"""``manage.py chain``: works on a file alone, without portal and database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource, write_pcap

ROOT = Path(__file__).resolve().parents[2]
FILE = """\
name: web-vpn
rate_pps: 2000
nfs:
  - {name: vpn, type: vpn, params: {key: "a secret of 16 letters"}}
  - {name: monitor, type: monitor}
  - {name: firewall, type: firewall}
  - {name: lb, type: load_balancer, params: {vip: 10.9.0.5, backends: [{address: 10.9.0.111}]}}
"""


def run(tmp_path: Path, *arguments: str, text: str = FILE, code: int = 0) -> str:
    """Run the command where no portal runs, and return what it printed (errors too)."""
    path = tmp_path / "chain.yml"
    path.write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    environment |= {"NFV_STATE_DIR": str(tmp_path), "NFV_RUN_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "manage.py", "chain", arguments[0], str(path), *arguments[1:]],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_plan_as_json_and_for_people(tmp_path: Path) -> None:
    plan = json.loads(run(tmp_path, "plan", "--json"))
    assert (plan["kind"], plan["chain"], len(plan["pairs"])) == ("plan", "web-vpn", 6)
    assert plan["prediction"]["p50_us"] < plan["sequential"]["p50_us"]
    words = run(tmp_path, "plan")
    assert words.startswith("hybrid      vpn@server-1 ; (monitor@server-1 | ")
    assert "firewall may drop packets" in words.lower() or "Firewall may drop" in words


def test_verify_runs_chain_and_plan_side_by_side(tmp_path: Path) -> None:
    report = json.loads(run(tmp_path, "verify", "--packets", "500", "--seed", "7", "--json"))
    assert report == {
        "chain": "web-vpn", "seed": 7, "packets": 500, "runs": 6, "made_up": [], "is_equal": True, "difference": None,
    }  # fmt: skip
    assert "outputs and states equal" in run(tmp_path, "verify", "--packets", "200")


def test_verify_takes_a_capture(tmp_path: Path) -> None:
    capture = tmp_path / "in.pcap"
    with capture.open("wb") as file:
        write_pcap(file, TrafficSource(TrafficMix(), seed=3).timed(120, 1000))
    report = json.loads(run(tmp_path, "verify", "--pcap", str(capture), "--json"))
    assert (report["packets"], report["is_equal"]) == (120, True)
    capture.write_bytes(b"no capture")
    assert "--pcap: must be a capture file" in run(tmp_path, "verify", "--pcap", str(capture), code=1)


@pytest.mark.parametrize("format_", ["yaml", "tosca", "networking-sfc"])
def test_export(format_: str, tmp_path: Path) -> None:
    text = run(tmp_path, "export", "--format", format_)
    assert "firewall" in text
    if format_ == "yaml":
        assert run(tmp_path, "export", text=text) == text


def test_export_of_rules_for_a_switch(tmp_path: Path) -> None:
    text = run(tmp_path, "export", "--format", "openflow")
    assert "Untested" in text
    assert "Nothing to do" in text, "all on one server"
    assert "--path: must be" in run(tmp_path, "export", "--format", "openflow", "--path", "0", code=1)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("rate_pps: 2000", "rate_pps: -1", "chain.yml:2: rate_pps: must be a number"),
     ("type: firewall", "type: nothing", "chain.yml:6: nfs[2].type: must be in the catalogue"),
     ("vip: 10.9.0.5", "vip: here", "chain.yml:7: nfs[3].params.vip: must be")],
)  # fmt: skip
def test_errors_name_file_line_and_field(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert words in run(tmp_path, "verify", text=FILE.replace(old, new), code=1)


def test_no_plan_is_said_with_its_witness_and_code_1(tmp_path: Path) -> None:
    text = FILE.replace("rate_pps: 2000", "rate_pps: 10000000")
    assert "no plan (capacity)" in run(tmp_path, "plan", text=text, code=1)
    assert json.loads(run(tmp_path, "plan", "--json", text=text, code=1))["kind"] == "infeasible"
