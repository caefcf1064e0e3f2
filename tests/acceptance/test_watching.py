"""Watching workers: the command, Celery's own client, and Prometheus."""

import json
import socket
import sys
import threading
import urllib.request
from collections import defaultdict
from contextlib import closing
from itertools import pairwise

from celery import Celery

from tests.acceptance.person import Person, write_noises
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


def test_a_job_says_how_far_it_is_when_it_is_further(tmp_path, redis_url, processes):
    said, library = defaultdict(list), tmp_path / "music"
    write_noises(library, 120, 40.0)  # so much that jobs wait for a second
    with Celery(broker=redis_url).connection_for_read() as connection:
        handlers = {"task-progress": lambda event: said[event["uuid"]].append(event["result"])}
        receiver = Celery(broker=redis_url).events.Receiver(connection, handlers=handlers)
        watching = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        watching.start()
        person = Person(tmp_path, {"GENREMILL_BROKER_URL": redis_url, "CUDA_VISIBLE_DEVICES": ""})
        processes.append(person.start("worker", stdout=None, stderr=None))
        person.types("enqueue", str(library))
        wait_until(lambda: person.reads("status")[0]["finished_at"], timeout_s=60)
        jobs = dict(person.queries("SELECT id, tracks FROM job"))
        wait_until(lambda: {uuid: results[-1] for uuid, results in said.items()} == ends(jobs), timeout_s=10)
        receiver.should_stop = True
        watching.join(10)
    assert all(results[0].startswith("0/") for results in said.values())
    assert all(earlier != later for results in said.values() for earlier, later in pairwise(results))


def ends(jobs: dict[str, int]) -> dict[str, str]:
    """What each job says at its end, by its id."""
    return {job_id: f"{tracks}/{tracks}" for job_id, tracks in jobs.items()}
