"""Keys of a development portal: made at the first start, kept in ``secrets.json``, readable by its owner only."""

import base64
import json
import os
import secrets

from nfvportal.supervise.errors import SuperviseError
from nfvportal.supervise.paths import Paths


def keys_ensure(paths: Paths) -> dict[str, str]:
    """Return ``secret_key`` and ``field_keys``; make and store them when there are none.

    Raises:
        SuperviseError: the file is there but cannot be read as our keys.
    """
    if paths.secrets.exists():
        try:
            stored = json.loads(paths.secrets.read_text())
            return {"secret_key": str(stored["secret_key"]), "field_keys": str(stored["field_keys"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SuperviseError(
                f"{paths.secrets} is damaged ({error}). Restore it: without its keys stored secrets cannot be read."
            ) from error
    made = {
        "secret_key": secrets.token_urlsafe(50),
        "field_keys": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    fresh = paths.secrets.with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(made, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(paths.secrets)
    return made
