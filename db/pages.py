"""Pages of tracks, as a plan of a run reads them: how many there are to plan, and which condition says so.

An analysis is what a run wants: the tracks of its parts of libraries, with its model and its coverage. Its tracks are
planned page by page, so that no transaction takes long. A page is some tracks of a part that follow each other by path.
Statements take a page's tracks by their ids, or by the index of paths. So what they cost depends on the page alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Join,
    Select,
    Subquery,
    Text,
    and_,
    func,
    or_,
    outerjoin,
    select,
    true,
    type_coerce,
)
from sqlalchemy.orm import aliased

from db.parts import Part, outermost, part_limits
from db.prepared import prepared
from db.tables import FINAL_STATUSES, OPEN_STATUSES, Prediction, PredictionStatus, Run, RunLibrary, Track

# What a prediction may be, if it stands for a copy of its track. The first ones are preferred.
LEADING_STATUSES = (
    PredictionStatus.DONE,
    PredictionStatus.RUNNING,
    PredictionStatus.QUEUED,
    PredictionStatus.PENDING,
)
RETRY_STATUSES = (PredictionStatus.FAILED, PredictionStatus.QUARANTINED)


class Analysis(NamedTuple):
    """What a run wants of the tracks of its libraries."""

    run_id: int
    model_id: int
    coverage: str
    retry_statuses: Sequence[PredictionStatus]  # Outcomes that are not valid for this order.


class Page(NamedTuple):
    """Tracks of a library that follow each other by path. Those whose files are gone are among them."""

    library_id: int
    after: str  # A path that all of the page follow, as text: that of the last track before it.
    last: str  # The path of the last track of the page, as text.


class PageCounts(NamedTuple):
    """What a plan finds in a page, in tracks."""

    new: int  # Without a prediction.
    wanted: int  # Whose prediction the plan has to change.
    skipped: int  # Whose outcome is from another run.
    own: int  # Whose prediction belongs to the run, with those whose files are gone.
    pending: int  # Of these, those that are there and in no job.


def read_analysis(connection: Connection, run_id: int, retry: bool = False) -> Analysis:
    """What the run wants. With `retry`, outcomes that are failures are not valid."""
    model_id, coverage = _select_analysis(connection, run_id).one()
    return Analysis(run_id, model_id, coverage, RETRY_STATUSES if retry else ())


@prepared
def _select_analysis(run_id: int) -> Select[int, str]:
    return select(Run.model_id, Run.coverage).where(Run.id == run_id)


def read_parts(connection: Connection, run_id: int) -> list[Part]:
    """The parts of libraries that the run concerns. No track is in two of them."""
    return outermost(Part(*row) for row in _select_parts(connection, run_id))


@prepared
def _select_parts(run_id: int) -> Select[int, bytes]:
    return select(RunLibrary.library_id, RunLibrary.path).where(RunLibrary.run_id == run_id)


def count_next_page(
    connection: Connection, analysis: Analysis, part: Part, after: str, tracks: int
) -> tuple[Page | None, PageCounts]:
    """The page of at most so many tracks of the part that follows the path `after`, and what there is to do in it.

    The first page follows an empty path. Behind the last track of the part there is no page.
    """
    first, end = part_limits(part.path)
    after = after or first
    last, *counts = _count_next_page(connection, *analysis, part.library_id, after, end, tracks).one()
    return Page(part.library_id, after, last) if last is not None else None, PageCounts(*counts)


@prepared
def _count_next_page(
    run_id: int,
    model_id: int,
    coverage: str,
    retry_statuses: Sequence[PredictionStatus],
    library_id: int,
    after: str,
    end: str,
    tracks: int,
) -> Select[str | None, int, int, int, int, int]:
    path = type_coerce(Track.path, Text)
    following = select_facts().where(Track.library_id == library_id, path > after, path < end)
    page = following.order_by(path).limit(tracks).subquery()
    return _count_tracks(page, run_id, model_id, coverage, retry_statuses)


def read_track_ids(connection: Connection, page: Page) -> Sequence[int]:
    """The tracks of the page."""
    return _select_track_ids(connection, *page).scalars().all()


@prepared
def _select_track_ids(library_id: int, after: str, last: str) -> Select[int]:
    path = type_coerce(Track.path, Text)
    return select(Track.id).where(Track.library_id == library_id, path > after, path <= last).order_by(path)


def count_tracks(connection: Connection, analysis: Analysis, track_ids: Sequence[int]) -> PageCounts:
    """What there is to do with these tracks."""
    _, *counts = _count_page(connection, *analysis, track_ids).one()
    return PageCounts(*counts)


@prepared
def _count_page(
    run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus], track_ids: Sequence[int]
) -> Select[str | None, int, int, int, int, int]:
    page = select_facts().where(Track.id.in_(track_ids)).subquery("page")
    return _count_tracks(page, run_id, model_id, coverage, retry_statuses)


def select_facts() -> Select[int, str, int | None, datetime | None]:
    """What a plan has to know of tracks."""
    return select(Track.id, type_coerce(Track.path, Text).label("path"), Track.audio_hash, Track.missing_since)


def _count_tracks(
    page: Subquery, run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus]
) -> Select[str | None, int, int, int, int, int]:
    """The last path of the page, and the fields of PageCounts in their order."""
    is_there = page.c.missing_since.is_(None)
    is_stale = _is_stale(page, retry_statuses)
    is_own = Prediction.run_id == run_id
    return select(
        func.max(page.c.path),
        func.count().filter(is_there, Prediction.id.is_(None)),
        func.count().filter(is_wanted(page, run_id, retry_statuses)),
        func.count().filter(is_there, ~is_own, Prediction.status.in_(FINAL_STATUSES), ~is_stale),
        func.count().filter(is_own),
        func.count().filter(is_there, is_own, Prediction.status == PredictionStatus.PENDING),
    ).select_from(_join_predictions(page, model_id, coverage))


_Original, _OriginalTrack = aliased(Prediction, name="original"), aliased(Track, name="original_track")


def _join_predictions(page: Subquery, model_id: int, coverage: str) -> Join:
    """The tracks of the page, with their predictions if they have some."""
    is_prediction = and_(
        Prediction.track_id == page.c.id, Prediction.model_id == model_id, Prediction.coverage == coverage
    )
    return join_originals(outerjoin(page, Prediction, is_prediction))


def join_originals(predictions: Join) -> Join:
    """These predictions, with what duplicates among them refer to."""
    is_original = and_(
        _Original.track_id == Prediction.duplicate_of,
        _Original.model_id == Prediction.model_id,
        _Original.coverage == Prediction.coverage,
    )
    return predictions.outerjoin(_Original, is_original).outerjoin(
        _OriginalTrack, _OriginalTrack.id == Prediction.duplicate_of
    )


def is_wanted(page: Subquery, run_id: int, retry_statuses: Sequence[PredictionStatus]) -> ColumnElement[bool]:
    """Whether the plan has to change a prediction: it is stale, open in another run, or about audio of before."""
    is_open_elsewhere = and_(Prediction.run_id != run_id, Prediction.status.in_(OPEN_STATUSES))
    has_old_hash = and_(Prediction.status == PredictionStatus.PENDING, _has_changed(page))
    return and_(page.c.missing_since.is_(None), or_(is_open_elsewhere, _is_stale(page, retry_statuses), has_old_hash))


def _is_stale(page: Subquery, retry_statuses: Sequence[PredictionStatus]) -> ColumnElement[bool]:
    """Whether a prediction has an outcome, but one that is not valid.

    The file holds other audio now, or it is to be tried again, or its original no longer stands for it.
    """
    stands = and_(_Original.status.in_(LEADING_STATUSES), _OriginalTrack.audio_hash == Prediction.audio_hash)
    has_lost_original = and_(Prediction.status == PredictionStatus.DUPLICATE, func.coalesce(~stands, true()))
    is_invalid = or_(_has_changed(page), Prediction.status.in_(retry_statuses), has_lost_original)
    return and_(Prediction.status.in_(FINAL_STATUSES), is_invalid)


def _has_changed(page: Subquery) -> ColumnElement[bool]:
    """Whether the file holds other audio than the prediction is about."""
    return Prediction.audio_hash.is_distinct_from(page.c.audio_hash)
