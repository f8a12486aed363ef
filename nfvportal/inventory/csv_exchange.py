"""Devices as CSV, for spreadsheets and scripts: what is exported can be imported unchanged."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import transaction

from nfvportal.inventory.models import Device, Site
from nfvportal.inventory.services import Actor, entity_save
from nfvportal.lib.errors import InvalidInputError

COLUMNS = ("name", "site", "kind", "roles", "note")
MAX_ROWS = 10_000
MAX_ERRORS = 20
# A spreadsheet takes a text that begins so for a formula; ours begins with a quote then, as one does by hand.
RISKY_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What an import did, or would do."""

    created: int
    updated: int
    unchanged: int


def devices_to_csv(devices: Iterable[Device]) -> str:
    """Return devices as CSV; roles are separated by spaces. A note that looks like a formula begins with a quote."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for device in devices:
        note = f"'{device.note}" if device.note.startswith(RISKY_STARTS) else device.note
        writer.writerow([device.name, device.site.name, device.kind, " ".join(device.roles), note])
    return out.getvalue()


def csv_rows(text: str) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a CSV text, each with the number of the line that it ends on.

    Raises:
        InvalidInputError: a column is missing, unknown or there twice, a row has another number of fields than the
            header, or there are too many rows; names the line.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        header = tuple(reader.fieldnames or ())
        _check_header(header)
        rows: list[tuple[int, dict[str, str]]] = []
        for row in reader:
            if None in row or None in row.values():
                raise InvalidInputError(f"line {reader.line_num}", f"must have {len(header)} columns")
            rows.append((reader.line_num, row))
            if len(rows) > MAX_ROWS:
                raise InvalidInputError("rows", f"must be at most {MAX_ROWS} in one import")
    except csv.Error as error:
        raise InvalidInputError(f"line {reader.line_num + 1}", f"is not CSV: {error}") from error
    return rows


def _check_header(header: tuple[str, ...]) -> None:
    if missing := [name for name in ("name", "site", "kind") if name not in header]:
        raise InvalidInputError(
            "header", f"the columns {', '.join(missing)} are missing; known: {', '.join(COLUMNS)}"
        )
    if unknown := [name for name in header if name not in COLUMNS]:
        raise InvalidInputError(
            "header", f"unknown columns {', '.join(map(repr, unknown))[:200]}; known: {', '.join(COLUMNS)}"
        )
    if len(set(header)) < len(header):
        raise InvalidInputError("header", "must not name a column twice")


def devices_import(
    *,
    text: str,
    actor: Actor,
    is_dry_run: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportOutcome:
    """Create or update devices from CSV: all rows or none.

    Args:
        text: CSV with the columns of ``COLUMNS``; roles and note may be left out.
        actor: who the audit log names.
        is_dry_run: check everything, change nothing.
        progress: called with (rows done, rows in all).

    Raises:
        InvalidInputError: lists up to ``MAX_ERRORS`` faults with line and field; nothing was changed.
    """
    rows = csv_rows(text)
    sites = {site.name: site for site in Site.objects.all()}
    known = {device.name: device for device in Device.objects.select_related("site")}
    counts = {"created": 0, "updated": 0, "unchanged": 0}
    faults: list[str] = []
    with transaction.atomic():
        for index, (line, row) in enumerate(rows):
            try:
                counts[_device_from_row(row, sites, known, actor)] += 1
            except InvalidInputError as error:
                faults.append(f"line {line} {error}")
                if len(faults) >= MAX_ERRORS:
                    break
            progress(index + 1, len(rows))
        if faults:
            raise InvalidInputError("csv", "nothing was changed: " + "; ".join(faults))
        if is_dry_run:
            transaction.set_rollback(True)
    return ImportOutcome(**counts)


def _device_from_row(
    row: dict[str, str], sites: dict[str, Site], known: dict[str, Device], actor: Actor
) -> str:
    """Create or update one device; return ``created``, ``updated`` or ``unchanged``."""
    site = sites.get(row["site"])
    if site is None:
        raise InvalidInputError("site", f"{row['site'][:64]!r} is not a site; create it first")
    device = known.get(row["name"]) or Device(name=row["name"])
    wanted = {"site": site, "kind": row["kind"]}
    if "roles" in row:
        wanted["roles"] = row["roles"].split()
    if "note" in row:
        note = row["note"]
        wanted["note"] = note[1:] if note.startswith("'") and note[1:].startswith(RISKY_STARTS) else note
    is_new = device.pk is None
    if not is_new and all(getattr(device, name) == value for name, value in wanted.items()):
        return "unchanged"
    for name, value in wanted.items():
        setattr(device, name, value)
    known[row["name"]] = entity_save(entity=device, actor=actor)
    return "created" if is_new else "updated"
