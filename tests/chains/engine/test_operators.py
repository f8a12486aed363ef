"""Operator tables as JSON: what is written is read, what is broken is refused by field."""

from copy import deepcopy
from typing import Any

import pytest

from apps.chains.engine.chain import Chain, NfInstance, ServiceTime
from apps.chains.engine.compile import compile_plan
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Copy, Nf, Parallel, Series
from apps.chains.engine.operators import operator_table_from_json, operator_table_to_json
from apps.chains.engine.profiles import ActionProfile
from nfvportal.lib.errors import InvalidInputError

WRITER = ActionProfile(writes=frozenset({Field.IP_DST}))
CHAIN = Chain(
    "c",
    tuple(
        NfInstance(f"nf{i}", "x", WRITER if i == 1 else ActionProfile(), ServiceTime(1.0)) for i in range(3)
    ),
    10.0,
)
ROOT = Series((Parallel((Nf(0, "s1"), Nf(1, "s2")), (Copy.SHARED, Copy.FULL), "s1"), Nf(2, "s2")))


def _table() -> dict[str, Any]:
    return operator_table_to_json(compile_plan(CHAIN, ROOT))


def test_what_is_written_is_read() -> None:
    table = compile_plan(CHAIN, ROOT)
    assert operator_table_from_json(operator_table_to_json(table)) == table


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [(("first",), 0, "first"), (("first",), 99, "operators"), (("operators",), [], "operators"),
     (("operators", 0, "kind"), "teleport", "operators[0].kind"), (("operators", 0, "id"), True, "operators[0].id"),
     (("operators", 1, "id"), 1, "operators"), (("operators", 0, "server"), "", "operators[0].server"),
     (("operators", 0, "next"), [], "operators[0].next"), (("operators", 0), 5, "operators[0]"),
     (("operators", 0, "next", 0, "copy"), "half", "operators[0].next[0].copy"),
     (("operators", 0, "next", 0, "operator"), 77, "operators")],
)  # fmt: skip
def test_what_is_broken_is_refused_by_field(path: tuple[Any, ...], value: Any, field: str) -> None:
    data = deepcopy(_table())
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InvalidInputError) as refused:
        operator_table_from_json(data)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("name", "value"),
    [("base", 2), ("branch_count", 0), ("writes", [["ip_dst"]]), ("overlays", [["ip_dst", 7]])],
)
def test_broken_merge_rules_are_refused(name: str, value: Any) -> None:
    data = _table()
    row = next(row for row in data["operators"] if row["kind"] == "merge")
    row["merge"][name] = value
    with pytest.raises(InvalidInputError):
        operator_table_from_json(data)
