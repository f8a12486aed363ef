"""Locks and set-up: hashed, without any host name, complete."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("base", "dev", "node", "lock")


def pins(name: str) -> set[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {line.removesuffix(" \\") for line in text.splitlines() if re.match(r"[a-z0-9]", line)}


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash_and_no_lock_names_a_host(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text.split("\n", 2)[2])
    assert entries
    for entry in entries:
        assert "==" in entry
        assert "--hash=sha256:" in entry
    assert "://" not in text
    assert "index" not in re.sub(r"^[a-z0-9].*$", "", text, flags=re.MULTILINE)


def test_dev_holds_exactly_the_base_pins_and_more() -> None:
    assert pins("base") < pins("dev")


@pytest.mark.parametrize("name", LOCKS)
def test_psycopg_3_stays_out(name: str) -> None:
    # Django would prefer it silently.
    assert not [pin for pin in pins(name) if re.match(r"psycopg\b(?!2)", pin)]


def test_front_end_lock_has_hashes_and_no_addresses() -> None:
    text = (ROOT / "package-lock.json").read_text()
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert packages
    for entry in packages.values():
        assert entry["integrity"].startswith("sha512-")
        assert "resolved" not in entry
    assert not re.search(r"https?://(?!github\.com/sponsors|opencollective)", text)


def test_set_up_script_needs_the_standard_library_only() -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1], run_name='checked');"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    script = ROOT / "nfvportal" / "supervise" / "setup.py"
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(script)], check=True, text=True, capture_output=True
    )
    assert set(answer.stdout.split()) <= set(sys.stdlib_module_names) | {"__main__"}


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):.*##", makefile, flags=re.MULTILINE)
    answer = subprocess.run(["make", "-s", "help"], cwd=ROOT, check=True, text=True, capture_output=True)
    assert {line.split()[0] for line in answer.stdout.splitlines()} == set(targets)
    assert {"setup", "run", "test", "check", "bench", "paper", "clean"} <= set(targets)


def test_wrong_use_is_told() -> None:
    answer = subprocess.run(
        ["sh", str(ROOT / "nfvportal" / "supervise" / "setup.sh"), "nonsense"], text=True, capture_output=True
    )
    assert answer.returncode == 2
    assert "run|test|lock|clean" in answer.stderr
