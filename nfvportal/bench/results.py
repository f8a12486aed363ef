"""The last result of each suite, kept in the state directory for ``make paper``."""

import json
from pathlib import Path
from typing import Any


def result_write(state: Path, suite: str, line: str) -> None:
    """Keep one suite's JSON line."""
    folder = state / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{suite}.json").write_text(line + "\n")


def result_read(state: Path, suite: str) -> dict[str, Any] | None:
    """Return a suite's last result; ``None`` when it never ran here."""
    try:
        result: dict[str, Any] = json.loads((state / "bench" / f"{suite}.json").read_text())
    except FileNotFoundError:
        return None
    return result
