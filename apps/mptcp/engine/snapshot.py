"""A domain as bytes and back: a header in JSON, arrays in numpy's own format, a digest; nothing that could run.

``NFVMPTCP``, version, digest of the rest, then an uncompressed zip of arrays; one of them is the header.
"""

import hashlib
import io
import json
import struct
import zipfile
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.address_kernel import ANNOUNCED
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.evidence import EDGE
from apps.mptcp.engine.names_kernel import HOLDER, HOLDERS_USED
from apps.mptcp.engine.subflow_layout import SUBFLOW
from nfvportal.lib.errors import InvalidInputError

MAGIC: Final = b"NFVMPTCP"
VERSION: Final = 2
HEAD: Final = struct.Struct("<8sI32s")

Arrays = dict[str, NDArray[Any]]


def write(domain: Domain, extra: dict[str, int], more: Arrays) -> bytes:
    """Return a domain as bytes.

    Args:
        extra: numbers and more: arrays that ``read`` gives back.
    """
    table, groups = domain.table, domain.groups
    header = {
        "config": asdict(domain.config),
        "now_s": domain.now_s,
        "next_id": table.next_id,
        "observers": table.observers,
        "ended": sorted(domain.ended),
        "suspects": sorted(domain.suspects),
        "hosts": [[list(address) for address in group] for group in domain.hosts.groups.values()],
        "joins": domain.joins.as_json(),
        "extra": extra,
    }
    arrays: Arrays = {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "rows": table.rows[: table.used],
        "free": np.array(table.free, np.int32),
        "label": groups.label[: table.used],
        "following": groups.following[: table.used],
        "parity": groups.parity[: table.used],
        "edges": domain.edges.kept,
        "counts": domain.counts,
        "holders": domain.hard.holders[: domain.hard.counts[HOLDERS_USED]],
        "of_row": domain.hard.of_row[: table.used],
        "name_counts": domain.hard.counts,
        "announced": domain.hard.announced,
        "announced_of_row": domain.hard.announced_of_row[: table.used],
        "announced_counts": domain.hard.announced_counts,
    }
    buffer = io.BytesIO()
    arrays |= {f"more_{name}": array for name, array in more.items()}
    np.savez(buffer, allow_pickle=False, **arrays)
    body = buffer.getvalue()
    return HEAD.pack(MAGIC, VERSION, hashlib.sha256(body).digest()) + body


def read(data: bytes) -> tuple[Domain, dict[str, int], Arrays]:
    """Return the domain that ``write`` wrote, with ``extra`` and ``more``.

    Raises:
        InvalidInputError: not a snapshot, of another version, or damaged.
    """
    if len(data) < HEAD.size or data[:8] != MAGIC:
        raise InvalidInputError("snapshot", "must be a snapshot of an association domain")
    _, version, digest = HEAD.unpack_from(data)
    if version != VERSION:
        raise InvalidInputError("snapshot", f"must be of version {VERSION}, is of {version}")
    if hashlib.sha256(data[HEAD.size :]).digest() != digest:
        raise InvalidInputError("snapshot", "must be whole: its digest differs")
    try:
        with np.load(io.BytesIO(data[HEAD.size :]), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        return _domain(arrays)
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InvalidInputError("snapshot", f"must hold a domain's arrays: {error}") from error


def _domain(arrays: Arrays) -> tuple[Domain, dict[str, int], Arrays]:
    header = json.loads(arrays["header"].tobytes())
    for name, layout in (("rows", SUBFLOW), ("edges", EDGE), ("holders", HOLDER), ("announced", ANNOUNCED)):
        if arrays[name].dtype != layout:
            raise ValueError(f"the layout of its {name} is another")
    domain = Domain(AssociatorConfig(**header["config"]))
    used = len(arrays["rows"])
    table = domain.table
    while len(table.rows) < used:
        if not table.grow():
            raise ValueError("more subflows than its limit")
    table.rows[:used] = arrays["rows"]
    table.used, table.next_id, table.free = used, int(header["next_id"]), arrays["free"].tolist()
    for observer in header["observers"]:
        table.name_observer(int(observer))
    table.rehash()
    domain.hard.grow(len(table.rows))
    for name in ("label", "following", "parity"):
        getattr(domain.groups, name)[:used] = arrays[name]
    domain.edges.all = _records_like(EDGE, arrays["edges"], 64)
    domain.edges.count = len(arrays["edges"])
    domain.counts[:] = arrays["counts"]
    domain.now_s = float(header["now_s"])
    domain.ended, domain.suspects = set(header["ended"]), set(header["suspects"])
    for group in header["hosts"]:
        for address in group[1:]:
            domain.hosts.alias(tuple(group[0]), tuple(address))
    domain.joins.read_json(header["joins"])
    _restore_names(domain, arrays)
    return (
        domain,
        header["extra"],
        {name[5:]: array for name, array in arrays.items() if name.startswith("more_")},
    )


def _restore_names(domain: Domain, arrays: Arrays) -> None:
    hard = domain.hard
    hard.holders = _records_like(HOLDER, arrays["holders"], 256)
    hard.of_row[: len(arrays["of_row"])] = arrays["of_row"]
    hard.counts[:] = arrays["name_counts"]
    hard.announced = _records_like(ANNOUNCED, arrays["announced"], 64)
    hard.announced_of_row[: len(arrays["of_row"])] = arrays["announced_of_row"]
    hard.announced_counts[:] = arrays["announced_counts"]
    hard.rehash()


def _records_like(layout: np.dtype[np.void], loaded: NDArray[Any], room: int) -> NDArray[Any]:
    """Return loaded records, and at least so much room, in an array of our own layout.

    What numpy loads equals our layout but is not marked as aligned: to the compiler another type, for which it would
    compile everything again, a minute in which the domain stands still.
    """
    records = np.zeros(max(room, len(loaded)), layout)
    records[: len(loaded)] = loaded
    return records
