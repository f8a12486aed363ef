"""Paths of an instance: defaults, overrides, and the length limit of Unix sockets."""

from pathlib import Path

import pytest

from nfvportal.supervise.errors import SuperviseError
from nfvportal.supervise.keys import keys_ensure
from nfvportal.supervise.paths import RUN_DIR_MAX_BYTES, Paths

SOCKET_PATH_MAX_BYTES = 107


def test_defaults_lie_in_the_checkout() -> None:
    paths = Paths.from_env({}, Path("/srv/portal"))
    assert paths.state == Path("/srv/portal/var")
    assert paths.run == Path("/srv/portal/var/run")


def test_environment_wins() -> None:
    paths = Paths.from_env({"NFV_STATE_DIR": "/a", "NFV_RUN_DIR": "/b"}, Path("/srv/portal"))
    assert (paths.state, paths.run) == (Path("/a"), Path("/b"))


@pytest.mark.parametrize("length", [10, RUN_DIR_MAX_BYTES - 8, RUN_DIR_MAX_BYTES, 300])
def test_every_socket_fits_however_deep_the_checkout_lies(length: int) -> None:
    checkout = Path("/" + "d" * length)
    paths = Paths.from_env({}, checkout)
    for socket_path in (paths.web_socket, paths.lab_socket, paths.valkey_socket, paths.postgres_socket):
        assert len(str(socket_path)) <= SOCKET_PATH_MAX_BYTES


def test_deep_checkouts_do_not_share_a_run_directory() -> None:
    first = Paths.from_env({}, Path("/" + "d" * 200 + "/one"))
    second = Paths.from_env({}, Path("/" + "d" * 200 + "/two"))
    assert first.run != second.run


def test_directories_are_private(tmp_path: Path) -> None:
    paths = Paths(state=tmp_path / "state", run=tmp_path / "run")
    paths.make_directories()
    for directory in (paths.state, paths.run, paths.agents, paths.logs):
        assert directory.stat().st_mode & 0o077 == 0


def test_keys_are_made_once_and_stay(tmp_path: Path) -> None:
    paths = Paths(state=tmp_path, run=tmp_path)
    made = keys_ensure(paths)
    assert keys_ensure(paths) == made
    assert paths.secrets.stat().st_mode & 0o077 == 0
    assert len(made["secret_key"]) >= 50


def test_damaged_keys_are_an_error_not_new_keys(tmp_path: Path) -> None:
    paths = Paths(state=tmp_path, run=tmp_path)
    paths.secrets.write_text("{")
    with pytest.raises(SuperviseError, match="damaged"):
        keys_ensure(paths)
    assert paths.secrets.read_text() == "{"
