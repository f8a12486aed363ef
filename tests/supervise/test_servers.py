"""PostgreSQL and Valkey as supervised processes: data survive kill -9 and stale files."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from nfvportal.supervise.children import Child
from nfvportal.supervise.errors import SuperviseError
from nfvportal.supervise.leftovers import processes_in
from nfvportal.supervise.paths import Paths
from nfvportal.supervise.postgres import Postgres, binaries_find, fallback_folder, postgres_plan
from nfvportal.supervise.processes import postgres_spec, valkey_spec
from nfvportal.supervise.valkey import valkey_answers, valkey_find
from tests.support.waiting import wait_until


@pytest.fixture
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    base = tmp_path_factory.mktemp("s")
    made = Paths(state=base / "state", run=base)
    made.make_directories()
    return made


@pytest.fixture
def postgres(paths: Paths) -> Postgres:
    made = postgres_plan(paths, {})
    assert made.initialise()
    return made


@pytest.fixture
def children(paths: Paths) -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.end()


def start(child: Child) -> Child:
    child.start()
    wait_until(lambda: child.exit_code() is not None or child.check_ready(), "server is ready")
    assert child.state == "ready", child.tail()
    return child


def test_postgres_starts_again_after_kill_with_its_data(
    paths: Paths, postgres: Postgres, children: list[Child]
) -> None:
    child = Child(postgres_spec(postgres, os.environ), paths.logs / "postgres.log")
    children.append(child)
    start(child)
    with psycopg2.connect(postgres.url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (id int)")
        cursor.execute("INSERT INTO kept VALUES (7)")
    connection.close()
    assert child.process is not None
    child.process.kill()
    child.process.wait()
    start(child)
    with psycopg2.connect(postgres.url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM kept")
        assert cursor.fetchall() == [(7,)]
    connection.close()


def test_postgres_starts_although_its_old_process_id_now_belongs_to_another(
    paths: Paths, postgres: Postgres, children: list[Child]
) -> None:
    lines = [str(os.getppid()), str(postgres.data), "0", "5432", str(postgres.socket_dir), "", "0 0", "ready"]
    (postgres.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    postgres.socket.with_name(postgres.socket.name + ".lock").write_text("\n".join(lines) + "\n")
    child = Child(postgres_spec(postgres, os.environ), paths.logs / "postgres.log")
    children.append(child)
    start(child)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must drop to another user")
def test_root_drops_to_a_real_user_where_namespaces_are_forbidden(
    paths: Paths, children: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfvportal.supervise.postgres.NAMESPACE", ("false",))
    base = fallback_folder(paths)
    try:
        dropped = postgres_plan(paths, {})
        assert dropped.user_id
        dropped.initialise()
        child = Child(postgres_spec(dropped, os.environ), paths.logs / "postgres.log")
        children.append(child)
        start(child)
        assert Path(f"/proc/{child.pid}").stat().st_uid == dropped.user_id
        # Other users of that account's sockets are told apart by the kernel: only root may log in.
        assert "peer map=" in (dropped.data / "pg_hba.conf").read_text()
        with psycopg2.connect(dropped.url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == ("nfvportal",)
        connection.close()
        child.end()
    finally:
        shutil.rmtree(base, ignore_errors=True)


def test_interrupted_initialisation_starts_over(paths: Paths) -> None:
    half_made = paths.state / "pg.new"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    plan = postgres_plan(paths, {})
    assert plan.initialise()
    assert not plan.initialise()
    assert not half_made.exists()


def test_data_of_another_major_version_are_refused_untouched(postgres: Postgres) -> None:
    (postgres.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(SuperviseError, match="made by PostgreSQL 12"):
        postgres.initialise()


def test_missing_system_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("nfvportal.supervise.postgres.SYSTEM_FOLDERS", tmp_path)
    for find in (binaries_find, valkey_find):
        with pytest.raises(SuperviseError, match=r"NFV_SYSTEM_SERVICES=1, but no|neither valkey-server"):
            find({"NFV_SYSTEM_SERVICES": "1"})


def test_valkey_starts_again_after_kill_with_its_data(paths: Paths, children: list[Child]) -> None:
    child = Child(valkey_spec(valkey_find({}), paths, os.environ), paths.logs / "valkey.log")
    children.append(child)
    start(child)
    with redis.Redis(unix_socket_path=str(paths.valkey_socket)) as client:
        client.set("kept", "7")
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        # Appended at least every second; ask for it now instead of waiting.
        client.waitaof(1, 0, 5000)
    assert child.process is not None
    child.process.kill()
    child.process.wait()
    assert not valkey_answers(paths.valkey_url)
    start(child)
    with redis.Redis(unix_socket_path=str(paths.valkey_socket)) as client:
        assert client.get("kept") == b"7"


def test_processes_are_found_by_their_directory(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    assert processes_in(tmp_path) == [process.pid]
    process.kill()
    process.wait()
    assert processes_in(tmp_path) == []
