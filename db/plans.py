"""Plans of runs: the predictions that a run has to have, page by page, and its counts.

At every moment `found` is the sum of what the run counts: who changes which predictions a run has, changes `found` in
the same transaction, or `handed_over` of the run that loses them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import (
    Connection,
    Insert,
    Row,
    ScalarSelect,
    Select,
    Update,
    exists,
    false,
    func,
    insert,
    join,
    literal,
    select,
    type_coerce,
    update,
)

from db.pages import (
    Analysis,
    Page,
    PageCounts,
    count_tracks,
    is_wanted,
    join_originals,
    read_track_ids,
    select_facts,
)
from db.prepared import prepared
from db.runs import lock_libraries
from db.scores import forget_scores
from db.statistics import prefer_indexes
from db.tables import FINAL_STATUSES, Prediction, PredictionStatus, Run, Track


def plan_page(connection: Connection, analysis: Analysis, page: Page) -> PageCounts:
    """Let the run have a pending prediction of each of the page's tracks that has no valid one.

    A prediction is valid if it is about the audio that the file holds now. It must not have an outcome that is to be
    tried again, either. A prediction that another run has still open is taken over. If it is in a job, it stays there.

    Until the transaction ends, other producers that plan or scan the library wait.
    """
    prefer_indexes(connection)
    lock_libraries(connection, [page.library_id])
    track_ids = read_track_ids(connection, page)
    new = _insert_missing_predictions(connection, *analysis[:3], track_ids).rowcount
    wanted = _lock_wanted_predictions(connection, *analysis, track_ids).all()
    of_others = _change_predictions(connection, analysis.run_id, wanted)
    for run_id in sorted({analysis.run_id, *of_others}):  # All who lock runs do so in this order.
        if run_id == analysis.run_id:
            _add_found(connection, run_id, new + of_others.total())
        else:
            _add_handed_over(connection, run_id, of_others[run_id])
    return count_tracks(connection, analysis, track_ids)


def _change_predictions(connection: Connection, run_id: int, wanted: Sequence[Row[int, int, str]]) -> Counter[int]:
    """Give the run these predictions, pending where they have an outcome. Returns how many each other run had."""
    of_others = Counter(owner_id for _, owner_id, _ in wanted if owner_id != run_id)
    if of_others:
        _take_predictions(connection, [id for id, owner_id, _ in wanted if owner_id != run_id], run_id)
    ended = [id for id, _, status in wanted if status in FINAL_STATUSES]
    if ended:
        forget_scores(connection, ended)
        _reset_predictions(connection, ended)
    pending = [id for id, _, status in wanted if status == PredictionStatus.PENDING]
    if pending:
        _update_hashes(connection, pending)
    return of_others


@prepared
def _insert_missing_predictions(run_id: int, model_id: int, coverage: str, track_ids: Sequence[int]) -> Insert:
    """A pending prediction for each of the tracks that has none at all."""
    is_known = exists().where(
        Prediction.track_id == Track.id, Prediction.model_id == model_id, Prediction.coverage == coverage
    )
    columns = {
        "track_id": Track.id,
        "model_id": type_coerce(model_id, Prediction.model_id.type),
        "coverage": type_coerce(coverage, Prediction.coverage.type),
        "is_newest": false(),
        "run_id": type_coerce(run_id, Prediction.run_id.type),
        "status": literal(PredictionStatus.PENDING.value),
        "audio_hash": Track.audio_hash,
        "attempts": literal(0),
    }
    new = select(*columns.values()).where(Track.id.in_(track_ids), Track.missing_since.is_(None), ~is_known)
    inserted = insert(Prediction).from_select(list(columns), new.order_by(Track.id))
    return inserted.execution_options(preserve_rowcount=True)


@prepared
def _lock_wanted_predictions(
    run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus], track_ids: Sequence[int]
) -> Select[int, int, str]:
    """The id, the run and the status of the predictions that have to change. Workers that end some of them wait."""
    tracks = select_facts().subquery()
    return (
        select(Prediction.id, Prediction.run_id, Prediction.status)
        .select_from(join_originals(join(Prediction, tracks, tracks.c.id == Prediction.track_id)))
        .where(
            Prediction.track_id.in_(track_ids),
            Prediction.model_id == model_id,
            Prediction.coverage == coverage,
            is_wanted(tracks, run_id, retry_statuses),
        )
        .order_by(Prediction.track_id)
        .with_for_update(of=Prediction)
    )


@prepared
def _take_predictions(prediction_ids: Sequence[int], run_id: int) -> Update:
    return update(Prediction).where(Prediction.id.in_(prediction_ids)).values(run_id=run_id)


@prepared
def _reset_predictions(prediction_ids: Sequence[int]) -> Update:
    """Make pending again what has an outcome that is not valid."""
    reset = {"job_id": None, "duplicate_of": None, "error_code": None, "error_detail": None}
    return (
        update(Prediction)
        .where(Prediction.id.in_(prediction_ids))
        .values(status=PredictionStatus.PENDING, audio_hash=_present_audio_hash(), **reset)
    )


@prepared
def _update_hashes(prediction_ids: Sequence[int]) -> Update:
    """Let predictions that no worker has begun with be about the audio that their files hold now."""
    has_changed = Prediction.audio_hash.is_distinct_from(_present_audio_hash())
    return (
        update(Prediction)
        .where(Prediction.id.in_(prediction_ids), has_changed)
        .values(audio_hash=_present_audio_hash())
    )


def _present_audio_hash() -> ScalarSelect[int | None]:
    """The hash of the audio that the prediction's file holds now."""
    return select(Track.audio_hash).where(Track.id == Prediction.track_id).scalar_subquery()


@prepared
def _add_found(run_id: int, count: int) -> Update:
    """Enter that the run has so many predictions more. It is unfinished until finish_runs finds nothing open."""
    return update(Run).where(Run.id == run_id).values(found=Run.found + count, finished_at=None)


@prepared
def _add_handed_over(run_id: int, count: int) -> Update:
    return update(Run).where(Run.id == run_id).values(handed_over=Run.handed_over + count)


def end_plan(connection: Connection, run_id: int, skipped: int, own: int) -> None:
    """Enter the counts of a run of which all pages are planned, as PageCounts has them in sum.

    What the run no longer has of its own was handed over while it was planned.
    """
    _lock_run(connection, run_id)
    kept = _count_predictions(connection, run_id).scalar_one()
    handed_over = max(0, own - kept)
    _update_counts(connection, run_id, skipped + handed_over + kept, skipped, handed_over)


@prepared
def _lock_run(run_id: int) -> Select[int]:
    return select(Run.id).where(Run.id == run_id).with_for_update(key_share=True)


@prepared
def _count_predictions(run_id: int) -> Select[int]:
    return select(func.count()).where(Prediction.run_id == run_id)


@prepared
def _update_counts(run_id: int, found: int, skipped: int, handed_over: int) -> Update:
    """Enter the run's counts. It is unfinished until finish_runs finds that nothing is open."""
    return (
        update(Run)
        .where(Run.id == run_id)
        .values(found=found, skipped=skipped, handed_over=handed_over, finished_at=None)
    )
