"""Plans: what a run has to analyse, and that it accounts for every track."""

from db import runs
from db.tables import now
from tests.integration.rows import analyse, claim, counts, outcomes, plan, put_job, put_tracks, record, rows


def set_tracks(database, values: str, which: str = "1 = 1") -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE track SET {values} WHERE {which}")


def test_planning_twice_changes_nothing(database):
    library = put_tracks(database, ["a", "b", None])
    run_id = plan(database, library)
    assert counts(database, run_id) == {"found": 3, "pending": 3}
    put_job(database, run_id)
    assert plan(database, library) == run_id
    assert counts(database, run_id) == {"found": 3, "queued": 3}


def test_the_next_run_skips_what_has_an_outcome(database):
    library = put_tracks(database, ["a", "b"])
    analyse(database, plan(database, library))
    again = plan(database, library)
    assert counts(database, again) == {"found": 2, "skipped": 2}


def test_failures_are_skipped_unless_asked_for(database):
    library = put_tracks(database, ["a", "b"])
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
    one, two = put_tracks(database, ["a", "b"]), put_tracks(database, ["c"], b"/more")
    first = plan(database, one)
    job = claim(database, put_job(database, first))
    both = plan(database, one, two)
    assert both != first
    assert counts(database, first) == {"found": 2, "handed_over": 2}
    assert counts(database, both) == {"found": 3, "running": 2, "pending": 1}
    assert record(database, outcomes(database, job)) == 2
    assert counts(database, both) == {"found": 3, "done": 2, "pending": 1}


def test_changed_audio_is_analysed_again(database):
    library = put_tracks(database, ["a", "b"])
    first = plan(database, library)
    analyse(database, first)
    set_tracks(database, "audio_hash = 'new', mtime_ns = 2", "audio_hash = 'a'")
    set_tracks(database, "mtime_ns = 2, title = 'retagged'", "audio_hash = 'b'")
    again = plan(database, library)
    assert counts(database, again) == {"found": 2, "skipped": 1, "pending": 1}
    assert rows(database, "SELECT count(*) FROM track_genre") == [(2,)]
    analyse(database, again)
    assert rows(database, "SELECT count(*) FROM track_genre") == [(4,)]


def test_other_weights_and_other_coverage_are_other_predictions(database):
    library = put_tracks(database, ["a"])
    analyse(database, plan(database, library))
    assert counts(database, plan(database, library, weights="new")) == {"found": 1, "pending": 1}
    assert counts(database, plan(database, library, coverage="full")) == {"found": 1, "pending": 1}


def test_missing_tracks_are_not_planned(database):
    library = put_tracks(database, ["a", "b"])
    set_tracks(database, "missing_since = last_seen_at", "audio_hash = 'a'")
    assert counts(database, plan(database, library)) == {"found": 1, "pending": 1}


def test_a_track_that_goes_missing_stays_accounted_for(database):
    library = put_tracks(database, ["a", "b"])
    run_id = plan(database, library)
    set_tracks(database, "missing_since = last_seen_at", "audio_hash = 'a'")
    assert plan(database, library) == run_id
    assert counts(database, run_id) == {"found": 2, "pending": 2}


def twins(database, run_id):
    with database.read() as connection:
        return [(twin.track_id, twin.leader_id) for twin in runs.find_twins(connection, run_id)]


def mark(database, run_id) -> None:
    with database.write() as connection:
        runs.mark_duplicates(connection, run_id, runs.find_twins(connection, run_id))


def test_twins_have_one_leader_and_no_chains(database):
    run_id = plan(database, put_tracks(database, ["x", "x", "y", "x", None, None]))
    assert twins(database, run_id) == [(2, 1), (4, 1)]


def test_what_is_analysed_leads(database):
    one = put_tracks(database, ["late"], b"/one")
    two = put_tracks(database, ["x"], b"/two")
    analyse(database, plan(database, two))
    set_tracks(database, "audio_hash = 'x'", f"library_id = {one}")
    run_id = plan(database, one)
    assert twins(database, run_id) == [(1, 2)]
    mark(database, run_id)
    assert counts(database, run_id) == {"found": 1, "duplicate": 1}
    shown = rows(database, "SELECT path, genre, probability FROM track_genre WHERE rank = 1 ORDER BY path")
    assert shown == [("/one/000.mp3", "rock", 0.5), ("/two/000.mp3", "rock", 0.5)]


def test_a_duplicate_whose_original_changed_is_analysed(database):
    library = put_tracks(database, ["x", "x"])
    first = plan(database, library)
    mark(database, first)
    analyse(database, first)
    assert counts(database, first) == {"found": 2, "done": 1, "duplicate": 1}
    set_tracks(database, "audio_hash = 'new'", "id = 1")
    again = plan(database, library)
    analyse(database, again)
    assert counts(database, again) == {"found": 2, "done": 2}
    assert rows(database, "SELECT track_id, status, audio_hash FROM prediction ORDER BY 1") == [
        (1, "done", "new"),
        (2, "done", "x"),
    ]
