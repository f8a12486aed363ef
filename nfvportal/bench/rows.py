"""The one shape of a benchmark's result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure beside its goal.

    Args:
        figure: what was measured, a stable name.
        value: the measured value in ``unit`` (the median where ``n`` > 1); ``None`` when it could not be measured.
        unit: e.g. ``ms``, ``Mbit/s``, ``ratio``, ``count``.
        goal: the value to reach; ``None`` for a figure that is only context.
        better: whether lower or higher values are better.
        n: number of repetitions behind ``value``.
        spread: (lowest, highest) over the repetitions, or ``None``.
        detail: free facts that help to read the figure: percentiles, counts, conditions.
    """

    figure: str
    value: float | None
    unit: str
    goal: float | None = None
    better: Better = "lower"
    n: int = 1
    spread: tuple[float, float] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool | None:
        """Whether the goal is met; ``None`` for a figure without a goal."""
        if self.goal is None:
            return None
        if self.value is None:
            return False
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    def as_json(self) -> dict[str, Any]:
        """Return the row as the JSON object that ``manage.py bench --json`` prints."""
        return {
            "figure": self.figure,
            "value": self.value,
            "unit": self.unit,
            "goal": self.goal,
            "better": self.better,
            "ok": self.ok,
            "n": self.n,
            "spread": list(self.spread) if self.spread else None,
            "detail": dict(self.detail),
        }


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What the person at the command line asked for.

    Args:
        quick: shorter runs that prove the suite works; each row must say so in ``detail``.
        seed: seed of every random choice, printed with the result.
        repetitions: per case, or ``None`` for the suite's own default.
    """

    quick: bool = False
    seed: int = 1
    repetitions: int | None = None


def format_table(rows: Sequence[Row]) -> str:
    """Return rows as an aligned table for people."""
    cells = [("figure", "value", "unit", "goal", "ok", "n", "spread")]
    for row in rows:
        spread = f"{row.spread[0]:g} .. {row.spread[1]:g}" if row.spread else ""
        goal = "" if row.goal is None else f"{'<=' if row.better == 'lower' else '>='} {row.goal:g}"
        value = "-" if row.value is None else f"{row.value:.4g}"
        verdict = {True: "yes", False: "NO", None: ""}[row.ok]
        cells.append((row.figure, value, row.unit, goal, verdict, str(row.n), spread))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
