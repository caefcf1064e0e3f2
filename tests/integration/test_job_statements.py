"""Each statement of jobs and outcomes changes the rows that it is meant for, and no others."""

from dataclasses import replace
from datetime import timedelta

import pytest

from db import jobs, lost_jobs, pending
from db.outcomes import record_outcomes
from db.types import now
from tests.integration.changes import changes
from tests.integration.rows import claim, finish, outcomes, plan, record, rows
from tests.integration.world import QUEUED, REQUEUED_JOB, of_predictions

PREDICTION_1 = "SELECT id FROM prediction WHERE track_id = 1 AND model_id = 1 AND coverage = 'regions'"


def test_a_new_job(world):
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'pending' WHERE NOT track_id = 2")
    moment = now()
    with changes(world.database) as changed, world.database.write() as connection:
        job_id = pending.insert_job(connection, world.run, [1, 3], 12.5, "fast", moment)
    head = {name: value for name, value in changed.pop(("job", job_id)).items() if value is not None}
    assert head == {
        "id": job_id, "run_id": world.run, "queue": "fast", "status": "queued", "tracks": 2, "audio_s": 12.5,
        "attempts": 0, "queued_at": moment,
    }  # fmt: skip
    assert changed == of_predictions({"status": "queued", "job_id": job_id}, 1, 3)


def test_which_tracks_are_pending(world):
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'pending' WHERE NOT track_id = 2")
        connection.exec_driver_sql("UPDATE track SET duration_s = id")
    with world.database.read() as connection:
        tracks = pending.lock_pending_tracks(connection, world.run, 10)
        assert {(track.prediction_id, track.duration_s) for track in tracks} == {(1, 1.0), (3, 3.0), (4, 4.0)}
        assert len(pending.lock_pending_tracks(connection, world.run, 2)) == 2


def test_which_jobs_are_queued(world):
    claim(world.database, world.job)
    with world.database.read() as connection:
        assert pending.read_queued_jobs(connection, "bulk", 10) == sorted(world.other_jobs)
        assert pending.read_queued_jobs(connection, "bulk", 2) == sorted(world.other_jobs)[:2]
        assert pending.read_queued_jobs(connection, "fast", 10) == []


def test_a_claim(world):
    with changes(world.database) as changed:
        job = claim(world.database, world.job, "a")
    head = changed.pop(("job", world.job))
    assert (head.pop("lease_until") - head.pop("started_at")).total_seconds() == 60
    assert head == {"status": "running", "attempts": 1, "worker": "a"}
    assert changed == of_predictions({"status": "running", "attempts": 1}, 1, 2)
    assert [track.id for track in job.tracks] == [1, 2]
    assert (job.model, job.version, job.weights_sha256, job.model_id, job.coverage) == ("model", "1", "w", 1, "regions")


def test_a_claim_of_other_analyses(world):
    full, other = claim(world.database, world.full_job), claim(world.database, world.other_model_job)
    assert (full.model_id, full.coverage) == (1, "full")
    assert (other.model, other.model_id, other.coverage) == ("other", 2, "regions")


def test_a_claim_after_another_worker_lost_the_job(world):
    claim(world.database, world.job, "a", lease_s=-1)
    with changes(world.database) as changed:
        claim(world.database, world.job, "b")
    head = changed.pop(("job", world.job))
    assert head.pop("lease_until") > now()
    assert head == {"attempts": 2, "worker": "b"}
    assert changed == of_predictions({"attempts": 2}, 1, 2)


def test_a_claim_leaves_out_what_has_an_outcome(world):
    record(world.database, outcomes(world.database, claim(world.database, world.job, "a", lease_s=-1))[:1])
    with changes(world.database) as changed:
        assert [track.id for track in claim(world.database, world.job, "b").tracks] == [2]
    assert {key for key in changed if key[0] == "prediction"} == set(of_predictions({}, 2))


def test_a_lease_is_over_only_after_its_end(world):
    job, moment = claim(world.database, world.job), now()
    with world.database.write() as connection:
        assert jobs.renew_lease(connection, job, 0.0, moment)
        assert jobs.claim_job(connection, world.job, "b", 60, moment) is None
        assert lost_jobs.take_back_lapsed_jobs(connection, moment) == []
        assert jobs.claim_job(connection, world.job, "b", 60, moment + timedelta(microseconds=1)) is not None
        assert jobs.renew_lease(connection, replace(job, worker="b", attempt=2), 0.0, moment)
        assert lost_jobs.take_back_lapsed_jobs(connection, moment + timedelta(microseconds=1)) == [world.job]


def test_a_renewed_lease(world):
    job, moment = world.claim_all(), now()
    with changes(world.database) as changed, world.database.write() as connection:
        assert jobs.renew_lease(connection, job, 300, moment)
    assert changed == {("job", world.job): {"lease_until": moment + timedelta(seconds=300)}}


@pytest.mark.parametrize("lost", [{"worker": "z"}, {"attempt": 2}, {"attempt": 0}, {"id": -1}])
def test_a_job_that_is_held_by_another_worker_or_another_attempt_is_not_touched(world, lost):
    job = replace(world.claim_all(), **lost)
    with changes(world.database) as changed, world.database.write() as connection:
        assert not jobs.renew_lease(connection, job, 300, now())
        jobs.hand_back_job(connection, job)
        jobs.finish_job(connection, job, now())
    assert changed == {}


def test_a_job_that_is_not_running_is_not_touched(world):
    job = claim(world.database, world.job, "a")
    record(world.database, outcomes(world.database, job))
    finish(world.database, job)
    with changes(world.database) as changed, world.database.write() as connection:
        assert not jobs.renew_lease(connection, job, 300, now())
        jobs.hand_back_job(connection, job)
        jobs.finish_job(connection, job, now())
        assert lost_jobs.take_back_worker_jobs(connection, "a", now()) == []
        assert lost_jobs.take_back_lapsed_jobs(connection, now() + timedelta(days=1)) == []
    assert changed == {}


def test_a_job_that_is_handed_back(world):
    job = world.claim_all()
    record(world.database, outcomes(world.database, job)[:1])
    with changes(world.database) as changed, world.database.write() as connection:
        jobs.hand_back_job(connection, job)
    assert changed == {("job", world.job): {**REQUEUED_JOB, "attempts": 0}, **of_predictions(QUEUED, 2)}


def test_the_end_of_a_job(world):
    job, moment = world.claim_all(), now()
    record(world.database, outcomes(world.database, job))
    with changes(world.database) as changed, world.database.write() as connection:
        jobs.finish_job(connection, job, moment)
    assert changed == {("job", world.job): {"status": "done", "finished_at": moment, "lease_until": None}}


def test_an_outcome(world):
    job = world.claim_all()
    entries = outcomes(world.database, job)
    moment = now()
    with changes(world.database) as changed, world.database.write() as connection:
        assert record_outcomes(connection, entries[:1], moment) == 1
    end = {"status": "done", "windows": 9, "device": "cpu", "amp": False, "elapsed_ms": 1.0, "finished_at": moment}
    end |= {"is_newest": True, "first_genre_id": 1, "first_probability": 0.5}
    assert changed.pop(("prediction", 1, 1, "regions")) == end
    key = ("score", 1, 1, "regions")
    assert changed == {
        (*key, 1): {"probability": 0.5, "rank": 1},  # rock and jazz are genres
        (*key, 2): {"probability": 0.25, "rank": 2},
        (*key, 3): {"probability": 0.125, "rank": 1},  # happy is a mood
    }


def test_an_outcome_that_is_an_error(world):
    entries, moment = outcomes(world.database, world.claim_all(), error="silent"), now()
    with changes(world.database) as changed, world.database.write() as connection:
        assert record_outcomes(connection, entries[1:], moment) == 1
    end = {"status": "failed", "error_code": "silent", "error_detail": "it is silent", "finished_at": moment}
    assert changed == of_predictions({**end, "windows": 9, "device": "cpu", "amp": False, "elapsed_ms": 1.0}, 2)


def test_what_an_earlier_analysis_has_stored_goes_when_the_track_is_planned_anew_and_that_of_others_stays(world):
    for job_id in (world.job, *world.other_jobs):
        job = claim(world.database, job_id)
        record(world.database, [replace(entry, embedding=b"1234") for entry in outcomes(world.database, job)])
        finish(world.database, job)
    (prediction_id,) = rows(world.database, PREDICTION_1)[0]
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE track SET audio_hash = 99 WHERE id = 1")
    with changes(world.database) as changed:
        again = plan(world.database, 1)
    key = ("score", 1, 1, "regions")
    gone = {name for name, values in changed.items() if values == {}}
    assert gone == {(*key, 1), (*key, 2), (*key, 3), ("embedding", prediction_id)}
    assert changed["prediction", *key[1:]].items() >= {"status": "pending", "first_genre_id": None}.items()
    with world.database.write() as connection:
        job_id = pending.insert_job(connection, again, [prediction_id], 10.0, "bulk", now())
    job = claim(world.database, job_id)
    (outcome,) = outcomes(world.database, job, 0.75)
    outcome = replace(outcome, genre_ids=outcome.genre_ids[:1], probabilities=outcome.probabilities[:1])
    with changes(world.database) as changed:
        assert record(world.database, [outcome]) == 1
    changed.pop(("prediction", 1, 1, "regions"))
    assert changed == {
        (*key, 1): {"probability": 0.75, "rank": 1},
        ("prediction", 1, 2, "regions"): {"is_newest": False},  # It was stored last until now.
    }


def test_an_outcome_without_a_probability_for_each_genre_is_refused(world):
    entry = outcomes(world.database, world.claim_all())[0]
    with changes(world.database) as changed, pytest.raises(ValueError, match="2 probabilities for 3 genres"):
        record(world.database, [replace(entry, probabilities=entry.probabilities[1:])])
    assert changed == {}


def test_an_outcome_of_a_track_that_is_in_another_running_job_is_left_out(world):
    job = world.claim_all()
    entries = outcomes(world.database, job)
    strange = [replace(entries[0], track_id=3), replace(entries[1], job_id=world.next_job)]
    with changes(world.database) as changed:
        assert record(world.database, strange) == 0
        assert record(world.database, [entries[0], *strange]) == 1
    assert {key[1] for key in changed} == {1}


def test_duplicates_of_a_track_that_fails(world):
    """Tracks 3 and 5 are duplicates of track 1, in all analyses and in two runs; track 6 is one of track 2."""
    entries = outcomes(world.database, world.claim_all(), error="silent")
    duplicate = (
        "UPDATE prediction SET status = 'duplicate', duplicate_of = {0}, "
        "audio_hash = (SELECT audio_hash FROM track WHERE id = {0}) WHERE track_id = {1}"
    )
    with world.database.write() as connection:
        for original, copy in ((1, 3), (1, 5), (2, 6)):
            connection.exec_driver_sql(duplicate.format(original, copy))
        connection.exec_driver_sql("UPDATE prediction SET duplicate_of = 1 WHERE track_id = 4")  # But it is running.
        connection.exec_driver_sql("UPDATE run SET finished_at = started_at")
    with changes(world.database) as changed:
        assert record(world.database, entries[:1]) == 1
    changed.pop(("prediction", 1, 1, "regions"))
    freed = {"status": "pending", "duplicate_of": None, "job_id": None}
    other_run = rows(world.database, f"SELECT run_id FROM job WHERE id = '{world.other_library_job}'")[0][0]
    reopened = {("run", run_id): {"finished_at": None} for run_id in (world.run, other_run)}
    assert changed == {**of_predictions(freed, 3, 5), **reopened}
