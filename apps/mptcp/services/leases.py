"""One writer per association domain: a lock of the database session, gone with the process that holds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection

LOCK_CLASS: Final = 0x6D70  # "mp", apart from other advisory locks


@contextmanager
def domain_lease(domain_id: int) -> Iterator[bool]:
    """Hold a domain while the block runs; yields ``False`` at once when another process holds it.

    A process that is killed loses its connection, and with it the lock, at once. Who lost it in another way, because
    the database was restarted, is told by the position it finds when it writes.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK_CLASS, domain_id])
        (is_held,) = cursor.fetchone()
    try:
        yield bool(is_held)
    finally:
        if is_held and connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_CLASS, domain_id])


def changes_lock() -> None:
    """Wait for our turn to number changes; held until the transaction ends, so that numbers appear in order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [LOCK_CLASS])
