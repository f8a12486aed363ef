"""Compiled functions: kept between processes where that is possible, and never older than their source."""

import importlib
import inspect
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

from apps.mptcp import engine
from apps.mptcp.engine.compiling import watched_files

ROOT = Path(__file__).resolve().parents[3]
MODULES = [module.name for module in pkgutil.walk_packages(engine.__path__, f"{engine.__name__}.")]
SOURCE = """
from apps.mptcp.engine.compiling import compiled, inlined

@inlined
def doubled(value):
    return value * 2

@compiled
def times_four(value):
    return doubled(doubled(value))

print(times_four(4), sum(times_four.stats.cache_hits.values()), sum(times_four.stats.cache_misses.values()))
"""
# Root may write everywhere unless it gives that up.
UNPRIVILEGED = (
    "setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search",
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_what_is_kept_depends_on_watched_files_only(name: str) -> None:
    """What is kept is stale when the function's own file changes, or a watched one: its callees must be there."""
    module = importlib.import_module(name)
    own = [
        one for _, one in inspect.getmembers(module) if isinstance(one, Dispatcher) and one.__module__ == name
    ]
    called = {
        other: getattr(module, other).__module__
        for one in own
        for other in one.py_func.__code__.co_names
        if isinstance(getattr(module, other, None), Dispatcher)
    }
    watched = {f"{engine.__name__}.{path.stem}" for path in watched_files()}
    assert {other: place for other, place in called.items() if place not in {name, *watched}} == {}


def test_the_rule_above_has_something_to_look_at() -> None:
    kernel = importlib.import_module("apps.mptcp.engine.frame_kernel")
    assert "read_frame" in kernel.read_frames.py_func.__code__.co_names


def run(directory: Path, home: Path, prefix: tuple[str, ...] = (), root: Path = ROOT) -> str:
    """Run the source above in a process of its own; return what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA")}
    environment |= {"HOME": str(home), "PYTHONPATH": f"{root}:{directory}"}
    environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", "import quadrupling"],
        cwd=directory, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_machine_code_is_kept_beside_the_source_or_at_home_or_not_at_all(tmp_path: Path) -> None:
    is_root = os.geteuid() == 0
    if is_root and shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing: root cannot be kept from writing")
    prefix = UNPRIVILEGED if is_root else ()
    source, home = tmp_path / "source", tmp_path / "home"
    source.mkdir()
    home.mkdir()
    (source / "quadrupling.py").write_text(SOURCE)
    assert run(source, home) == "16 0 1"
    assert run(source, home) == "16 1 0"
    shutil.rmtree(source / "__pycache__")
    source.chmod(0o555)
    assert run(source, home, prefix) == "16 0 1"
    assert run(source, home, prefix) == "16 1 0"
    shutil.rmtree(home / ".cache")
    home.chmod(0o555)
    assert run(source, home, prefix) == "16 0 1"
    assert run(source, home, prefix) == "16 0 1"


@pytest.mark.slow
def test_machine_code_is_stale_when_a_kernel_changes(tmp_path: Path) -> None:
    copy = tmp_path / "apps" / "mptcp" / "engine"
    copy.mkdir(parents=True)
    for package in (copy, copy.parent, copy.parent.parent):
        (package / "__init__.py").touch()
    shutil.copy(ROOT / "apps/mptcp/engine/compiling.py", copy)
    (copy / "halving_kernel.py").write_text(SOURCE.partition("@compiled")[0].replace("doubled", "scaled"))
    (tmp_path / "quadrupling.py").write_text(
        SOURCE.partition("@inlined")[0]
        + "from apps.mptcp.engine.halving_kernel import scaled as doubled\n@compiled"
        + SOURCE.partition("@compiled")[2]
    )
    assert run(tmp_path, tmp_path, root=tmp_path) == "16 0 1"
    assert run(tmp_path, tmp_path, root=tmp_path) == "16 1 0"
    kernel = copy / "halving_kernel.py"
    kernel.write_text(kernel.read_text().replace("* 2", "* 30"))
    assert run(tmp_path, tmp_path, root=tmp_path) == "3600 0 1"
