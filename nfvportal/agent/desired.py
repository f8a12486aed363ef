"""The last desired state, kept on the device's disk so that the agent works without the portal."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfvportal.lib.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Desired:
    """What a role should make true."""

    revision: int
    spec: Mapping[str, Any]


class DesiredStore:
    """``desired.json``: role name -> ``{revision, spec}``, replaced atomically."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Desired]:
        """Return what is on disk; empty when there is nothing.

        Raises:
            InvalidInputError: the file is damaged.
        """
        try:
            content = json.loads(self._path.read_text())
            return {
                role: Desired(int(item["revision"]), dict(item["spec"])) for role, item in content.items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(
                str(self._path), f"must hold role -> revision, spec: {error!r}"
            ) from error

    def save(self, desired: Mapping[str, Desired]) -> None:
        """Replace the file so that a crash leaves the old or the new content, never half of it."""
        content = {role: {"revision": item.revision, "spec": item.spec} for role, item in desired.items()}
        temporary = self._path.with_suffix(".new")
        with temporary.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
