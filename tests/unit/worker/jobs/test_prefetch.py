"""How many jobs a worker holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.jobs.prefetch import MAX_JOBS_HELD, jobs_to_hold


@pytest.mark.parametrize(
    ("batch_windows", "track_windows", "decode_processes", "job_tracks", "jobs"),
    [
        (0, 9, 1, 4, 2),  # 4 tracks are a job, and one job ends meanwhile
        (9, 9, 1, 4, 3),  # 1 track fills the batch: 5 tracks
        (10, 9, 1, 4, 3),  # 2 tracks fill the batch: 6 tracks
        (36, 9, 1, 4, 3),  # 4 tracks fill the batch: 8 tracks
        (37, 9, 1, 4, 4),  # 5 tracks fill the batch: 9 tracks
        (512, 9, 8, 16, 7),  # 57 tracks fill the batch, 32 keep the decode processes busy: 89 tracks
        (9, 9, 2, 64, 2),
        (512, 9, 8, 8, 12),  # 12 jobs of 8 tracks are wanted beside the one that ends
        (4096, 1, 256, 1, 12),
    ],
)
def test_the_jobs_held_fill_the_next_batch_and_keep_the_decode_processes_busy(
    batch_windows, track_windows, decode_processes, job_tracks, jobs
):
    assert jobs_to_hold(batch_windows, track_windows, decode_processes, job_tracks) == jobs


@given(
    batch_windows=st.integers(0, 4096),
    track_windows=st.integers(1, 20),
    decode_processes=st.integers(1, 256),
    job_tracks=st.integers(1, 1000),
)
def test_no_device_waits_for_jobs_unless_the_limit_is_reached(
    batch_windows, track_windows, decode_processes, job_tracks
):
    jobs = jobs_to_hold(batch_windows, track_windows, decode_processes, job_tracks)
    assert 2 <= jobs <= MAX_JOBS_HELD
    if jobs < MAX_JOBS_HELD:
        assert (jobs - 1) * job_tracks * track_windows >= batch_windows
        assert (jobs - 1) * job_tracks >= 4 * decode_processes
