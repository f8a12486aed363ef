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


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What an import did, or would do."""

    created: int
    updated: int
    unchanged: int


def devices_to_csv(devices: Iterable[Device]) -> str:
    """Return devices as CSV; roles are separated by spaces. A leading = + - @ is quoted against spreadsheets."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for device in devices:
        note = device.note
        if note.startswith(("=", "+", "-", "@", "\t")):
            note = "'" + note
        writer.writerow([device.name, device.site.name, device.kind, " ".join(device.roles), note])
    return out.getvalue()


def csv_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV text.

    Raises:
        InvalidInputError: a column is missing or unknown, or there are too many rows.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    header = tuple(reader.fieldnames or ())
    if missing := [name for name in ("name", "site", "kind") if name not in header]:
        raise InvalidInputError(
            "header", f"the columns {', '.join(missing)} are missing; known: {', '.join(COLUMNS)}"
        )
    if unknown := [name for name in header if name not in COLUMNS]:
        raise InvalidInputError(
            "header", f"unknown columns {', '.join(map(repr, unknown))}; known: {', '.join(COLUMNS)}"
        )
    rows: list[dict[str, str]] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise InvalidInputError(f"line {reader.line_num}", f"must have {len(header)} columns")
            rows.append(row)
            if len(rows) > MAX_ROWS:
                raise InvalidInputError("rows", f"must be at most {MAX_ROWS} in one import")
    except csv.Error as error:
        raise InvalidInputError(f"line {reader.line_num}", f"is not CSV: {error}") from error
    return rows


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
        for index, row in enumerate(rows):
            try:
                counts[_device_from_row(row, sites, known, actor)] += 1
            except InvalidInputError as error:
                faults.append(f"line {index + 2} {error}")
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
        raise InvalidInputError("site", f"{row['site']!r} is not a site; create it first")
    device = known.get(row["name"]) or Device(name=row["name"])
    wanted = {"site": site, "kind": row["kind"]}
    if "roles" in row:
        wanted["roles"] = row["roles"].split()
    if "note" in row:
        wanted["note"] = (
            row["note"].removeprefix("'") if row["note"][:2] in {"'=", "'+", "'-", "'@"} else row["note"]
        )
    is_new = device.pk is None
    if not is_new and all(getattr(device, name) == value for name, value in wanted.items()):
        return "unchanged"
    for name, value in wanted.items():
        setattr(device, name, value)
    known[row["name"]] = entity_save(entity=device, actor=actor)
    return "created" if is_new else "updated"
