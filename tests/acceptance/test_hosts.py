"""The same code on several hosts: Redis over its own address, PostgreSQL, producer and worker apart, Flower."""

import base64
import json
import shutil
import signal
import sys
import urllib.request

import pytest

from tests.acceptance.person import Person
from tests.conftest import new_postgres_database, wait_until
from tests.support.own_model import write_own_model


@pytest.fixture
def person(tmp_path, postgres, redis_url):
    settings = {"GENREMILL_DATABASE_URL": new_postgres_database(postgres), "GENREMILL_BROKER_URL": redis_url}
    return Person(tmp_path, settings)


def flower(path: str):
    request = urllib.request.Request(f"http://127.0.0.1:5993{path}")
    request.add_header("Authorization", "Basic " + base64.b64encode(b"who:secret").decode())
    try:
        with urllib.request.urlopen(request, timeout=5) as page:
            return json.loads(page.read())
    except OSError:
        return None


def test_producer_worker_and_flower_apart(tmp_path, person, library, processes):
    music = tmp_path / "music"
    shutil.copytree(library, music)
    options = ["-A", "worker", "flower", "--port=5993", "--address=127.0.0.1", "--basic_auth=who:secret"]
    processes.append(person.start("-m", "celery", *options, program=sys.executable, stdout=None, stderr=None))
    wait_until(lambda: flower("/api/workers") is not None)

    queued = json.loads(person.types("-m", "producer", str(music), "--json", program=sys.executable))
    assert (queued["counts"]["found"], queued["counts"]["queued"]) == (30, 29)
    vanished = next(music.rglob("*.ogg"))
    vanished.unlink()

    worker = person.start("worker", "--device", "cpu", stdout=None, stderr=None)
    processes.append(worker)
    wait_until(lambda: person.reads("status")[0]["finished_at"], timeout_s=60)
    run = person.reads("status")[0]
    assert (run["counts"]["done"], run["counts"]["failed"], run["counts"]["duplicate"]) == (26, 3, 1)
    assert run["balanced"]
    assert {error["code"] for error in person.reads("errors")} == {"missing", "undecodable"}

    assert "pong" in person.types("-m", "celery", "-A", "worker", "inspect", "ping", program=sys.executable)
    tasks = wait_until(lambda: _ended(flower("/api/tasks?limit=100"), run))
    assert all(task["state"] == "SUCCESS" and "/" in task["result"] for task in tasks)

    person.types("enqueue", str(music))
    assert person.reads("status")[0]["counts"]["skipped"] == 29
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def _ended(tasks, run):
    """Flower's tasks once it knows that all have ended."""
    done = [task for task in (tasks or {}).values() if task["state"] == "SUCCESS"]
    return done if done and len(done) == len(tasks) else None


def test_progress_is_seen_in_flower(tmp_path, person, processes):
    from tests.acceptance.person import write_noises

    write_noises(tmp_path / "noises", 90)
    options = ["-A", "worker", "flower", "--port=5993", "--address=127.0.0.1", "--basic_auth=who:secret"]
    processes.append(person.start("-m", "celery", *options, program=sys.executable, stdout=None, stderr=None))
    wait_until(lambda: flower("/api/workers") is not None)
    processes.append(person.start("worker", stdout=None, stderr=None))
    person.types("enqueue", str(tmp_path / "noises"))
    seen = set()

    def progress():
        for task in (flower("/api/tasks?limit=100") or {}).values():
            if task["state"] == "PROGRESS":
                seen.add(task["result"])
        return seen

    wait_until(progress, timeout_s=60)
    done, total = next(iter(seen)).strip("'\"").split("/")
    assert 0 <= int(done) <= int(total)


def test_a_worker_without_the_weights_gives_its_job_back_and_says_so(tmp_path, person, processes):
    import torch

    from tests.acceptance.person import write_noises

    write_noises(tmp_path / "noises", 6)
    write_own_model(tmp_path / "data")
    torch.save({"out.weight": torch.ones(3, 2), "out.bias": torch.zeros(3)}, tmp_path / "tiny.pt")
    person.types("models", "import", "tiny.pt", "--model", "tiny")
    person.types("enqueue", str(tmp_path / "noises"), "--model", "tiny")

    elsewhere = Person(tmp_path, {**person.settings, "GENREMILL_DATA_DIR": str(tmp_path / "elsewhere")})
    said = elsewhere.types("worker", "--device", "cpu", code=2)
    assert said.strip().splitlines()[-1].startswith("genremill: there is no model 'tiny'")
    assert person.reads("status")[0]["counts"]["queued"] == 6

    processes.append(person.start("worker", "--device", "cpu", stdout=None, stderr=None))
    wait_until(lambda: person.reads("status")[0]["finished_at"], timeout_s=60)
    assert person.reads("status")[0]["counts"]["done"] == 6
