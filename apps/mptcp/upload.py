"""Takes an uploaded capture straight to disk: hashed and counted on the way, never in memory, nothing left of a half.

Files lie in ``<state>/captures/``; one that is still arriving ends in ``.part``.
"""

import errno
import hashlib
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from rest_framework import status
from rest_framework.exceptions import APIException

from nfvportal.lib.errors import InvalidInputError

FILE_FIELD: Final = "file"
PART_SUFFIX: Final = ".part"
# Beside the file, a form holds a few short fields and its boundaries.
FORM_BYTES_MAX: Final = 64 * 1024
# What must stay free for the database and everybody else.
DISK_RESERVE_BYTES: Final = 256 * 1024 * 1024


class CaptureTooLargeError(APIException):
    """The file is larger than what is taken."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self) -> None:
        limit = settings.MAX_CAPTURE_BYTES
        super().__init__(
            f"a capture must be at most {limit} bytes ({limit / 2**30:.3g} GiB); cut it by time or keep 128 bytes of "
            "each packet (editcap -s 128), which is all that is looked at"
        )


class LengthMissingError(APIException):
    """The file comes in chunks, without its length: what is too long could not be refused unread."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_missing"
    default_detail = "a capture must come with its length: send Content-Length instead of chunks"


class DiskFullError(APIException):
    """There is no room for the file."""

    status_code = status.HTTP_507_INSUFFICIENT_STORAGE
    default_code = "disk_full"
    default_detail = "the portal's disk has no room for this capture; delete others first"


def captures_dir() -> Path:
    """Return the directory of the captures; make it when it is missing."""
    path: Path = settings.PATHS.state / "captures"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


class IncompleteUploadError(APIException):
    """The connection ended before the file did."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "incomplete"
    default_detail = "the upload ended before the file did; nothing of it was kept"


class StoredUpload(UploadedFile[Any]):
    """A file that has arrived whole; it is still named ``.part`` until somebody keeps it."""

    def __init__(self, name: str, path: Path, size: int, sha256: str) -> None:
        super().__init__(None, name, size=size)
        self.path = path
        self.sha256 = sha256

    def keep(self, file_key: str) -> Path:
        """Give the file its lasting name."""
        return self.path.rename(captures_dir() / file_key)

    def close(self) -> None:
        """Nothing is open."""

    def discard(self) -> None:
        """Remove the file if nobody kept it."""
        self.path.unlink(missing_ok=True)


class CaptureUploadHandler(FileUploadHandler):
    """Django's parser hands the file's chunks to this as they arrive.

    Args:
        limit_bytes: the largest file that is taken; a longer body is refused before it is read where its length is
            told, else as soon as it is too long.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes
        self._file: IO[bytes] | None = None
        self._path = Path()
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self.stored: StoredUpload | None = None

    def handle_raw_input(
        self,
        input_data: Any,
        META: Any,  # noqa: N803  Django's name
        content_length: int,
        boundary: Any,
        encoding: Any = None,
    ) -> None:
        """Refuse by the length that the client tells, before a byte of it is read."""
        del input_data, META, boundary, encoding
        if content_length > self._limit_bytes + FORM_BYTES_MAX:
            raise CaptureTooLargeError
        if content_length + DISK_RESERVE_BYTES > shutil.disk_usage(captures_dir()).free:
            raise DiskFullError

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin a file."""
        super().new_file(*args, **kwargs)
        if self.field_name != FILE_FIELD or self._file is not None or self.stored is not None:
            self.close()
            raise InvalidInputError(
                str(self.field_name)[:64], f"one file is taken, in the field {FILE_FIELD}"
            )
        self._path = captures_dir() / (secrets.token_hex(16) + PART_SUFFIX)
        self._file = self._path.open("xb")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write a chunk."""
        assert self._file is not None
        self._size_bytes = start + len(raw_data)
        if self._size_bytes > self._limit_bytes:
            self.close()
            raise CaptureTooLargeError
        self._digest.update(raw_data)
        try:
            self._file.write(raw_data)
        except OSError as error:
            self.close()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError from error
            raise

    def file_complete(self, file_size: int) -> StoredUpload:
        """End the file."""
        assert self._file is not None
        try:
            self._file.close()
        except OSError as error:
            self.close()
            raise DiskFullError from error
        self._file = None
        name = str(self.file_name or "capture")[:200]
        self.stored = StoredUpload(name, self._path, file_size, self._digest.hexdigest())
        return self.stored

    def upload_interrupted(self) -> None:
        """The client is gone."""
        self.close()

    def close(self) -> None:
        """Remove what arrived of a file that is not whole."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
            self._path.unlink(missing_ok=True)

    @property
    def file(self) -> "CaptureUploadHandler":
        """What Django's parser closes when it fails."""
        return self
