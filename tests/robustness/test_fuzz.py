"""A small run of tests/robustness/fuzz.py over real decode processes, and what the harness counts as a problem."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import wait_until
from tests.robustness.fuzz import report, write_intact_files
from tests.robustness.harness import Case, ProcessWatcher, Result, decode_broken_files
from tests.robustness.mutations import MUTATIONS, WRONG_SUFFIX, break_file
from worker.errors import DecoderCrashedError, TrackError, UndecodableError
from worker.windowing import Windowing

FILES = 120  # Six of each mutation.
INTACT_NAMES = ("a.flac", "a.ogg", "vbr.mp3", "aac.m4a")  # Of genremill.sample.codecs.
DIED = DecoderCrashedError("0 flips a.wav: the decoder died of it (exit status 1); look at the file")
MUSICNN = Windowing(16_000, 47_872)


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """5 s of music in four codecs."""
    paths = write_intact_files(tmp_path_factory.mktemp("intact"), [("jazz", 5)])
    return [path for path in paths if path.name in INTACT_NAMES]


@pytest.fixture(scope="module")
def result(intact, tmp_path_factory):
    """What came of all files."""
    files = (break_file(intact, 0, number) for number in range(FILES))
    keep_folder = tmp_path_factory.mktemp("kept")
    return decode_broken_files(files, keep_folder, MUSICNN, processes=2, deadline_s=10, memory_mib=512)


def make_case(tmp_path, max_wait_s=1e9):
    """A case that has been submitted and has got no answer yet."""
    return Case(0, "flips", tmp_path / "0 flips a.wav", MUSICNN.window, max_wait_s, lambda _: None)


class ZeroBlock:
    """A WindowBlock of zeros with a given shape and type."""

    def __init__(self, shape, dtype):
        self.pcm, self.native, self.windows = np.zeros(shape, dtype), None, shape[0]

    def release(self):
        pass


def test_every_broken_file_costs_itself_only(result):
    assert len(result.cases) == FILES
    assert result.problems() == []


def test_files_with_a_wrong_name_alone_are_done(result):
    assert {case.outcome for case in result.cases if case.mutation == WRONG_SUFFIX} == {"done"}


def test_files_without_audio_fail(result):
    without = [case for case in result.cases if case.mutation in ("random bytes", "text", "empty", "stub")]
    assert "done" not in {case.outcome for case in without}


def test_decode_processes_are_seen_from_outside(result):
    assert result.processes >= 2
    assert result.private_mib > 1


def test_a_process_that_dies_is_seen(processes):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "worker.decode.child"])
    processes.append(child)
    watcher = ProcessWatcher()
    wait_until(lambda: child.pid in watcher.seen)
    assert child.pid not in watcher.gone
    child.kill()
    child.wait()
    wait_until(lambda: child.pid in watcher.gone)
    watcher.stop()


def test_the_report_counts_every_file(result):
    done = sum(case.outcome == "done" for case in result.cases)
    last = next(line for line in report(result).splitlines() if line.startswith("all"))
    assert last.split()[1] == str(done)
    assert sum(int(count) for count in last.split()[1:]) == FILES


def test_a_broken_file_can_be_made_again(intact):
    for number in range(len(MUTATIONS)):
        assert bytes(break_file(intact, 3, number).data) == bytes(break_file(intact, 3, number).data)


def test_another_seed_breaks_files_differently(intact):
    assert bytes(break_file(intact, 3, 0).data) != bytes(break_file(intact, 4, 0).data)


@pytest.mark.parametrize(("shape", "dtype"), [((1, 5), np.int16), ((0, 47_872), np.int16), ((1, 47_872), np.float32)])
def test_windows_of_another_shape_or_type_are_a_problem(tmp_path, shape, dtype):
    case = make_case(tmp_path)
    case.windows(ZeroBlock(shape, dtype))
    assert len(case.problems) == 1


def test_a_second_end_is_a_problem(tmp_path):
    case = make_case(tmp_path)
    case.windows(ZeroBlock((1, 47_872), np.int16))
    case.end()
    assert not case.problems
    case.failed(UndecodableError("0 flips a.wav: no"))
    assert len(case.problems) == 1


def test_an_answer_that_takes_too_long_is_a_problem(tmp_path):
    case = make_case(tmp_path, max_wait_s=-1)
    case.windows(ZeroBlock((1, 47_872), np.int16))
    assert len(case.problems) == 1


@pytest.mark.parametrize(
    "error", [TrackError("0 flips a.wav: no"), UndecodableError("no"), UndecodableError("0 flips a.wav:\n"), DIED]
)
def test_an_error_that_is_not_one_coded_line_about_the_file_or_was_not_caught_is_a_problem(tmp_path, error):
    case = make_case(tmp_path)
    case.failed(error)
    assert len(case.problems) == 1


@pytest.mark.parametrize("change", [{"deaths": 1}, {"survivors": 1}, {"private_mib": 600.0}])
def test_what_decode_processes_must_not_do_is_a_problem(change):
    assert len(replace(Result([], 2, 0, 0, 20.0, 512, 1.0), **change).problems()) == 1


def test_a_file_that_never_ends_is_a_problem(tmp_path):
    assert Result([make_case(tmp_path)], 2, 0, 0, 20.0, 512, 1.0).problems() == ["0 flips a.wav: never ended"]
