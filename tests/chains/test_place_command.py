"""``manage.py chain place``: many chains in files, placed without portal and database."""

import json
from pathlib import Path

import pytest

from apps.chains.chain_file import ChainFileError
from apps.chains.engine.placement import Placement
from apps.chains.placement_file import FileProblem, files_place, placement_file_read, placement_task
from apps.chains.placement_json import before_from_json, placement_lines, placement_to_json
from nfvportal.lib.errors import InvalidInputError
from tests.chains.engine.placement_twin import assert_valid_placement
from tests.chains.test_command import run

MANY = """\
servers:
  - {name: a, cores: 4}
  - {name: b, cores: 4, link_bps: 1_000_000_000}
chains:
  - name: web
    rate_pps: 20000
    slo_p99_ms: 1
    weight: 3
    nfs:
      - {name: monitor, type: monitor}
      - {name: firewall, type: firewall}
  - name: mail
    rate_pps: 5000
    nfs:
      - {name: firewall, type: firewall}
      - {name: ids, type: ids}
"""


def test_a_list_of_chains_is_placed(tmp_path: Path) -> None:
    placement = json.loads(run(tmp_path, "place", "--json", text=MANY))
    assert {row["name"] for row in placement["chains"]} == {"web", "mail"}
    assert (placement["gaps"]["missed"], placement["gaps"]["crossed"]) == (0, 0)
    assert [row["name"] for row in placement["servers"]] == ["a", "b"]
    before = tmp_path / "before.json"
    before.write_text(json.dumps(placement))
    words = run(tmp_path, "place", "--previous", str(before), text=MANY)
    assert "moved       0 buckets, 1024 stayed" in words
    assert "web: " in words
    assert "target 1 ms" in words


def test_servers_may_be_named_on_the_line(tmp_path: Path) -> None:
    words = run(tmp_path, "place", "--servers", "tiny:0.5", text=MANY, code=1)
    assert "web: REFUSED (capacity): An instance of monitor owns 1 cores, and no server has as many." in words
    assert "--servers[0]: must be NAME:CORES" in run(
        tmp_path, "place", "--servers", "tiny", text=MANY, code=1
    )
    assert "--servers[0].cores" in run(tmp_path, "place", "--servers", "tiny:0", text=MANY, code=1)


def test_several_files_are_placed_together(tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    other.write_text("name: dns\nrate_pps: 100\nnfs: [{name: fw, type: firewall}]\n")
    placement = json.loads(run(tmp_path, "place", str(other), "--json", text=MANY))
    assert {row["name"] for row in placement["chains"]} == {"web", "mail", "dns"}
    other.write_text("name: web\nrate_pps: 100\nnfs: [{name: fw, type: firewall}]\n")
    words = run(tmp_path, "place", str(other), text=MANY, code=1)
    assert "other.yml:1: name: must be unique; web came before" in words


@pytest.mark.parametrize(
    ("change", "line", "field"),
    [
        (("rate_pps: 5000", "rate_pps: -1"), 13, "chains[1].rate_pps"),
        (("type: ids", "type: unknown"), 16, "chains[1].nfs[1].type"),
        (("weight: 3", "weight: 0"), 8, "chains[0].weight"),
        (("weight: 3", "wait: 3"), 8, "chains[0].wait"),
        (("cores: 4}", "cores: 0}"), 2, "servers[0].cores"),
        (("chains:", "instance_cores: 2\nchains:"), 4, "instance_cores"),
    ],
)
def test_errors_name_line_and_field(change: tuple[str, str], line: int, field: str) -> None:
    text = MANY.replace(change[0], change[1], 1)
    with pytest.raises((ChainFileError, FileProblem)) as caught:
        placement_task([placement_file_read(Path("f.yml"), text)])
    error = caught.value.error if isinstance(caught.value, FileProblem) else caught.value
    assert isinstance(error, ChainFileError)
    assert (error.line, error.field) == (line, field)


def test_json_keeps_who_was_where() -> None:
    task = placement_task([placement_file_read(Path("f.yml"), MANY)])
    answer = files_place(task, None, 0.0)
    assert isinstance(answer, Placement)
    assert_valid_placement(task, answer)
    content = json.loads(json.dumps(placement_to_json(answer, task), allow_nan=False))
    again = files_place(task, before_from_json("previous", content), 0.0)
    assert isinstance(again, Placement)
    assert (again.moved_buckets, again.kept_buckets) == (0, 4 * 256)
    assert sum(1 for _ in placement_lines(content)) > 8


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"kind": "plan"}, {"kind": "placement"}, {"kind": "placement", "instances": [1], "chains": []},
        {"kind": "placement", "instances": [{"kind": "k", "server": "s", "number": "x"}], "chains": []},
        {"kind": "placement", "instances": [], "chains": [{"name": "c"}]},
        {"kind": "placement", "instances": [], "chains": [{"name": "c", "nfs": [{"name": "n", "runs": [[0, 1]]}]}]},
        {"kind": "placement", "instances": [], "chains": [{"name": "c", "nfs": [{"name": "n", "runs": 7}]}]},
    ],
)  # fmt: skip
def test_what_is_no_placement_is_refused(data: object) -> None:
    with pytest.raises(InvalidInputError):
        before_from_json("previous", data)
