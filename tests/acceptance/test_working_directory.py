"""The commands run in a folder of somebody else's Python code, and import nothing from there."""

import os
import signal
import urllib.request

import pytest

from tests.acceptance.person import Person, write_noises
from tests.conftest import wait_until

OUR_NAMES = ("settings", "worker", "db", "producer", "genremill", "tests", "benchmarks")
USUAL_NAMES = ("celery", "console", "cli", "local", "doctor", "sample", "manage", "celeryconfig", "sitecustomize")
FLOWER_PORT = "5994"

# A module that leaves a file behind when it is imported, and ends the process.
FOREIGN_CODE = """from pathlib import Path
Path(__file__).with_suffix('.imported').touch()
raise SystemExit('foreign code')
"""


@pytest.fixture
def person(tmp_path, monkeypatch):
    """Somebody in the folder of a Django project, with its environment, and with a few tracks elsewhere."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)  # Importing genremill into this process has set it.
    home = tmp_path / "project"
    for name in (*OUR_NAMES, *USUAL_NAMES):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(FOREIGN_CODE)
        (home / f"{name}.py").write_text(FOREIGN_CODE)
    write_noises(tmp_path / "music", 3)
    for name, value in {"DJANGO_SETTINGS_MODULE": "settings", "APP": "worker", "BROKER_URL": "redis://nowhere"}.items():
        monkeypatch.setenv(name, value)
    return Person(home, {"GENREMILL_DATA_DIR": str(tmp_path / "data"), "GENREMILL_FLOWER_PORT": FLOWER_PORT})


def list_imported(person) -> list[str]:
    """The files that were left behind by imports."""
    return sorted(str(path.relative_to(person.home)) for path in person.home.rglob("*.imported"))


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status == 200
    except OSError:
        return False


def test_a_run_with_flower_imports_nothing_from_there(person, tmp_path, processes):
    messages = tmp_path / "messages.txt"
    with messages.open("w") as err:
        process = person.start("run", str(tmp_path / "music"), "--stay", "--json", stderr=err)
    processes.append(process)
    wait_until(lambda: "Flower stays" in messages.read_text() or process.poll() is not None, timeout_s=90)
    assert wait_until(lambda: answers(f"http://127.0.0.1:{FLOWER_PORT}/"))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, messages.read_text()
    assert '"done": 3' in out
    assert list_imported(person) == []


def test_a_producer_and_a_worker_import_nothing_from_there(person, tmp_path, processes, redis_url):
    person.settings["GENREMILL_BROKER_URL"] = redis_url
    worker = person.start("worker", "--device", "cpu", stdout=None, stderr=None)
    processes.append(worker)
    person.run("enqueue", str(tmp_path / "music"), "--follow")
    assert Person(tmp_path, {}).count_done() == 3
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert list_imported(person) == []


def test_bench_imports_nothing_from_there(person):
    person.run("bench", "--files", "1", "--seconds", "2", "--naive-files", "1")
    assert list_imported(person) == []


def test_an_empty_entry_of_the_search_path_is_not_the_working_directory(person, tmp_path):
    for name in ("genremill", "celery", "sitecustomize"):  # Python imports these before genremill can do anything.
        (person.home / f"{name}.py").unlink()
        (person.home / name / "__init__.py").unlink()
        (person.home / name).rmdir()
    person.settings["PYTHONPATH"] = os.pathsep
    person.run("run", str(tmp_path / "music"))
    assert list_imported(person) == []
