"""genremill run from a folder of somebody else's Python code, which it must not import."""

import os
import signal
import sys
import urllib.request

import pytest

from tests.acceptance.person import Person, write_noises
from tests.conftest import wait_until

OURS = ("settings", "worker", "db", "producer", "genremill", "tests", "benchmarks")
USUAL = ("celery", "console", "cli", "local", "doctor", "sample", "manage", "celeryconfig", "sitecustomize")
FOREIGN = (
    "from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()\nraise SystemExit('foreign code')\n"
)


@pytest.fixture
def person(tmp_path, monkeypatch):
    """Someone in the folder of a Django project, with its environment, and a few tracks elsewhere."""
    home = tmp_path / "project"
    for name in (*OURS, *USUAL):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(FOREIGN)
        (home / f"{name}.py").write_text(FOREIGN)
    write_noises(tmp_path / "music", 3)
    for name, value in {"DJANGO_SETTINGS_MODULE": "settings", "APP": "worker", "BROKER_URL": "redis://nowhere"}.items():
        monkeypatch.setenv(name, value)
    return Person(home, {"GENREMILL_DATA_DIR": str(tmp_path / "data"), "GENREMILL_FLOWER_PORT": "5994"})


def imported(person) -> list[str]:
    """The files that somebody imported."""
    return sorted(str(path.relative_to(person.home)) for path in person.home.rglob("*.imported"))


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status == 200
    except OSError:
        return False


def test_a_run_with_flower_imports_nothing_from_there(person, tmp_path, processes):
    said = tmp_path / "said.txt"
    with said.open("w") as err:
        process = person.start("run", str(tmp_path / "music"), "--stay", "--json", stderr=err)
    processes.append(process)
    wait_until(lambda: "Flower stays" in said.read_text() or process.poll() is not None, timeout_s=90)
    assert wait_until(lambda: answers("http://127.0.0.1:5994/"))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said.read_text()
    assert '"done": 3' in out
    assert imported(person) == []


def done(tmp_path) -> int:
    return Person(tmp_path, {}).done()


def test_a_producer_and_a_worker_import_nothing_from_there(person, tmp_path, processes, redis_url):
    person.settings["GENREMILL_BROKER_URL"] = redis_url
    worker = person.start("worker", "--device", "cpu", stdout=None, stderr=None)
    processes.append(worker)
    person.types("enqueue", str(tmp_path / "music"), "--follow")
    assert done(tmp_path) == 3
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert imported(person) == []


def test_bench_imports_nothing_from_there(person):
    person.types("bench", "--files", "1", "--seconds", "2", "--naive-files", "1")
    assert imported(person) == []


def test_an_empty_entry_of_the_search_path_is_not_the_working_directory(person, tmp_path):
    for name in ("genremill", "celery", "sitecustomize"):  # these are imported before genremill can say anything
        (person.home / f"{name}.py").unlink()
        (person.home / name / "__init__.py").unlink()
        (person.home / name).rmdir()
    person.settings["PYTHONPATH"] = os.pathsep
    person.types("run", str(tmp_path / "music"))
    assert imported(person) == []
    assert sys.flags.safe_path is False  # nor does this test lean on the environment that it is run in
