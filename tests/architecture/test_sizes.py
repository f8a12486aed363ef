"""Functions and files stay small enough to read."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LIMIT = 600
FUNCTION_LIMIT = 70
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "manager", "misc"}


def _sources() -> Iterator[Path]:
    for top in ("nfvportal", "apps", "tests"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in _sources()
        if (count := len(path.read_text().splitlines())) > FILE_LIMIT
    }
    assert long == {}


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LIMIT
    }
    assert long == {}


def test_no_file_without_a_subject() -> None:
    vague = [
        str(path.relative_to(ROOT))
        for path in _sources()
        if FORBIDDEN_NAMES & {path.stem, *path.parent.parts}
    ]
    assert vague == []


def test_library_stays_small() -> None:
    modules = [path for path in (ROOT / "nfvportal/lib").glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= 8
