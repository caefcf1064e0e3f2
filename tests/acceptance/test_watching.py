"""Workers are watched with `genremill gpu`, with Celery's own client, with Prometheus, and by their events."""

import json
import socket
import sys
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise

from celery import Celery

from tests.acceptance.person import Person, write_noises
from tests.conftest import wait_until


def test_a_worker_is_watched_while_it_works(tmp_path, redis_url, library, processes):
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    settings = {"GENREMILL_BROKER_URL": redis_url, "GENREMILL_METRICS_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    person = Person(tmp_path, settings)
    assert "no worker answered" in person.run("gpu")
    processes.append(person.start("worker", stdout=None, stderr=None))
    person.run("enqueue", str(library))
    wait_until(lambda: person.read_json("status")[0]["finished_at"], timeout_s=60)

    (worker,) = person.read_json("gpu")["workers"]
    windows = worker["models"][0]["windows"]
    assert (worker["device"], worker["models"][0]["model"], windows > 100) == ("cpu", "musicnn", True)
    inspected = person.run("-m", "celery", "-A", "worker", "inspect", "gpu", "--json", program=sys.executable)
    assert json.loads(inspected)[worker["node"]]["models"][0]["windows"] == windows
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    assert f'genremill_windows_total{{dtype="float32",model="musicnn",node="{worker["node"]}"}} {windows:.1f}' in page
    printed = person.run("gpu")
    assert worker["node"] in printed
    assert "musicnn" in printed


@contextmanager
def recording(broker_url: str) -> Iterator[dict[str, list[str]]]:
    """Records the events in which jobs tell their progress, as long as the block runs: results by the job's id."""
    results: dict[str, list[str]] = defaultdict(list)
    app = Celery(broker=broker_url)
    with app.connection_for_read() as connection:
        handlers = {"task-progress": lambda event: results[event["uuid"]].append(event["result"])}
        receiver = app.events.Receiver(connection, handlers=handlers)
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        thread.start()
        yield results
        receiver.should_stop = True
        thread.join(10)


def test_a_job_tells_its_progress_only_when_it_has_changed(tmp_path, redis_url, processes):
    library = tmp_path / "music"
    write_noises(library, 120, 40.0)  # So much that some jobs wait for a second.
    with recording(redis_url) as results:
        person = Person(tmp_path, {"GENREMILL_BROKER_URL": redis_url, "CUDA_VISIBLE_DEVICES": ""})
        processes.append(person.start("worker", stdout=None, stderr=None))
        person.run("enqueue", str(library))
        wait_until(lambda: person.read_json("status")[0]["finished_at"], timeout_s=60)
        jobs = person.query("SELECT id, tracks FROM job")
        last_results = {str(job_id): f"{tracks}/{tracks}" for job_id, tracks in jobs}
        wait_until(lambda: {job_id: told[-1] for job_id, told in results.items()} == last_results, timeout_s=10)
    assert all(told[0].startswith("0/") for told in results.values())
    assert all(earlier != later for told in results.values() for earlier, later in pairwise(told))
