"""Plans go on page by page. Whatever happens between two pages, each track is counted once in each run."""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from threading import Barrier

import pytest

from db import models, pages, plans, reports, runs, tracks
from db.duplicates import find_duplicate_candidates
from db.parts import Part
from db.tracks import TrackFacts
from db.types import now
from producer.plan import plan_tracks
from tests.integration.changes import changes
from tests.integration.rows import analyse, counts, plan, put_tracks, rows


def test_a_plan_that_ends_in_the_middle_is_continued(database, monkeypatch):
    """Some tracks are analysed, some are new, some were handed over: the counts are right after each page."""
    one, two = put_tracks(database, list(range(10)), b"/one"), put_tracks(database, list(range(10, 20)), b"/two")
    analyse(database, plan(database, one))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE track SET audio_hash = 99 WHERE id IN (2, 7)")
    before = plan(database, one)
    with database.write() as connection:
        run_id = runs.open_run(connection, 1, "regions", [Part(one), Part(two)], now())
    plan_page, planned = plans.plan_page, []

    def plan_page_and_die(connection, analysis, page):
        planned.append(page)
        if len(planned) == 4:
            plan_page(connection, analysis, page)
            raise KeyboardInterrupt
        return plan_page(connection, analysis, page)

    monkeypatch.setattr(plans, "plan_page", plan_page_and_die)
    with pytest.raises(KeyboardInterrupt):
        plan_tracks(database, run_id, page_tracks=3)
    assert counts(database, run_id) == {"found": 5, "pending": 5}
    assert counts(database, before) == {"found": 10, "skipped": 8, "handed_over": 2}
    plan_tracks(database, run_id, page_tracks=3)
    assert len(planned) == 4 + 3  # The pages that were planned already are only read.
    assert counts(database, run_id) == {"found": 20, "skipped": 8, "pending": 12}


@pytest.mark.parametrize("page_tracks", [1, 2, 3, 7, 8, 100])
def test_pages_of_all_sizes_make_the_same_plan(database, page_tracks):
    one, two = put_tracks(database, [1, 2, 3, 1], b"/one"), put_tracks(database, [4, 1, 5], b"/two")
    with database.write() as connection:
        model_id = models.put_model(connection, "model", "1", "w")
        run_id = runs.open_run(connection, model_id, "regions", [Part(one), Part(two)], now())
    with_pending = plan_tracks(database, run_id, page_tracks=page_tracks)
    assert counts(database, run_id) == {"found": 7, "pending": 7}
    assert len(with_pending) == -(-4 // page_tracks) + -(-3 // page_tracks)
    with database.read() as connection:
        analysis = pages.read_analysis(connection, run_id)
        found = [find_duplicate_candidates(connection, analysis, page) for page in with_pending]
    assert [(track.track_id, track.leader_id) for page in found for track in page] == [(4, 1), (6, 1)]


@pytest.fixture
def tree(database):
    """A library with tracks in folders: 1 to 3 are in `a`, 2 and 3 of these in `a/b`."""
    facts = [
        TrackFacts(path, 1, 1, number) for number, path in enumerate((b"a/1", b"a/b/2", b"a/b/3", b"a-b/4", b"c/5"))
    ]
    with database.write() as connection:
        library_id = tracks.put_library(connection, b"/music")
        tracks.insert_tracks(connection, library_id, facts, now())
        models.put_model(connection, "model", "1", "w")
    return library_id


def plan_parts(database, *parts: Part) -> int:
    with database.write() as connection:
        run_id = runs.open_run(connection, 1, "regions", parts, now())
    plan_tracks(database, run_id, page_tracks=2)
    return run_id


def test_a_run_of_a_part_of_a_library_plans_that_part_alone(database, tree):
    run_id = plan_parts(database, Part(tree, b"a"))
    assert rows(database, "SELECT track_id FROM prediction ORDER BY 1") == [(1,), (2,), (3,)]
    assert counts(database, run_id) == {"found": 3, "pending": 3}
    assert plan_parts(database, Part(tree, b"a")) == run_id
    inner = plan_parts(database, Part(tree, b"a/b"))
    assert counts(database, inner) == {"found": 2, "pending": 2}
    assert counts(database, run_id) == {"found": 3, "handed_over": 2, "pending": 1}
    whole = plan_parts(database, Part(tree))
    assert len({run_id, inner, whole}) == 3
    assert counts(database, whole) == {"found": 5, "pending": 5}
    with database.read() as connection:
        assert [run.libraries for run in reports.read_runs(connection, None)] == [
            (b"/music",),
            (b"/music/a/b",),
            (b"/music/a",),
        ]


def test_parts_that_lie_in_each_other_are_planned_once(database, tree):
    run_id = plan_parts(database, Part(tree, b"a/b"), Part(tree, b"c"), Part(tree, b"a"), Part(tree, b"c"))
    assert counts(database, run_id) == {"found": 4, "pending": 4}
    assert rows(database, "SELECT path FROM run_library ORDER BY path") == [("a",), ("c",)]
    analyse(database, run_id)
    with database.write() as connection:  # As when libraries became one.
        connection.exec_driver_sql("INSERT INTO run_library (run_id, library_id, path) VALUES (1, 1, 'a/b')")
    plan_tracks(database, run_id)
    assert counts(database, run_id) == {"found": 4, "done": 4}
    with database.read() as connection:
        assert pages.read_parts(connection, run_id) == [(tree, b"a"), (tree, b"c")]


def test_planning_what_is_known_writes_nothing_but_the_run(database, monkeypatch):
    library = put_tracks(database, [1, 2, None])
    analyse(database, plan(database, library))
    monkeypatch.delattr(plans, "plan_page")
    with changes(database) as changed:
        run_id = plan(database, library)
    assert set(changed) == {("run", run_id), ("run_library", run_id, library, b"")}
    assert counts(database, run_id) == {"found": 3, "skipped": 3}


def test_what_another_run_takes_while_a_run_is_planned_is_handed_over(database, monkeypatch):
    """Between the second and the third page another run is planned. The third page is taken back from it."""
    one, two = put_tracks(database, list(range(6)), b"/one"), put_tracks(database, list(range(6, 9)), b"/two")
    run_id, both = plan(database, one), plan(database, one, two)
    assert counts(database, run_id) == {"found": 6, "handed_over": 6}
    count_next_page, calls = pages.count_next_page, []

    def count_after_another_plan(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            plan_tracks(database, both)
            assert counts(database, both) == {"found": 9, "pending": 9}
        return count_next_page(*arguments)

    monkeypatch.setattr(pages, "count_next_page", count_after_another_plan)
    plan_tracks(database, run_id, page_tracks=2)
    assert counts(database, run_id) == {"found": 6, "handed_over": 4, "pending": 2}
    assert counts(database, both) == {"found": 9, "handed_over": 2, "pending": 7}


def test_runs_that_are_planned_at_once_have_each_track_once(database):
    """Of three libraries each run has two. In the end each track is pending in one of the runs."""
    libraries = [put_tracks(database, list(range(50)), root) for root in (b"/a", b"/b", b"/c")]
    together = Barrier(3)

    def plan_two(others):
        together.wait(10)
        with database.write() as connection:
            model_id = models.put_model(connection, "model", "1", "w")
            run_id = runs.open_run(connection, model_id, "regions", map(Part, others), now())
        for _ in range(3):
            plan_tracks(database, run_id, page_tracks=7)
        return run_id

    with ThreadPoolExecutor(3) as pool:
        run_ids = list(pool.map(plan_two, combinations(libraries, 2)))
    found = [counts(database, run_id) for run_id in run_ids]
    assert [count["found"] for count in found] == [100, 100, 100]
    assert sum(count.get("pending", 0) for count in found) == 150
