"""The parts on several hosts: Redis and PostgreSQL by their addresses; producer, worker and Flower started apart."""

import base64
import json
import shutil
import signal
import sys
import urllib.request

import pytest
import torch

from tests.acceptance.person import Person, write_noises
from tests.conftest import new_postgres_database, wait_until
from tests.support.own_model import write_own_model

FLOWER_PORT = 5993
FLOWER_LOGIN = "who:secret"


@pytest.fixture
def person(tmp_path, postgres, redis_url):
    settings = {"GENREMILL_DATABASE_URL": new_postgres_database(postgres), "GENREMILL_BROKER_URL": redis_url}
    return Person(tmp_path, settings)


def start_flower(person, processes) -> None:
    """Start Flower as its documentation says, and wait until it answers."""
    arguments = ["-A", "worker", "flower", f"--port={FLOWER_PORT}", "--address=127.0.0.1"]
    arguments += [f"--basic_auth={FLOWER_LOGIN}"]
    processes.append(person.start("-m", "celery", *arguments, program=sys.executable, stdout=None, stderr=None))
    wait_until(lambda: ask_flower("/api/workers") is not None)


def ask_flower(path: str) -> dict | None:
    """Flower's answer, or None as long as it does not answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{FLOWER_PORT}{path}")
    request.add_header("Authorization", "Basic " + base64.b64encode(FLOWER_LOGIN.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=5) as page:
            return json.loads(page.read())
    except OSError:
        return None


def read_ended_tasks() -> list[dict] | None:
    """Flower's tasks, once it knows that all of them have ended."""
    tasks = list((ask_flower("/api/tasks?limit=100") or {}).values())
    return tasks if tasks and all(task["state"] == "SUCCESS" for task in tasks) else None


def test_producer_worker_and_flower_are_started_apart(tmp_path, person, library, processes):
    music = tmp_path / "music"
    shutil.copytree(library, music)
    start_flower(person, processes)

    queued = json.loads(person.run("-m", "producer", str(music), "--json", program=sys.executable))
    assert (queued["counts"]["found"], queued["counts"]["queued"]) == (30, 29)
    vanished = next(music.rglob("*.ogg"))
    vanished.unlink()

    worker = person.start("worker", "--device", "cpu", stdout=None, stderr=None)
    processes.append(worker)
    wait_until(lambda: person.read_json("status")[0]["finished_at"], timeout_s=60)
    run = person.read_json("status")[0]
    assert (run["counts"]["done"], run["counts"]["failed"], run["counts"]["duplicate"]) == (26, 3, 1)
    assert run["balanced"]
    assert {error["code"] for error in person.read_json("errors")} == {"missing", "undecodable"}

    assert "pong" in person.run("-m", "celery", "-A", "worker", "inspect", "ping", program=sys.executable)
    tasks = wait_until(read_ended_tasks)
    assert all(task["state"] == "SUCCESS" and "/" in task["result"] for task in tasks)

    person.run("enqueue", str(music))
    assert person.read_json("status")[0]["counts"]["skipped"] == 29
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def test_progress_is_seen_in_flower(tmp_path, person, processes):
    write_noises(tmp_path / "noises", 90)
    start_flower(person, processes)
    processes.append(person.start("worker", stdout=None, stderr=None))
    person.run("enqueue", str(tmp_path / "noises"))
    results = set()

    def read_progress() -> set[str]:
        tasks = (ask_flower("/api/tasks?limit=100") or {}).values()
        results.update(task["result"] for task in tasks if task["state"] == "PROGRESS")
        return results

    wait_until(read_progress, timeout_s=60)
    done, total = next(iter(results)).strip("'\"").split("/")
    assert 0 <= int(done) <= int(total)


def test_a_worker_without_the_weights_gives_its_job_back_and_says_so(tmp_path, person, processes):
    write_noises(tmp_path / "noises", 6)
    write_own_model(tmp_path / "data")
    torch.save({"out.weight": torch.ones(3, 2), "out.bias": torch.zeros(3)}, tmp_path / "tiny.pt")
    person.run("models", "import", "tiny.pt", "--model", "tiny")
    person.run("enqueue", str(tmp_path / "noises"), "--model", "tiny")

    elsewhere = Person(tmp_path, {**person.settings, "GENREMILL_DATA_DIR": str(tmp_path / "elsewhere")})
    printed = elsewhere.run("worker", "--device", "cpu", code=2)
    assert printed.strip().splitlines()[-1].startswith("genremill: there is no model 'tiny'")
    assert person.read_json("status")[0]["counts"]["queued"] == 6

    processes.append(person.start("worker", "--device", "cpu", stdout=None, stderr=None))
    wait_until(lambda: person.read_json("status")[0]["finished_at"], timeout_s=60)
    assert person.read_json("status")[0]["counts"]["done"] == 6
