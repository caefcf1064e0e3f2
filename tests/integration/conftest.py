"""The app at a real Redis, and a database with two of everything."""

import pytest
import redis

from tests.integration.world import make_world
from worker.celery import app


@pytest.fixture
def broker(redis_url):
    """The app, at this Redis."""
    before = app.conf.broker_url
    app.conf.broker_url = app.conf.broker_read_url = app.conf.broker_write_url = redis_url
    app.set_current()
    _forget_connections()
    yield redis.Redis(unix_socket_path=redis_url.removeprefix("redis+socket://"))
    _forget_connections()
    app.conf.broker_url = app.conf.broker_read_url = app.conf.broker_write_url = before


def _forget_connections():
    app._after_fork()


@pytest.fixture
def world(database):
    """The database of tests.integration.world."""
    return make_world(database)
