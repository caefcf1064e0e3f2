"""What plans and queueing cost does not depend on how large the collection is: they find rows by indexes."""

import pytest

from db import pages, pending, runs
from db.duplicates import find_duplicate_candidates, mark_duplicates
from db.parts import Part
from db.statistics import update_statistics
from db.types import now
from producer.plan import plan_tracks
from tests.integration.explain import LARGE_TABLES, explained
from tests.integration.rows import plan, put_job, put_tracks, rows

TRACKS = 3000  # So many that it costs more to read all of them than to look up those of a page.
PAGE_TRACKS = 20


@pytest.fixture
def library(database):
    """A library in which every track has a copy."""
    return put_tracks(database, [number // 2 for number in range(TRACKS)])


@pytest.fixture(params=["without statistics", "with statistics"])
def run_id(request, database, library):
    """A run that is planned. PostgreSQL may know nothing of the tables yet."""
    run_id = plan(database, library)
    if request.param == "with statistics":
        look_at_tables(database)
    return run_id


def look_at_tables(database) -> None:
    with database.write() as connection:
        for table in LARGE_TABLES:
            update_statistics(connection, table)


def plan_pages(database, run_id) -> list[str]:
    """Plan the run. Returns what more than a few rows are read for, but for its counts, of which there is one."""
    with explained() as found:
        plan_tracks(database, run_id, page_tracks=PAGE_TRACKS)
    return [reading for reading in found if "SELECT count(*) AS" not in reading]


def test_a_plan_of_new_tracks(database, run_id):
    other = put_tracks(database, list(range(200)), b"/other")
    with database.write() as connection:
        other_id = runs.open_run(connection, 1, "regions", [Part(other)], now())
    assert plan_pages(database, other_id) == []
    assert rows(database, f"SELECT count(*) FROM prediction WHERE run_id = {other_id}") == [(200,)]


def test_a_plan_of_tracks_that_changed_or_belong_to_another_run(database, library, run_id):
    other = put_tracks(database, [], b"/other")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'done' WHERE track_id < 20")
        connection.exec_driver_sql("UPDATE track SET audio_hash = 99999 WHERE id IN (5, 30)")
        both = runs.open_run(connection, 1, "regions", [Part(library), Part(other)], now())
    assert plan_pages(database, both) == []
    assert rows(database, f"SELECT count(*) FROM prediction WHERE run_id = {both}") == [(TRACKS - 18,)]


def test_finding_and_marking_duplicates(database, library):
    run_id = plan(database, library)
    look_at_tables(database)  # As a plan does that is larger than this one.
    with database.read() as connection:
        analysis = pages.read_analysis(connection, run_id)
        page, _ = pages.count_next_page(connection, analysis, Part(library), "", PAGE_TRACKS)
    with explained() as found:
        with database.read() as connection:
            candidates = find_duplicate_candidates(connection, analysis, page)
        with database.write() as connection:
            mark_duplicates(connection, analysis, candidates, now())
    assert found == []
    assert rows(database, "SELECT count(*) FROM prediction WHERE status = 'duplicate'") == [(PAGE_TRACKS // 2,)]


def test_making_jobs_and_finding_those_that_wait(database, run_id):
    with explained(of_run=True) as found:
        with database.write() as connection:
            tracks = pending.lock_pending_tracks(connection, run_id, 50)
            job_id = pending.insert_job(connection, run_id, [t.prediction_id for t in tracks], 1.0, "bulk", now())
        with database.read() as connection:
            assert pending.read_queued_jobs(connection, "bulk", 10) == [job_id]
    assert found == []
    assert rows(database, f"SELECT count(*) FROM prediction WHERE job_id = {job_id}") == [(50,)]


def test_closing_runs(database, run_id):
    put_job(database, run_id)
    with explained(of_run=True) as found, database.write() as connection:
        runs.finish_runs(connection, now())
    assert found == []


def test_a_statement_that_reads_a_whole_table_is_found(database, run_id):
    with explained() as found, database.read() as connection:
        connection.exec_driver_sql("SELECT sum(windows) FROM prediction")
        connection.exec_driver_sql("SELECT id FROM track WHERE id = 7")
    assert len(found) == 1
    assert "sum(windows)" in found[0]
