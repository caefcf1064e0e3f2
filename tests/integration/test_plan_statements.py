"""Each statement of runs, plans and models changes the rows that it is meant for, and no others."""

import pytest

from db import models, runs
from db.duplicates import DuplicateCandidate
from db.parts import Part
from db.types import now
from producer.plan import plan_tracks
from tests.integration.changes import changes
from tests.integration.rows import counts, find_duplicates, mark_duplicates, plan, rows
from tests.integration.world import of_predictions


def test_the_genres_of_a_model(world):
    with world.database.write() as connection:
        first = models.put_genres(connection, 1, [("rock", "genre"), ("happy", "mood")], "{}")
    with changes(world.database) as changed, world.database.write() as connection:
        other = models.put_genres(connection, 2, [("rock", "genre")], '{"a": 1}')
    assert changed.pop(("model", 2)) == {"features": '{"a": 1}'}
    assert set(changed) == {("genre", other["rock"])}
    assert other["rock"] not in first.values()
    with changes(world.database) as changed, world.database.write() as connection:
        more = models.put_genres(connection, 1, [("jazz", "genre"), ("rock", "genre")], "{}")
    assert {name: more[name] for name in first} == first
    assert set(changed) == {("genre", more["jazz"])}
    assert set(more) == {"rock", "happy", "jazz"}


@pytest.mark.parametrize("other", [("another", "1", "w"), ("model", "2", "w"), ("model", "1", "v")])
def test_a_model_is_its_name_its_version_and_its_weights(world, other):
    with changes(world.database) as changed, world.database.write() as connection:
        assert models.put_model(connection, "model", "1", "w") == 1
        assert models.put_model(connection, *other) == 3
        assert models.put_model(connection, *other) == 3
    assert set(changed) == {("model", 3)}


def test_a_new_run(world):
    moment = now()
    with changes(world.database) as changed, world.database.write() as connection:
        run_id = runs.open_run(connection, 1, "regions", [Part(2), Part(1)], moment)
    row = {"model_id": 1, "coverage": "regions", "found": 0, "skipped": 0, "handed_over": 0, "started_at": moment}
    assert changed.pop(("run", run_id)) == {"id": run_id, **row, "finished_at": None}
    assert set(changed) == {("run_library", run_id, 1, b""), ("run_library", run_id, 2, b"")}


def test_a_plan_leaves_other_analyses_alone(world):
    """Track 1 changed. Only what the plan's model says of it under the plan's coverage is pending again."""
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'done'")
        connection.exec_driver_sql("UPDATE prediction SET status = 'failed' WHERE track_id = 2")
        connection.exec_driver_sql("UPDATE track SET audio_hash = 99 WHERE id = 1")
    with changes(world.database) as changed:
        plan_tracks(world.database, world.run)
    assert changed == of_predictions({"status": "pending", "job_id": None, "audio_hash": 99}, 1)


def test_a_pending_prediction_is_about_the_audio_that_the_file_has_when_it_is_planned(world):
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'pending' WHERE track_id = 1")
        connection.exec_driver_sql("UPDATE track SET audio_hash = 99 WHERE id < 3")
    with changes(world.database) as changed:
        plan_tracks(world.database, world.run)
    assert changed == of_predictions({"audio_hash": 99}, 1)  # Track 2 is in a job, which has begun with the old one.


def test_a_plan_takes_open_tracks_of_its_own_analysis_from_other_runs(world):
    with changes(world.database) as changed:
        both = plan(world.database, 1, 2)
    other_run = rows(world.database, f"SELECT run_id FROM job WHERE id = {world.other_library_job}")[0][0]
    assert changed.pop(("run", both))["found"] == 6
    handed_over = {("run", world.run): {"handed_over": 4}, ("run", other_run): {"handed_over": 2}}
    libraries = {("run_library", both, id, b""): {"run_id": both, "library_id": id, "path": b""} for id in (1, 2)}
    assert changed == {**of_predictions({"run_id": both}, 1, 2, 3, 4, 5, 6), **handed_over, **libraries}


def test_a_plan_makes_retried_tracks_pending_and_those_of_others_stay_failed(world):
    failed = "UPDATE prediction SET status = '{}', error_code = 'x', error_detail = 'y' WHERE track_id = {}"
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'done'")
        for status, track_id in (("failed", 1), ("quarantined", 2), ("failed", 5)):
            connection.exec_driver_sql(failed.format(status, track_id))
    with changes(world.database) as changed:
        plan_tracks(world.database, world.run, retry=True)
    reset = {"status": "pending", "job_id": None, "error_code": None, "error_detail": None}
    assert changed == of_predictions(reset, 1, 2)


def test_the_end_of_a_run(world):
    world.claim_all()
    for job_id in (world.job, world.next_job):
        with world.database.write() as connection:
            connection.exec_driver_sql(f"UPDATE prediction SET status = 'done' WHERE job_id = {job_id}")
    moment = now()
    with changes(world.database) as changed, world.database.write() as connection:
        runs.finish_runs(connection, moment)
    assert changed == {("run", world.run): {"finished_at": moment}}
    with changes(world.database) as changed, world.database.write() as connection:
        runs.finish_runs(connection, now())
    assert changed == {}


@pytest.mark.parametrize("status", ["pending", "queued", "running"])
def test_a_run_with_one_open_track_goes_on(world, status):
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'failed'")
        connection.exec_driver_sql(f"UPDATE prediction SET status = '{status}' WHERE run_id = 1 AND track_id = 4")
        runs.finish_runs(connection, now())
    assert rows(world.database, "SELECT id FROM run WHERE finished_at IS NULL") == [(1,)]


def test_tracks_that_are_marked_as_duplicates(world):
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'pending' WHERE NOT track_id = 2")
    candidates = [DuplicateCandidate(track_id, b"", 4, b"") for track_id in (1, 2, 5)]
    with changes(world.database) as changed:
        mark_duplicates(world.database, world.run, candidates)
    assert changed == of_predictions({"status": "duplicate", "duplicate_of": 4}, 1)


def set_predictions(world, values: str, *conditions: str) -> None:
    """Change all predictions for which one of the conditions holds."""
    with world.database.write() as connection:
        for condition in conditions or ("1 = 1",):
            connection.exec_driver_sql(f"UPDATE prediction SET {values} WHERE {condition}")


PLANNED = "model_id = 1 AND coverage = 'regions'"  # The analysis of World.run.


@pytest.mark.parametrize(
    ("column", "done_elsewhere"),
    [
        ("coverage", "track_id = 1 AND model_id = 1 AND coverage = 'full'"),
        ("model", "track_id = 1 AND model_id = 2"),
        ("track", f"track_id = 3 AND {PLANNED}"),
    ],
)
def test_a_duplicate_needs_an_original_that_is_done_in_the_same_analysis(world, column, done_elsewhere):
    """Track 2 is a copy of track 1, which failed; something else is done."""
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE track SET audio_hash = 1 WHERE id = 2")
    set_predictions(world, "status = 'failed', audio_hash = (SELECT audio_hash FROM track WHERE id = track_id)")
    set_predictions(world, "status = 'duplicate', duplicate_of = 1", f"track_id = 2 AND {PLANNED}")
    set_predictions(world, "status = 'done'", done_elsewhere)
    with changes(world.database) as changed:
        plan_tracks(world.database, world.run)
    assert changed == of_predictions({"status": "pending", "job_id": None, "duplicate_of": None}, 2)
    set_predictions(world, "status = 'done'", f"track_id = 1 AND {PLANNED}")
    set_predictions(world, "status = 'duplicate', duplicate_of = 1", f"track_id = 2 AND {PLANNED}")
    with changes(world.database) as changed:
        plan_tracks(world.database, world.run)
    assert changed == {}


def find_candidates(world, run_id) -> list[tuple[int, int]]:
    return [(candidate.track_id, candidate.leader_id) for candidate in find_duplicates(world.database, run_id)]


def set_hash(world, audio_hash: int, *track_ids: int) -> None:
    """Let the tracks hold this audio, and their predictions be about it."""
    ids = ", ".join(map(str, track_ids))
    with world.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE track SET audio_hash = {audio_hash} WHERE id IN ({ids})")
    set_predictions(world, f"audio_hash = {audio_hash}", f"track_id IN ({ids})")


def test_candidates_for_copies_are_pending_tracks_of_the_run_with_the_audio_of_others(world):
    """Tracks 1, 5 and 6 have the same hash. The last two are of another run."""
    set_hash(world, 1, 5, 6)
    set_predictions(world, "status = 'pending'", "track_id IN (5, 6)")
    assert find_candidates(world, world.run) == []  # Track 1 is not pending.
    set_predictions(world, "status = 'pending'", "track_id = 2")
    assert find_candidates(world, world.run) == []  # Track 2 has other audio.
    set_predictions(world, "status = 'pending'", "track_id = 1")
    assert find_candidates(world, world.run) == []  # Track 1 leads.
    set_predictions(world, "status = 'done'", f"track_id = 6 AND {PLANNED}")
    assert find_candidates(world, world.run) == [(1, 6)]
    set_predictions(world, "status = 'queued'", f"track_id = 6 AND {PLANNED}")
    assert find_candidates(world, world.run) == [(1, 6)]


@pytest.mark.parametrize("change", ["missing_since = last_seen_at", "audio_hash = 99"])
def test_a_track_whose_file_is_gone_or_changed_leads_no_copies(world, change):
    set_hash(world, 1, 2, 5)
    set_predictions(world, "status = 'pending'", "track_id IN (1, 2)")
    set_predictions(world, "status = 'done'", "track_id = 5")
    assert find_candidates(world, world.run) == [(1, 5), (2, 5)]
    with world.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE track SET {change} WHERE id = 5")
    assert find_candidates(world, world.run) == [(2, 1)]


@pytest.mark.parametrize("status", ["failed", "quarantined", "duplicate"])
def test_a_track_without_scores_of_its_own_leads_no_copies(world, status):
    set_hash(world, 1, 2)
    set_predictions(world, "status = 'pending'", f"track_id IN (1, 2) AND {PLANNED}")
    assert find_candidates(world, world.run) == [(2, 1)]
    set_predictions(world, f"status = '{status}'", f"track_id = 1 AND {PLANNED}")
    assert find_candidates(world, world.run) == []


def test_a_track_that_leads_others_is_not_marked(world):
    """Track 1 stands for track 2. Meanwhile track 5 is done, which has the same audio."""
    set_hash(world, 1, 2, 5)
    set_predictions(world, "status = 'pending'", f"track_id IN (1, 2) AND {PLANNED}")
    mark_duplicates(world.database, world.run, [DuplicateCandidate(2, b"", 1, b"")])
    set_predictions(world, "status = 'done'", "track_id = 5")
    with changes(world.database) as changed:
        mark_duplicates(world.database, world.run, [DuplicateCandidate(1, b"", 5, b"")])
    assert changed == {}


@pytest.mark.parametrize("status", ["failed", "quarantined", "duplicate"])
def test_a_leader_that_has_failed_meanwhile_leads_nobody(world, status):
    set_predictions(world, "status = 'pending'", "track_id = 1")
    set_predictions(world, f"status = '{status}'", f"track_id = 4 AND {PLANNED}")
    with changes(world.database) as changed:
        mark_duplicates(world.database, world.run, [DuplicateCandidate(1, b"", 4, b"")])
    assert changed == {}


def test_a_run_that_takes_its_tracks_back_has_handed_over_none(world):
    both = plan(world.database, 1, 2)
    assert counts(world.database, world.run) == {"found": 4, "handed_over": 4}
    assert plan(world.database, 1) == world.run
    assert counts(world.database, world.run) == {"found": 4, "queued": 4}
    assert counts(world.database, both) == {"found": 6, "handed_over": 4, "queued": 2}


def test_a_finished_run_that_is_planned_again_is_open(world):
    set_predictions(world, "status = 'done'")
    with world.database.write() as connection:
        runs.finish_runs(connection, now())
    with changes(world.database) as changed:
        plan_tracks(world.database, world.run)
    assert changed == {("run", world.run): {"finished_at": None}}
