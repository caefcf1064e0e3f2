"""Results, genres, errors and runs, as people ask for them."""

from dataclasses import replace

import pytest

from db import models, pending, reports
from db.filters import Filter
from db.results import count_genres, read_results
from db.types import now
from tests.integration.rows import (
    analyse,
    claim,
    find_duplicates,
    finish,
    mark_duplicates,
    outcomes,
    plan,
    put_job,
    put_tracks,
    record,
    rows,
)


@pytest.fixture
def analysed(database):
    """Two libraries: tracks with probabilities 0.5, 0.75 and a failure."""
    for root, probability, error in ((b"/one", 0.5, None), (b"/two", 0.75, None), (b"/bad", 0.0, "silent")):
        run_id = plan(database, put_tracks(database, [root.decode()], root))
        job = claim(database, put_job(database, run_id))
        record(database, outcomes(database, job, probability, error))
        finish(database, job)
    return database


def results(database, **filter) -> list[tuple]:
    with database.read() as connection:
        found = read_results(connection, Filter(**filter))
        return [(row["path"], row["genre"], row["probability"], row["rank"]) for row in found]


def test_a_genres_most_probable_tracks(analysed):
    assert results(analysed, genre="ROCK") == [("/two/000.mp3", "rock", 0.75, 1), ("/one/000.mp3", "rock", 0.5, 1)]
    for min_probability in (0.6, 0.75):
        found = results(analysed, genre="rock", min_probability=min_probability)
        assert found == [("/two/000.mp3", "rock", 0.75, 1)]
    assert results(analysed, genre="rock", min_probability=0.76) == []
    assert results(analysed, limit=1, genre="rock") == [("/two/000.mp3", "rock", 0.75, 1)]
    assert results(analysed, genre="polka") == []


def test_each_tracks_top_genres(analysed):
    assert results(analysed, path="/one") == [("/one/000.mp3", "rock", 0.5, 1), ("/one/000.mp3", "jazz", 0.25, 2)]
    assert [row[1] for row in results(analysed, top=1)] == ["rock", "rock"]
    assert results(analysed, kind="mood", path="/one") == [("/one/000.mp3", "happy", 0.125, 1)]
    assert results(analysed, path="%") == []


def test_how_the_collection_divides(analysed):
    with analysed.read() as connection:
        found = count_genres(connection, Filter())
        one = count_genres(connection, Filter(roots=(b"/one",)))
    assert [(row["genre"], row["tracks"], row["mean_probability"]) for row in found] == [
        ("rock", 2, 0.625),
    ]
    assert [(row["genre"], row["tracks"]) for row in one] == [("rock", 1)]


def test_what_failed(analysed):
    with analysed.read() as connection:
        (error,) = reports.read_errors(connection, Filter())
    assert (error["path"], error["code"], error["detail"]) == (b"/bad/000.mp3", "silent", "it is silent")


def test_runs_the_newest_first(analysed):
    with analysed.read() as connection:
        found = reports.read_runs(connection, 2)
    assert [run.libraries for run in found] == [(b"/bad",), (b"/two",)]
    assert found[0].counts.failed == 1
    assert found[0].finished_at is not None


def test_what_is_gone_is_not_shown(analysed):
    with analysed.write() as connection:
        connection.exec_driver_sql("UPDATE track SET missing_since = last_seen_at WHERE id = 1")
    assert rows(analysed, "SELECT DISTINCT path FROM track_genre") == [("/two/000.mp3",)]


def test_nothing_yet(database):
    with database.read() as connection:
        assert reports.read_runs(connection, 5) == []
        assert count_genres(connection, Filter()) == []
    analyse(database, plan(database, put_tracks(database, ["a"])))
    with database.read() as connection:
        assert len(reports.read_runs(connection, 5)) == 1


def test_a_library_is_told_from_one_whose_name_is_alike(database):
    for root in (b"/music", b"/MUSIC", b"/musical", b"/m_sic"):
        analyse(database, plan(database, put_tracks(database, [root.decode()], root)))
    assert {row[0] for row in results(database, roots=(b"/m_sic", b"/music"))} == {"/m_sic/000.mp3", "/music/000.mp3"}


def test_results_of_one_model(analysed):
    assert len(results(analysed, model="model")) == 4
    assert results(analysed, model="another") == []


def test_rank_1_is_the_most_probable_of_its_kind(analysed):
    ranks = "SELECT kind, genre, rank FROM track_tag WHERE path = '/one/000.mp3' ORDER BY kind, rank"
    assert rows(analysed, ranks) == [("genre", "rock", 1), ("genre", "jazz", 2), ("mood", "happy", 1)]
    run_id = plan(analysed, put_tracks(analysed, ["x"], b"/x"))
    job = claim(analysed, put_job(analysed, run_id))
    record(analysed, outcomes(analysed, job, probability=0.125))
    assert rows(analysed, ranks.replace("/one", "/x")) == [
        ("genre", "jazz", 1),
        ("genre", "rock", 2),
        ("mood", "happy", 1),
    ]
    first = "SELECT path, genre FROM {} ORDER BY path"
    assert rows(analysed, first.format("track_best")) == rows(analysed, first.format("track_genre WHERE rank = 1"))


def test_duplicates_show_what_their_original_has(database):
    run_id = plan(database, put_tracks(database, ["x", "x"]))
    mark_duplicates(database, run_id, find_duplicates(database, run_id))
    assert results(database) == []
    analyse(database, run_id)
    assert results(database, genre="rock") == [("/music/000.mp3", "rock", 0.5, 1), ("/music/001.mp3", "rock", 0.5, 1)]
    with database.read() as connection:
        assert [row["tracks"] for row in count_genres(connection, Filter())] == [2]
    with database.write() as connection:  # the original is deleted, its copy stays
        connection.exec_driver_sql("UPDATE track SET missing_since = last_seen_at WHERE id = 1")
    assert results(database, genre="rock") == [("/music/001.mp3", "rock", 0.5, 1)]


def test_errors_of_a_run_and_no_more_than_wanted(database):
    for root in (b"/a", b"/b"):
        run_id = plan(database, put_tracks(database, [root.decode() + "1", root.decode() + "2"], root))
        analyse(database, run_id, error="undecodable")
    with database.read() as connection:
        assert len(list(reports.read_errors(connection, Filter()))) == 4
        assert reports.count_errors(connection, Filter()) == 4
        assert len(list(reports.read_errors(connection, Filter(limit=3)))) == 3
        found = list(reports.read_errors(connection, Filter(run=run_id)))
    assert [(row["path"], row["status"], row["attempts"]) for row in found] == [
        (b"/b/000.mp3", "failed", 1),
        (b"/b/001.mp3", "failed", 1),
    ]


def test_how_many_jobs_of_a_run_wait_and_are_held(database):
    run_id = plan(database, put_tracks(database, ["a", "b", "c"]))
    with database.write() as connection:
        made = [pending.insert_job(connection, run_id, [track_id], 1.0, "bulk", now()) for track_id in (1, 2, 3)]
    claim(database, made[0])
    with database.read() as connection:
        report = reports.read_run(connection, run_id)
    assert (report.jobs_queued, report.jobs_running, report.finished_at) == (2, 1, None)
    assert (report.model, report.coverage, report.counts.open) == ("model", "regions", 3)


def test_a_run_is_told_from_others(analysed):
    """Each has its own model, libraries and jobs."""
    other = plan(analysed, put_tracks(analysed, ["x", "y"], b"/b"), put_tracks(analysed, ["z"], b"/a"), model="other")
    put_job(analysed, other)
    with analysed.read() as connection:
        first, last = reports.read_run(connection, 1), reports.read_run(connection, other)
    assert (first.id, first.model, first.libraries, first.counts.found) == (1, "model", (b"/one",), 1)
    assert (first.jobs_queued, first.jobs_running) == (0, 0)
    assert (last.id, last.model, last.libraries, last.counts.found) == (other, "other", (b"/a", b"/b"), 3)
    assert (last.jobs_queued, last.jobs_running) == (1, 0)


def test_all_runs_are_told_unless_there_is_a_limit(analysed):
    with analysed.read() as connection:
        assert [run.id for run in reports.read_runs(connection, None)] == [3, 2, 1]
        assert [run.id for run in reports.read_runs(connection, 1)] == [3]


def test_rows_come_in_the_order_of_their_paths(database):
    """Whatever the order in which they were analysed."""
    for root in (b"/c", b"/a", b"/b"):
        job = claim(database, put_job(database, plan(database, put_tracks(database, [f"{root}1", f"{root}2"], root))))
        first, second = outcomes(database, job)
        record(database, [second, first])
        finish(database, job)
    paths = [f"/{root}/00{number}.mp3" for root in "abc" for number in range(2)]
    assert [row[0] for row in results(database, top=1)] == paths
    assert [row[3] for row in results(database, path="/b/000.mp3")] == [1, 2]
    assert [row[0] for row in results(database, genre="rock")] == paths  # All have the same probability.
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'failed', error_code = 'x'")
    with database.read() as connection:
        assert [row["path"].decode() for row in reports.read_errors(connection, Filter())] == paths


def test_each_track_has_its_three_most_probable_genres_unless_another_number_is_wanted(database):
    genres = tuple((name, "genre") for name in ("rock", "jazz", "pop", "folk"))
    job = claim(database, put_job(database, plan(database, put_tracks(database, ["a"]))))
    (outcome,) = outcomes(database, job)
    with database.write() as connection:
        ids = models.put_genres(connection, job.model_id, genres, "{}")
    scores = {"genre_ids": tuple(ids[name] for name, _ in genres), "probabilities": (0.1, 0.4, 0.3, 0.2)}
    record(database, [replace(outcome, **scores)])
    assert [row[1] for row in results(database)] == ["jazz", "pop", "folk"]
    assert [row[1] for row in results(database, top=4)] == ["jazz", "pop", "folk", "rock"]
    assert [row[1] for row in results(database, top=1)] == ["jazz"]


def test_genres_come_by_model_then_by_their_tracks_then_by_their_probability(database):
    """One track is jazz, two are rock; no track is folk or pop first. Each model has a library of its own."""
    genres = tuple((name, "genre") for name in ("folk", "jazz", "pop", "rock"))
    for model in ("second", "first"):
        run_id = plan(database, put_tracks(database, list("abc"), model.encode()), model=model)
        job = claim(database, put_job(database, run_id))
        entries = outcomes(database, job)
        with database.write() as connection:
            ids = models.put_genres(connection, job.model_id, genres, "{}")
        probabilities = ((0.1, 0.9, 0.2, 0.8), (0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4))
        common = {"genre_ids": tuple(ids[name] for name, _ in genres)}
        record(database, [replace(o, **common, probabilities=p) for o, p in zip(entries, probabilities, strict=True)])
    with database.read() as connection:
        found = [(row["model"], row["genre"], row["tracks"]) for row in count_genres(connection, Filter())]
    one_model = [("rock", 2), ("jazz", 1)]
    assert found == [(model, *genre) for model in ("first", "second") for genre in one_model]
