"""The contract of benchmark rows."""

import json

import pytest

from nfvportal.bench.rows import Row, format_table


@pytest.mark.parametrize(
    ("value", "goal", "better", "ok"),
    [
        (60.0, 60.0, "lower", True),
        (60.1, 60.0, "lower", False),
        (5.0, 5.0, "higher", True),
        (4.9, 5.0, "higher", False),
        (None, 5.0, "lower", False),
        (4.9, None, "lower", None),
    ],
)
def test_verdict_compares_value_with_goal(
    value: float | None, goal: float | None, better: str, ok: bool | None
) -> None:
    row = Row("figure", value, "ms", goal, better)  # type: ignore[arg-type]
    assert row.ok is ok
    assert json.loads(json.dumps(row.as_json()))["ok"] is ok


def test_table_shows_every_row_and_marks_a_miss() -> None:
    table = format_table([Row("a", 1.0, "ms", 2.0), Row("longer name", 3.0, "ms", 2.0, spread=(1.0, 4.0))])
    lines = table.splitlines()
    assert len(lines) == 3
    assert "yes" in lines[1]
    assert "NO" in lines[2]
    assert "1 .. 4" in lines[2]
