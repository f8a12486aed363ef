"""After warming up nothing is left to compile."""

import importlib
import inspect
import pkgutil

from numba.core.dispatcher import Dispatcher

from apps.mptcp import engine
from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.capture import CaptureDecoder
from apps.mptcp.engine.warming import warm_up
from tests.support.mptcp_scene import capture_of, whole


def entries() -> dict[str, Dispatcher]:
    """Return compiled functions that no compiled one calls, by name: those that Python calls."""
    found, called = {}, set()
    for module in pkgutil.walk_packages(engine.__path__, f"{engine.__name__}."):
        own = importlib.import_module(module.name)
        for label, one in inspect.getmembers(own):
            if isinstance(one, Dispatcher) and one.__module__ == module.name:
                found[f"{module.name}.{label}"] = one
                others = (getattr(own, other, None) for other in one.py_func.__code__.co_names)
                called |= {
                    f"{other.__module__}.{other.py_func.__name__}"
                    for other in others
                    if isinstance(other, Dispatcher)
                }
    return {name: one for name, one in found.items() if name not in called}


def test_everything_that_python_calls_is_compiled_once() -> None:
    warm_up()
    assert len(entries()) > 10
    assert {name: len(one.signatures) for name, one in entries().items() if len(one.signatures) != 1} == {}


def test_restored_records_are_of_the_same_type_to_the_compiler() -> None:
    """Records that numpy loads are equal to ours, but not marked as aligned: all would be compiled again, live."""
    machine = Associator()
    for number in range(40):
        records = CaptureDecoder().feed(capture_of(whole(number, subflow_count=3)))
        machine.step(records, records.latest_us / 1e6)
    assert machine.domain.edges.count > 64, "more than an empty domain has room for"
    restored = Associator.restore(machine.snapshot())
    kinds = [
        [
            array.dtype.isalignedstruct
            for array in (each.table.rows, each.edges.all, each.hard.holders, each.hard.announced)
        ]
        for each in (machine.domain, restored.domain)
    ]
    assert kinds == [[True] * 4] * 2
    assert restored.connections() == machine.connections()
