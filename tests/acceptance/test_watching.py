"""Watching workers: the command, Celery's own client, and Prometheus."""

import json
import socket
import sys
import urllib.request
from contextlib import closing

from tests.acceptance.person import Person
from tests.conftest import wait_until


def test_a_worker_is_watched_while_it_works(tmp_path, redis_url, library, processes):
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    settings = {"GENREMILL_BROKER_URL": redis_url, "GENREMILL_METRICS_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    person = Person(tmp_path, settings)
    assert "no worker answered" in person.types("gpu")
    processes.append(person.start("worker", stdout=None, stderr=None))
    person.types("enqueue", str(library))
    wait_until(lambda: person.reads("status")[0]["finished_at"], timeout_s=60)

    (worker,) = person.reads("gpu")["workers"]
    windows = worker["models"][0]["windows"]
    assert (worker["device"], worker["models"][0]["model"], windows > 100) == ("cpu", "musicnn", True)
    inspected = person.types("-m", "celery", "-A", "worker", "inspect", "gpu", "--json", program=sys.executable)
    assert json.loads(inspected)[worker["node"]]["models"][0]["windows"] == windows
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    assert f'genremill_windows_total{{dtype="float32",model="musicnn",node="{worker["node"]}"}} {windows:.1f}' in page
    shown = person.types("gpu")
    assert worker["node"] in shown
    assert "musicnn" in shown
