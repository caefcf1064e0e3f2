"""Whatever is killed, and whenever: the next `genremill run` goes on where it was, and every track is done once."""

import signal

import psutil
import pytest

from tests.acceptance.person import Person, processes_below, write_noises
from tests.conftest import wait_until

TRACKS = 160


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
    assert person.queries("SELECT count(*), count(finished_at) FROM prediction WHERE status = 'done'") == [
        (TRACKS, TRACKS)
    ]
    assert person.queries("SELECT count(*) FROM score") == [(TRACKS * 50,)]
    assert person.queries("SELECT count(*) FROM job WHERE status IN ('queued', 'running')") == [(0,)]
    assert person.queries("SELECT count(*) FROM run WHERE finished_at IS NULL") == [(0,)]


def outcomes(person: Person) -> dict:
    return dict(person.queries("SELECT track_id, finished_at FROM prediction WHERE status = 'done'"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_command_itself(person, noises, number):
    process = person.start("run", str(noises))
    wait_until(lambda: person.done() >= 10)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), (person.done(), err)
    assert ("goes on where it was" in err) == (number == signal.SIGINT)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert alive == []
    before = outcomes(person)
    assert 10 <= len(before) < TRACKS
    counts = person.counts(str(noises))
    assert counts["done"] == TRACKS
    assert_all_done_once(person, counts)
    assert outcomes(person).items() >= before.items()


def test_the_processes_of_the_stack_one_after_the_other(person, noises):
    process = person.start("run", str(noises), "--json")
    done = 0
    for part in ("worker.decode.child", "flower", "redis-server", "celery -A worker worker"):
        wait_until(lambda least=done + 8: person.done() >= least)
        before = outcomes(person)
        done = len(before)
        victims = processes_below(process, part)
        assert victims and done < TRACKS, part
        victims[0].kill()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "Redis died" in err
    assert "worker cpu@" in err
    assert outcomes(person).items() >= before.items()
    crashed = person.queries("SELECT count(*) FROM prediction WHERE error_code = 'crashed'")[0][0]
    assert crashed <= 1
    counts = person.counts(str(noises), "--retry")
    assert (counts["done"], counts["skipped"]) == (crashed, TRACKS - crashed)
    assert_all_done_once(person, counts)
