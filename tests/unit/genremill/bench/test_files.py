"""Whole files: how many are measured, the ratios of a table, and small real measurements on the CPU."""

import pytest

from genremill.bench import files
from genremill.bench.files import FilesRow
from genremill.bench.target import Target

pytestmark = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")  # of audioread's imports

CPU = Target("cpu")


@pytest.mark.parametrize("file_count", [1, 2, 10, 50, 100, 101])
def test_the_numbers_of_files_end_with_all_of_them(file_count):
    counts = files.counts_up_to(file_count)
    assert counts[-1] == file_count
    assert set(counts[:-1]) == {count for count in (1, 10, 100) if count < file_count}


def test_a_row_is_compared_with_the_naive_pipeline_on_the_same_device():
    rates = [("naive", "CPU", 2.0), ("genremill", "CPU", 20.0), ("naive", "GPU", 4.0), ("genremill", "GPU", 100.0)]
    rows = [FilesRow(10, way, device, "fp32", 10 / rate, rate, 0, 10) for way, device, rate in rates]
    assert [row.times_naive for row in files.compare(rows)] == [1, 10, 1, 25]


def test_a_file_that_fails_is_counted_by_both_pipelines(tracks, tmp_path):
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no audio")
    (one,) = files.measure_pipeline("musicnn", CPU, [broken])
    assert (one.files, one.failed, one.measured, one.way) == (1, 1, 1, "genremill")
    _, both = files.measure_naive("musicnn", CPU, [broken, tracks[1]], max_files=2)
    assert (both.files, both.failed, both.measured, both.way) == (2, 1, 2, "naive")


def test_the_naive_pipeline_is_measured_on_some_files_and_counted_for_all(tracks):
    one, all_files = files.measure_naive("musicnn", CPU, [*tracks, tracks[1]], max_files=2)
    assert (one.files, one.measured, all_files.files, all_files.measured) == (1, 2, 3, 2)
    assert all_files.seconds == pytest.approx(3 / all_files.tracks_per_s)
    assert all_files.failed == 0
