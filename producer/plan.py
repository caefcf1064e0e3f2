"""Plans of runs, page by page: what has to be analysed, and for which tracks another one's analysis stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from db import duplicates, models, pages, plans, runs
from db.pages import Analysis, Page, PageCounts
from db.parts import Part
from db.session import Database
from db.statistics import prefer_indexes, update_statistics
from db.types import now
from producer.audio_hash import same_audio
from producer.order import Order

PAGE_TRACKS = 1000  # How many tracks are planned in one transaction, at most.
MARKED_TRACKS = 100  # How many duplicates get their leaders' scores in one transaction, at most.
LARGE_FILL_TRACKS = 10_000  # After a plan with so many new predictions PostgreSQL looks at its tables anew.


def plan(database: Database, order: Order, parts: Sequence[Part], run_id: int | None = None) -> int:
    """Decide which tracks the run has to analyse. Returns the id of the run.

    run_id: None continues the unfinished run of these parts of libraries, or makes a new one.
    """
    identity = (order.checkpoint.name, order.checkpoint.version, order.checkpoint.sha256)
    with database.write() as connection:
        model_id = models.put_model(connection, *identity)
        if run_id is None:
            run_id = runs.open_run(connection, model_id, order.coverage, parts, now())
    with_pending = plan_tracks(database, run_id, order.retry)
    merge_duplicates(database, run_id, with_pending)
    with database.write() as connection:
        runs.finish_runs(connection, now())
    return run_id


def plan_tracks(database: Database, run_id: int, retry: bool = False, page_tracks: int = PAGE_TRACKS) -> list[Page]:
    """Let the run have a pending prediction of every track that it concerns and that has no valid one. Count the rest.

    Returns the pages with pending tracks. A plan that ends in the middle leaves counts that are right for the pages
    that it has planned, and the next plan goes on. What is planned already is only read.
    """
    with database.read() as connection:
        analysis = pages.read_analysis(connection, run_id, retry)
        parts = pages.read_parts(connection, run_id)
    skipped = own = new = 0
    with_pending = []
    for page, before, after in _plan_pages(database, analysis, parts, page_tracks):
        skipped += after.skipped
        own += after.own
        new += before.new
        if after.pending:
            with_pending.append(page)
    with database.write() as connection:
        plans.end_plan(connection, run_id, skipped, own)
    if new >= LARGE_FILL_TRACKS:
        _update_statistics(database)
    return with_pending


def _plan_pages(
    database: Database, analysis: Analysis, parts: Sequence[Part], page_tracks: int
) -> Iterator[tuple[Page, PageCounts, PageCounts]]:
    """Plan all pages of these parts of libraries. Each comes with what was found in it before and afterwards."""
    for part in parts:
        last = ""
        while True:
            with database.read() as connection:
                prefer_indexes(connection)
                page, before = pages.count_next_page(connection, analysis, part, last, page_tracks)
            if page is None:
                break
            after = before
            if before.new or before.wanted:
                with database.write() as connection:
                    after = plans.plan_page(connection, analysis, page)
            yield page, before, after
            last = page.last


def _update_statistics(database: Database) -> None:
    for table in ("track", "prediction"):
        with database.write() as connection:
            update_statistics(connection, table)


def merge_duplicates(database: Database, run_id: int, pages_with_pending: Iterable[Page]) -> None:
    """Let one analysis stand for those pending tracks of the pages whose audio is the same, byte for byte."""
    with database.read() as connection:
        analysis = pages.read_analysis(connection, run_id)
    for page in pages_with_pending:
        with database.read() as connection:
            candidates = duplicates.find_duplicate_candidates(connection, analysis, page)
        same = [candidate for candidate in candidates if same_audio(candidate.path, candidate.leader_path)]
        for start in range(0, len(same), MARKED_TRACKS):
            with database.write() as connection:
                duplicates.mark_duplicates(connection, analysis, same[start : start + MARKED_TRACKS], now())
