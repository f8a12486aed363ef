"""The table's memory: it grows where it is, and by a copy only while somebody looks at it."""

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.subflow_table import SubflowTable


def filled(limit: int) -> SubflowTable:
    table = SubflowTable(limit)
    table.rows["id"] = np.arange(len(table.rows))
    table.used = len(table.rows)
    return table


def fill_up(table: SubflowTable) -> None:
    while table.grow():
        table.rows["id"][table.used :] = np.arange(table.used, len(table.rows))
        table.used = len(table.rows)


def assert_numbered(ids: NDArray[np.int64], count: int) -> None:
    np.testing.assert_array_equal(ids, np.arange(count))


def test_a_table_grows_to_its_limit_with_all_its_records() -> None:
    table = filled(5000)
    fill_up(table)
    assert_numbered(table.ids, 5000)
    assert not table.grow()


def test_new_records_are_blank() -> None:
    table = filled(600)
    table.grow()
    assert not table.rows[256:].tobytes().strip(b"\0")


def test_who_still_looks_at_the_records_keeps_them() -> None:
    table = filled(5000)
    before = table.rows
    fill_up(table)
    assert_numbered(before["id"], 256)
    assert_numbered(table.ids, 5000)


def test_growing_takes_no_second_table() -> None:
    """The map of pages is the same one: nothing was copied."""
    table = filled(5000)
    pages = table._pages
    fill_up(table)
    assert table._pages is pages
