"""Locks and set-up: hashed, without any host name, complete."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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


def load_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "setup_script", ROOT / "nfvportal" / "supervise" / "setup.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_python_without_venv_says_which_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    setup = load_setup()
    monkeypatch.setattr(setup, "VENV", tmp_path / "venv")
    monkeypatch.setattr(setup, "VENV_PYTHON", tmp_path / "venv" / "bin" / "python")
    monkeypatch.setattr(setup, "is_debian_root", lambda: False)
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(setup.SetupError, match=r"apt-get install python3(\.\d+)?-venv"):
        setup.venv_ensure()


def test_missing_tools_say_what_will_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = load_setup()
    monkeypatch.setattr(setup, "tool_path", lambda: str(tmp_path))
    monkeypatch.setattr(setup, "is_debian_root", lambda: False)
    setup.tools_ensure(setup.SYSTEM_TOOLS)
    setup.chromium_ensure()
    said = capsys.readouterr().out
    assert "Missing: iproute2. Without it, the lab" in said
    assert "Missing: chromium. Without it, browser tests are skipped" in said
    assert "apt-get install util-linux" in said


def test_services_of_packages_are_not_started_and_the_policy_goes_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setup = load_setup()
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(setup, "POLICY", policy)

    def failing_install() -> None:
        with setup.services_denied():
            assert subprocess.run([policy], check=False).returncode == 101, "what invoke-rc.d takes for a no"
            raise ValueError("apt failed")

    with pytest.raises(ValueError, match="apt"):
        failing_install()
    assert not policy.exists()
    policy.write_text(setup.POLICY_TEXT)
    with setup.services_denied():
        pass
    assert not policy.exists(), "left by a set-up that was killed"
    policy.write_text("the machine's own")
    with setup.services_denied():
        pass
    assert policy.read_text() == "the machine's own"


def test_stamp_holds_for_one_input_only(tmp_path: Path) -> None:
    setup = load_setup()
    lock = tmp_path / "lock.txt"
    lock.write_text("a==1")
    stamp = tmp_path / "stamp"
    assert not setup.is_stamped(stamp, setup.digest(lock))
    stamp.write_text(setup.digest(lock))
    assert setup.is_stamped(stamp, setup.digest(lock))
    lock.write_text("a==2")
    assert not setup.is_stamped(stamp, setup.digest(lock))


def test_engines_are_compiled_once_and_anew_when_a_source_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = load_setup()
    engine = tmp_path / "apps" / "demo" / "engine"
    engine.mkdir(parents=True)
    (engine / "warming.py").write_text("print('warm')")
    monkeypatch.setattr(setup, "CHECKOUT", tmp_path)
    monkeypatch.setattr(setup, "VENV", tmp_path)
    monkeypatch.setattr(setup, "VENV_PYTHON", sys.executable)

    def said() -> str:
        setup.engines_ensure()
        return str(capsys.readouterr().out)

    assert "compiled loops of demo ..." in said()
    assert said() == ""
    (engine / "loop.py").write_text("")
    assert "compiled loops of demo ..." in said()
    (engine / "loop.py").write_text("x = 1")
    (engine / "warming.py").write_text("raise OSError('no place')")
    assert "Going on: the first use of demo compiles them." in said()
    assert "no place" in said(), "it was not stamped"


def test_failed_step_shows_the_end_of_what_it_said() -> None:
    setup = load_setup()
    with pytest.raises(setup.SetupError, match=r"(?s)no route.*fetching failed \(exit code 4\). Try later"):
        setup.run(["sh", "-c", "echo no route; exit 4"], "fetching", "Try later")


def test_wrong_use_is_told() -> None:
    answer = subprocess.run(
        ["sh", str(ROOT / "nfvportal" / "supervise" / "setup.sh"), "nonsense"], text=True, capture_output=True
    )
    assert answer.returncode == 2
    assert "run|test|lock|clean" in answer.stderr
