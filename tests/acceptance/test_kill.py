"""Whatever is killed, and whenever: the next `genremill run` goes on where it was, and every track is done once."""

import signal

import psutil
import pytest

from tests.acceptance.person import Person, find_processes_below, write_noises
from tests.conftest import wait_until

TRACKS = 160
GENRES = 50  # Scores of a track by musicnn.
# What is in the command lines of a run's processes: of a decode process, Flower, Redis and the worker.
STACK = ("worker.decode.child", "flower", "redis-server", "worker.celery_command worker")


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    root = tmp_path_factory.mktemp("kill") / "noises"
    write_noises(root, TRACKS)
    return root


@pytest.fixture
def person(tmp_path):
    return Person(tmp_path, {"GENREMILL_JOB_TRACKS": "8"})


def assert_all_done_once(person: Person, counts: dict) -> None:
    assert counts["found"] == TRACKS == sum(value for name, value in counts.items() if name != "found")
    done = person.query("SELECT count(*), count(finished_at) FROM prediction WHERE status = 'done'")
    assert done == [(TRACKS, TRACKS)]
    assert person.query("SELECT count(*) FROM score") == [(TRACKS * GENRES,)]
    assert person.query("SELECT count(*) FROM job WHERE status IN ('queued', 'running')") == [(0,)]
    assert person.query("SELECT count(*) FROM run WHERE finished_at IS NULL") == [(0,)]


def read_outcomes(person: Person) -> dict:
    """When each track that is done was done, by its id."""
    return dict(person.query("SELECT track_id, finished_at FROM prediction WHERE status = 'done'"))


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_is_killed_leaves_nothing_behind_and_the_next_one_goes_on(
    person, noises, processes, signal_number
):
    process = person.start("run", str(noises))
    processes.append(process)
    wait_until(lambda: person.count_done() >= 10)
    descendants = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal_number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (-9 if signal_number == signal.SIGKILL else 130), (person.count_done(), err)
    assert ("goes on where it was" in err) == (signal_number == signal.SIGINT)
    _, alive = psutil.wait_procs(descendants, timeout=15)
    assert alive == []
    before = read_outcomes(person)
    assert 10 <= len(before) < TRACKS
    counts = person.analyse(str(noises))
    assert counts["done"] == TRACKS
    assert_all_done_once(person, counts)
    assert read_outcomes(person).items() >= before.items()


def test_a_run_survives_the_death_of_each_of_its_processes(person, noises, processes):
    process = person.start("run", str(noises), "--json")
    processes.append(process)
    done = 0
    for part in STACK:
        wait_until(lambda target=done + 8: person.count_done() >= target)
        before = read_outcomes(person)
        done = len(before)
        victims = find_processes_below(process, part)
        assert victims, part
        assert done < TRACKS, part
        victims[0].kill()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "Redis died" in err
    assert "worker cpu@" in err
    assert read_outcomes(person).items() >= before.items()
    crashed = person.query("SELECT count(*) FROM prediction WHERE error_code = 'crashed'")[0][0]
    assert crashed <= 1
    counts = person.analyse(str(noises), "--retry")
    assert (counts["done"], counts["skipped"]) == (crashed, TRACKS - crashed)
    assert_all_done_once(person, counts)
