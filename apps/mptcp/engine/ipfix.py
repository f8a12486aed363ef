"""IPFIX messages (PSAMP packet reports) with pieces of packets to records.

A machine whose state is the templates, per exporter and observation domain: the later template of a number replaces the
earlier, as over UDP; a withdrawn one is forgotten. Data of an unknown template are counted and passed over (over UDP
the template comes again). Pieces of packets are the information elements 313 (from the IP header on) and 315 (the
frame). Without an observation time the message's arrival counts.

Source: RFC 7011 sections 3 and 8, RFC 5477 section 8, RFC 7133.
"""

import struct
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from apps.mptcp.engine import frame_kernel as kernel
from apps.mptcp.engine.frames import FrameDecoder, FrameList
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.report import DecodeReport, with_counts

# Together half a million fields of about a hundred bytes, were all used: what an exporter gone mad can take.
DOMAINS_MAX: Final = 64
TEMPLATES_MAX: Final = 64
FIELDS_MAX: Final = 128
_TEMPLATE_SET, _OPTIONS_SET, _DATA_SETS = 2, 3, 256
_VARIABLE: Final = 0xFFFF
_IP_SECTION, _FRAME_SECTION, _FRAME_BYTES, _FRAME_TYPE, _IP_BYTES = 313, 315, 312, 408, 224
_SECONDS, _MILLISECONDS, _MICROSECONDS, _NANOSECONDS = 322, 323, 324, 325
_NUMBERS: Final = frozenset(
    {_FRAME_BYTES, _FRAME_TYPE, _IP_BYTES, _SECONDS, _MILLISECONDS, _MICROSECONDS, _NANOSECONDS}
)
_NTP_TO_UNIX_S: Final = 2_208_988_800
_TIME_US_MAX: Final = 1 << 62


class Field(NamedTuple):
    """One field of a template; ``element`` is 0 for those of enterprises."""

    element: int
    size: int


@dataclass(frozen=True, slots=True)
class Template:
    """Fields of a data record and the fewest bytes it takes; a record of options has no packet."""

    fields: tuple[Field, ...]
    size_min: int
    is_options: bool


class _CutShortError(Exception):
    """A length that leads out of the message, the set or the record."""


class IpfixDecoder:
    """Decodes messages of any exporters; counts what it could not read."""

    def __init__(self) -> None:
        self._frames = FrameDecoder()
        self._counts: Counter[str] = Counter()
        self._links: Counter[int] = Counter()
        self._byte_count = self._row_count = 0
        self._span: tuple[int, int] | None = None
        # Those heard last are kept, of domains as of templates.
        self._domains: OrderedDict[tuple[str, int], OrderedDict[int, Template]] = OrderedDict()

    def feed(self, message: bytes, exporter: str, at_us: int, observer: int = 0) -> PacketRecords:
        """Return the rows of one message.

        Args:
            exporter: who sent it: templates are its own. at_us: when it came; observer: the observation point it is.

        Complexity: O(bytes): each record and each field takes a byte at least.
        """
        self._byte_count += len(message)
        found = FrameList()
        try:
            self._read_message(message, exporter, at_us, found)
        except _CutShortError:
            self._counts["bad_message"] += 1
        if not len(found):
            return PacketRecords.zeros(0)
        self._links.update(found.links)
        table = found.table()
        low, high = int(table[:, kernel.TIME].min()), int(table[:, kernel.TIME].max())
        self._span = (
            (low, high) if self._span is None else (min(self._span[0], low), max(self._span[1], high))
        )
        records = self._frames.decode(np.frombuffer(message, np.uint8), table, observer)
        self._row_count += len(records)
        return records

    @property
    def template_count(self) -> int:
        """Templates held, of all exporters."""
        return sum(len(templates) for templates in self._domains.values())

    @property
    def report(self) -> DecodeReport:
        """What was found so far."""
        malformed, passed_over = with_counts(self._counts, self._frames)
        return DecodeReport.of_samples(
            "ipfix",
            self._frames,
            self._byte_count,
            self._row_count,
            malformed,
            passed_over,
            self._links,
            self._span,
        )

    def _read_message(self, data: bytes, exporter: str, at_us: int, found: FrameList) -> None:
        """Read the sets of a message in their order."""
        if len(data) < 16:
            raise _CutShortError
        version, size, _, _, domain = struct.unpack_from(">HHIII", data)
        if version != 10:
            self._counts["bad_version"] += 1
            return
        if not 16 <= size <= len(data):
            raise _CutShortError
        templates = self._templates(exporter, domain)
        position = 16
        while position + 4 <= size:
            kind, set_bytes = struct.unpack_from(">HH", data, position)
            if set_bytes < 4 or position + set_bytes > size:
                raise _CutShortError
            start, position = position + 4, position + set_bytes
            try:
                if kind in (_TEMPLATE_SET, _OPTIONS_SET):
                    self._read_templates(data, start, position, kind == _OPTIONS_SET, templates)
                elif kind >= _DATA_SETS and kind in templates:
                    self._read_data(data, start, position, templates[kind], at_us, found)
                else:
                    self._counts["unknown_template" if kind >= _DATA_SETS else "other_set"] += 1
            except _CutShortError:
                self._counts["bad_set"] += 1

    def _templates(self, exporter: str, domain: int) -> OrderedDict[int, Template]:
        """Return the templates of a domain; forget the domain that was silent longest when there are too many."""
        key = (exporter, domain)
        templates = self._domains.setdefault(key, OrderedDict())
        self._domains.move_to_end(key)
        if len(self._domains) > DOMAINS_MAX:
            self._domains.popitem(last=False)
        return templates

    def _read_templates(
        self, data: bytes, start: int, end: int, is_options: bool, templates: OrderedDict[int, Template]
    ) -> None:
        """Learn or forget the templates of a set."""
        head = 6 if is_options else 4
        while start + 4 <= end:
            number, count = struct.unpack_from(">HH", data, start)
            if number < _DATA_SETS and count:
                raise _CutShortError
            if count == 0:
                self._withdraw(number, templates)
                start += 4
                continue
            if start + head > end:
                raise _CutShortError
            template, start = _template(data, start + head, end, count, is_options)
            templates.pop(number, None)
            if template is None:
                self._counts["bad_template"] += 1
                continue
            templates[number] = template
            if len(templates) > TEMPLATES_MAX:
                templates.popitem(last=False)

    def _withdraw(self, number: int, templates: OrderedDict[int, Template]) -> None:
        """Forget one template, or all for the number of their set; 0 is padding."""
        if number in (_TEMPLATE_SET, _OPTIONS_SET):
            for known in [
                key for key, one in templates.items() if one.is_options == (number == _OPTIONS_SET)
            ]:
                del templates[known]
        else:
            templates.pop(number, None)

    def _read_data(
        self, data: bytes, start: int, end: int, template: Template, at_us: int, found: FrameList
    ) -> None:
        """Note the frames of a data set's records."""
        if template.is_options:
            self._counts["options_record"] += 1
            return
        while start + template.size_min <= end:
            section: tuple[int, int, int] | None = None
            numbers: dict[int, int] = {}
            for element, size in template.fields:
                if size == _VARIABLE:
                    start, size = _variable(data, start, end)
                if start + size > end:
                    raise _CutShortError
                if element in (_IP_SECTION, _FRAME_SECTION) and section is None:
                    section = (element, start, size)
                elif element in _NUMBERS and size <= 8:
                    numbers[element] = int.from_bytes(data[start : start + size], "big")
                start += size
            if section is None:
                self._counts["no_packet_section"] += 1
            else:
                self._note_frame(section, numbers, at_us, found)

    def _note_frame(
        self, section: tuple[int, int, int], numbers: dict[int, int], at_us: int, found: FrameList
    ) -> None:
        """Note the frame or packet of one record."""
        element, start, size = section
        at_us = _time_us(numbers, at_us)
        if element == _IP_SECTION:
            wire = numbers.get(_IP_BYTES, size)
            found.add(start, size, min(wire, 0xFFFFFFFF), kernel.RAW, at_us)
        elif numbers.get(_FRAME_TYPE, 1) & 1:
            found.add(start, size, min(numbers.get(_FRAME_BYTES, size), 0xFFFFFFFF), kernel.ETHERNET, at_us)
        else:
            self._counts["frame_type"] += 1


def _template(data: bytes, start: int, end: int, count: int, is_options: bool) -> tuple[Template | None, int]:
    """Return a template of so many fields and where it ends; None: too long, or with a field of no bytes."""
    fields = []
    size_min = 0
    for _ in range(count):
        if start + 4 > end:
            raise _CutShortError
        element, size = struct.unpack_from(">HH", data, start)
        start += 4
        if element & 0x8000:
            start += 4
            element = 0
        if start > end:
            raise _CutShortError
        fields.append(Field(element, size))
        size_min += 1 if size == _VARIABLE else size
    if count > FIELDS_MAX or any(field.size == 0 for field in fields):
        return None, start
    return Template(tuple(fields), size_min, is_options), start


def _variable(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where a field of variable length starts, and its length."""
    if start + 1 > end:
        raise _CutShortError
    if data[start] < 255:
        return start + 1, data[start]
    if start + 3 > end:
        raise _CutShortError
    return start + 3, int.from_bytes(data[start + 1 : start + 3], "big")


def _time_us(numbers: dict[int, int], arrival_us: int) -> int:
    """Return the observation time in microseconds, the finest there is; else the time of arrival."""
    for element in (_NANOSECONDS, _MICROSECONDS):
        if element in numbers:
            seconds, fraction = numbers[element] >> 32, numbers[element] & 0xFFFFFFFF
            return (seconds - _NTP_TO_UNIX_S) * 1_000_000 + (fraction * 1_000_000 >> 32)
    if _MILLISECONDS in numbers:
        return min(numbers[_MILLISECONDS] * 1000, _TIME_US_MAX)
    if _SECONDS in numbers:
        return min(numbers[_SECONDS] * 1_000_000, _TIME_US_MAX)
    return arrival_us
