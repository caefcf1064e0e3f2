"""Plans: what a run has to analyse, and that it accounts for every track."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from db import models, runs, tracks
from db.duplicates import DuplicateCandidate
from db.tracks import TrackFacts
from db.types import now
from producer.plan import merge_duplicates, plan_tracks
from tests.integration.rows import (
    analyse,
    claim,
    counts,
    find_duplicates,
    mark_duplicates,
    outcomes,
    plan,
    put_job,
    put_tracks,
    record,
    rows,
)


def set_tracks(database, values: str, which: str = "1 = 1") -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE track SET {values} WHERE {which}")


def test_planning_twice_changes_nothing(database):
    library = put_tracks(database, [1, 2, None])
    run_id = plan(database, library)
    assert counts(database, run_id) == {"found": 3, "pending": 3}
    put_job(database, run_id)
    assert plan(database, library) == run_id
    assert counts(database, run_id) == {"found": 3, "queued": 3}


def test_the_next_run_skips_what_has_an_outcome(database):
    library = put_tracks(database, [1, 2])
    analyse(database, plan(database, library))
    again = plan(database, library)
    assert counts(database, again) == {"found": 2, "skipped": 2}


def test_failures_are_skipped_unless_asked_for(database):
    library = put_tracks(database, [1, 2])
    first = plan(database, library)
    analyse(database, first, error="undecodable")
    assert counts(database, plan(database, library)) == {"found": 2, "skipped": 2}
    with database.write() as connection:
        runs.finish_runs(connection, now())
    retried = plan(database, library, retry=True)
    assert counts(database, retried) == {"found": 2, "pending": 2}
    assert counts(database, first) == {"found": 2, "handed_over": 2}
    analyse(database, retried)
    assert rows(database, "SELECT DISTINCT status, error_code FROM prediction") == [("done", None)]


def test_a_run_of_more_libraries_takes_over_what_is_open(database):
    one, two = put_tracks(database, [1, 2]), put_tracks(database, [3], b"/more")
    first = plan(database, one)
    job = claim(database, put_job(database, first))
    both = plan(database, one, two)
    assert both != first
    assert counts(database, first) == {"found": 2, "handed_over": 2}
    assert counts(database, both) == {"found": 3, "running": 2, "pending": 1}
    assert record(database, outcomes(database, job)) == 2
    assert counts(database, both) == {"found": 3, "done": 2, "pending": 1}


def test_changed_audio_is_analysed_again(database):
    library = put_tracks(database, [1, 2])
    first = plan(database, library)
    analyse(database, first)
    set_tracks(database, "audio_hash = 99, mtime_ns = 2", "audio_hash = 1")
    set_tracks(database, "mtime_ns = 2, title = 'retagged'", "audio_hash = 2")
    again = plan(database, library)
    assert counts(database, again) == {"found": 2, "skipped": 1, "pending": 1}
    assert rows(database, "SELECT count(*) FROM track_genre") == [(2,)]
    analyse(database, again)
    assert rows(database, "SELECT count(*) FROM track_genre") == [(4,)]


def test_other_weights_and_other_coverage_are_other_predictions(database):
    library = put_tracks(database, [1])
    analyse(database, plan(database, library))
    assert counts(database, plan(database, library, weights="new")) == {"found": 1, "pending": 1}
    assert counts(database, plan(database, library, coverage="full")) == {"found": 1, "pending": 1}


def test_missing_tracks_are_not_planned(database):
    library = put_tracks(database, [1, 2])
    set_tracks(database, "missing_since = last_seen_at", "audio_hash = 1")
    assert counts(database, plan(database, library)) == {"found": 1, "pending": 1}


def test_a_track_that_goes_missing_stays_accounted_for(database):
    library = put_tracks(database, [1, 2])
    run_id = plan(database, library)
    set_tracks(database, "missing_since = last_seen_at", "audio_hash = 1")
    assert plan(database, library) == run_id
    assert counts(database, run_id) == {"found": 2, "pending": 2}


def duplicates(database, run_id):
    candidates = find_duplicates(database, run_id)
    return [(candidate.track_id, candidate.leader_id) for candidate in candidates]


def mark(database, run_id) -> None:
    mark_duplicates(database, run_id, find_duplicates(database, run_id))


def test_copies_have_one_leader_and_no_chains(database):
    run_id = plan(database, put_tracks(database, [24, 24, 25, 24, None, None]))
    assert duplicates(database, run_id) == [(2, 1), (4, 1)]


def test_what_is_analysed_leads(database):
    one = put_tracks(database, [7], b"/one")
    two = put_tracks(database, [24], b"/two")
    analyse(database, plan(database, two))
    set_tracks(database, "audio_hash = 24", f"library_id = {one}")
    run_id = plan(database, one)
    assert duplicates(database, run_id) == [(1, 2)]
    mark(database, run_id)
    assert counts(database, run_id) == {"found": 1, "duplicate": 1}
    shown = rows(database, "SELECT path, genre, probability FROM track_genre WHERE rank = 1 ORDER BY path")
    assert shown == [("/one/000.mp3", "rock", 0.5), ("/two/000.mp3", "rock", 0.5)]


def test_a_duplicate_whose_original_changed_is_analysed(database):
    library = put_tracks(database, [24, 24])
    first = plan(database, library)
    mark(database, first)
    analyse(database, first)
    assert counts(database, first) == {"found": 2, "done": 1, "duplicate": 1}
    set_tracks(database, "audio_hash = 99", "id = 1")
    again = plan(database, library)
    analyse(database, again)
    assert counts(database, again) == {"found": 2, "done": 2}
    assert rows(database, "SELECT track_id, status, audio_hash FROM prediction ORDER BY 1") == [
        (1, "done", 99),
        (2, "done", 24),
    ]


def test_a_closed_run_is_not_taken_up_again(database):
    library = put_tracks(database, [1])
    first = plan(database, library)
    analyse(database, first)
    again = plan(database, library)
    assert again != first
    assert counts(database, first) == {"found": 1, "done": 1}
    assert counts(database, again) == {"found": 1, "skipped": 1}


def test_new_tracks_join_the_unfinished_run(database):
    library = put_tracks(database, [1])
    run_id = plan(database, library)
    put_job(database, run_id)
    with database.write() as connection:
        tracks.insert_tracks(connection, library, [TrackFacts(b"new.mp3", 1, 1, 2, duration_s=1.0)], now())
    assert plan(database, library) == run_id
    assert counts(database, run_id) == {"found": 2, "queued": 1, "pending": 1}


def test_an_unfinished_run_of_fewer_libraries_is_another_run(database):
    one, two = put_tracks(database, [1], b"/one"), put_tracks(database, [2], b"/two")
    both = plan(database, one, two)
    assert plan(database, two, one) == both
    alone = plan(database, one)
    assert alone != both
    assert counts(database, both) == {"found": 2, "handed_over": 1, "pending": 1}
    assert counts(database, alone) == {"found": 1, "pending": 1}


def test_only_the_analysis_that_was_changed_goes_to_the_later_run(database):
    library = put_tracks(database, [1, 2])
    first = plan(database, library)
    analyse(database, first)
    set_tracks(database, "audio_hash = 99", "id = 1")
    again = plan(database, library)
    assert counts(database, first) == {"found": 2, "handed_over": 1, "done": 1}
    analyse(database, again)
    assert counts(database, again) == {"found": 2, "skipped": 1, "done": 1}


def test_a_track_in_a_job_is_not_marked_a_duplicate(database):
    library = put_tracks(database, [24])
    put_job(database, plan(database, library))
    other = put_tracks(database, [24, 24], b"/other")
    run_id = plan(database, other)
    assert duplicates(database, run_id) == [(2, 1), (3, 1)]  # what is in a job leads
    put_job(database, run_id)
    mark_duplicates(database, run_id, [DuplicateCandidate(2, b"", 1, b"")])
    assert counts(database, run_id) == {"found": 2, "queued": 2}


def test_a_duplicate_of_a_failed_original_is_analysed_when_it_is_planned(database):
    library = put_tracks(database, [24, 24])
    run_id = plan(database, library)
    mark(database, run_id)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'failed', error_code = 'x' WHERE track_id = 1")
    plan(database, library)
    assert rows(database, "SELECT track_id, status FROM prediction ORDER BY 1") == [(1, "failed"), (2, "pending")]


def test_equal_hashes_are_not_enough_to_share_an_analysis(database, tmp_path):
    """The tracks of the plan are compared byte for byte before one stands for another."""
    names = ("one.mp3", "copy.mp3", "other.mp3")
    for name, content in zip(names, (b"same", b"same", b"else"), strict=True):
        (tmp_path / name).write_bytes(content * 100)
    with database.write() as connection:
        library = tracks.put_library(connection, bytes(tmp_path))
        tracks.insert_tracks(connection, library, [TrackFacts(name.encode(), 400, 1, 24) for name in names], now())
    run_id = plan(database, library)
    merge_duplicates(database, run_id, plan_tracks(database, run_id))
    found = "SELECT path, status, duplicate_of FROM prediction JOIN track ON track.id = track_id ORDER BY track.id"
    assert rows(database, found) == [
        ("one.mp3", "pending", None),
        ("copy.mp3", "duplicate", 1),
        ("other.mp3", "pending", None),
    ]


def test_producers_that_plan_at_once_share_one_run(database):
    def put_and_plan(_):
        with database.write() as connection:
            library = tracks.put_library(connection, b"/music")
        return plan(database, library)

    put_tracks(database, list(range(300)))
    with ThreadPoolExecutor(4) as pool:
        (run_id,) = set(pool.map(put_and_plan, range(4)))
    assert counts(database, run_id) == {"found": 300, "pending": 300}


def test_producers_that_start_at_once_enter_a_library_and_a_model_once(database):
    together = Barrier(6)

    def put(_):
        together.wait(10)
        with database.write() as connection:
            library = tracks.put_library(connection, b"/music")
            return library, models.put_model(connection, "model", "1", "w")

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(put, range(6)))) == 1
