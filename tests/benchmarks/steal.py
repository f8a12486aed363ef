"""How much processor time the machine's host took away: it explains figures that are worse than usual."""

from pathlib import Path


class StealMeter:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._start = self._read()

    @staticmethod
    def _read() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return fields[7], sum(fields)

    def facts(self) -> dict[str, float]:
        """Return ``steal_ratio`` since the meter was made."""
        stolen, total = (now - then for now, then in zip(self._read(), self._start, strict=True))
        return {"steal_ratio": round(stolen / total, 4) if total else 0.0}
