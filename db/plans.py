"""Plans of runs: which tracks a run has to analyse, and for which another track's analysis stands.

Most statements here concern an analysis: the tracks of a run's libraries, with the run's model and coverage. It is
given by `run_id`, `model_id` and `coverage`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    ScalarSelect,
    Select,
    Update,
    and_,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.orm import aliased

from db.prepared import prepared
from db.tables import (
    FINAL_STATUSES,
    OPEN_STATUSES,
    Library,
    Prediction,
    PredictionStatus,
    Run,
    RunLibrary,
    Track,
)

# What a prediction may be, if it stands for a copy of its track. The first ones are preferred.
LEADING_STATUSES = (
    PredictionStatus.DONE,
    PredictionStatus.RUNNING,
    PredictionStatus.QUEUED,
    PredictionStatus.PENDING,
)


@dataclass(frozen=True)
class DuplicateCandidate:
    """A track that may hold the same audio as another one, its leader, whose prediction could stand for both."""

    track_id: int
    path: bytes  # Absolute.
    leader_id: int
    leader_path: bytes  # Absolute.


def plan_run(connection: Connection, run_id: int, retry: bool = False) -> None:
    """Let the run have a pending prediction of every track of its libraries that has no valid one, and count the rest.

    A prediction is valid if it is about the audio that the file holds now. With `retry`, it must not have failed, too.
    A prediction that another run has still open is taken over. If it is in a job already, it stays there.
    """
    analysis = _select_analysis(connection, run_id).one()
    retry_statuses = (PredictionStatus.FAILED, PredictionStatus.QUARANTINED) if retry else ()
    _insert_missing_predictions(connection, *analysis)
    _take_over_predictions(connection, *analysis, retry_statuses)
    _reset_stale_predictions(connection, *analysis, retry_statuses)
    _update_pending_hashes(connection, *analysis)
    found = _count_found_tracks(connection, run_id).scalar_one()
    skipped = _count_skipped_tracks(connection, *analysis).scalar_one()
    _update_counts(connection, run_id, found, skipped)


@prepared
def _select_analysis(run_id: int) -> Select[int, int, str]:
    return select(Run.id, Run.model_id, Run.coverage).where(Run.id == run_id)


@prepared
def _insert_missing_predictions(run_id: int, model_id: int, coverage: str) -> Insert:
    """A pending prediction for each track that has none at all."""
    is_known = exists().where(
        Prediction.track_id == Track.id, Prediction.model_id == model_id, Prediction.coverage == coverage
    )
    columns = ["track_id", "model_id", "coverage", "run_id", "status", "audio_hash", "attempts"]
    new = select(
        Track.id,
        type_coerce(model_id, Prediction.model_id.type),
        type_coerce(coverage, Prediction.coverage.type),
        type_coerce(run_id, Prediction.run_id.type),
        literal(PredictionStatus.PENDING.value),
        Track.audio_hash,
        literal(0),
    ).where(Track.id.in_(_track_ids(run_id)), ~is_known)
    return insert(Prediction).from_select(columns, new)


def _take_over_predictions(
    connection: Connection, run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus]
) -> None:
    """Give this run what other runs have of its tracks, if it is open or has to be made anew."""
    wanted = (run_id, model_id, coverage, retry_statuses)
    counts = _count_wanted_of_other_runs(connection, *wanted).all()
    for other_run_id, count in counts:
        _add_handed_over(connection, other_run_id, count)
    if counts:
        _take_wanted_of_other_runs(connection, *wanted)


@prepared
def _count_wanted_of_other_runs(
    run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus]
) -> Select[int, int]:
    wanted = _is_wanted_of_other_run(run_id, model_id, coverage, retry_statuses)
    return select(Prediction.run_id, func.count()).where(wanted).group_by(Prediction.run_id)


@prepared
def _add_handed_over(run_id: int, count: int) -> Update:
    return update(Run).where(Run.id == run_id).values(handed_over=Run.handed_over + count)


@prepared
def _take_wanted_of_other_runs(
    run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus]
) -> Update:
    wanted = _is_wanted_of_other_run(run_id, model_id, coverage, retry_statuses)
    return update(Prediction).where(wanted).values(run_id=run_id)


@prepared
def _reset_stale_predictions(
    run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus]
) -> Update:
    """Make pending again what has an outcome that is not valid."""
    stale = _is_stale(run_id, model_id, coverage, retry_statuses)
    return (
        update(Prediction)
        .where(stale)
        .values(
            status=PredictionStatus.PENDING,
            job_id=None,
            duplicate_of=None,
            error_code=None,
            error_detail=None,
        )
    )


@prepared
def _update_pending_hashes(run_id: int, model_id: int, coverage: str) -> Update:
    """Let pending predictions be about the audio that their files hold now."""
    pending = and_(_is_of_analysis(run_id, model_id, coverage), Prediction.status == PredictionStatus.PENDING)
    return update(Prediction).where(pending).values(audio_hash=_present_audio_hash())


@prepared
def _count_found_tracks(run_id: int) -> Select[int]:
    """Count the tracks that are there now, and those of this run's predictions that are gone."""
    present = select(Track.id).where(Track.id.in_(_track_ids(run_id)))
    gone = select(Prediction.track_id).where(Prediction.run_id == run_id, Prediction.track_id.not_in(present))
    return select(func.count()).select_from(present.union_all(gone).subquery())


@prepared
def _count_skipped_tracks(run_id: int, model_id: int, coverage: str) -> Select[int]:
    """Count the tracks whose outcome is from another run."""
    of_analysis = _is_of_analysis(run_id, model_id, coverage)
    return select(func.count()).where(of_analysis, Prediction.run_id != run_id, Prediction.status.in_(FINAL_STATUSES))


@prepared
def _update_counts(run_id: int, found: int, skipped: int) -> Update:
    """Enter the run's counts. It is unfinished until finish_runs finds that nothing is open."""
    return update(Run).where(Run.id == run_id).values(found=found, skipped=skipped, handed_over=0, finished_at=None)


def _is_wanted_of_other_run(
    run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus]
) -> ColumnElement[bool]:
    """Whether a prediction of another run has to become this one's: it is stale, or still open."""
    stale = _is_stale(run_id, model_id, coverage, retry_statuses)
    still_open = and_(_is_of_analysis(run_id, model_id, coverage), Prediction.status.in_(OPEN_STATUSES))
    return and_(Prediction.run_id != run_id, or_(stale, still_open))


def _is_stale(
    run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[PredictionStatus]
) -> ColumnElement[bool]:
    """Whether a prediction of the analysis has an outcome, but one that is not valid."""
    invalid = or_(_is_outdated(), Prediction.status.in_(retry_statuses))
    return and_(_is_of_analysis(run_id, model_id, coverage), Prediction.status.in_(FINAL_STATUSES), invalid)


def _is_of_analysis(run_id: int, model_id: int, coverage: str) -> ColumnElement[bool]:
    """Whether a prediction is of the analysis, whichever run it belongs to."""
    return and_(
        Prediction.model_id == model_id, Prediction.coverage == coverage, Prediction.track_id.in_(_track_ids(run_id))
    )


def _track_ids(run_id: int) -> Select[int]:
    """The tracks of the run's libraries whose files are there."""
    library_ids = select(RunLibrary.library_id).where(RunLibrary.run_id == run_id)
    return select(Track.id).where(Track.library_id.in_(library_ids), Track.missing_since.is_(None))


def _present_audio_hash() -> ScalarSelect[str | None]:
    """The hash of the audio that the prediction's file holds now."""
    return select(Track.audio_hash).where(Track.id == Prediction.track_id).scalar_subquery()


def _is_outdated() -> ColumnElement[bool]:
    """Whether the file holds other audio now, or the prediction's original no longer stands for it."""
    original, original_track = aliased(Prediction), aliased(Track)
    stands = exists().where(
        original_track.id == Prediction.duplicate_of,
        original_track.audio_hash == Prediction.audio_hash,
        original.track_id == Prediction.duplicate_of,
        original.model_id == Prediction.model_id,
        original.coverage == Prediction.coverage,
        original.status.in_(LEADING_STATUSES),
    )
    has_changed = Prediction.audio_hash.is_distinct_from(_present_audio_hash())
    return or_(has_changed, and_(Prediction.status == PredictionStatus.DUPLICATE, ~stands))


def find_duplicate_candidates(connection: Connection, run_id: int) -> list[DuplicateCandidate]:
    """The run's pending tracks whose audio hash another track has, too.

    Each comes with its leader: the track among those of the same hash that is analysed, or nearest to it. Pending
    tracks of other runs may be among the candidates. mark_duplicates leaves them alone.
    """
    analysis = _select_analysis(connection, run_id).one()
    groups = defaultdict(list)
    for audio_hash, status, track_id, root, path in _select_tracks_of_pending_hashes(connection, *analysis):
        groups[audio_hash].append((status, track_id, root + b"/" + path))
    return [candidate for group in groups.values() for candidate in _follow_leader(group)]


@prepared
def _select_tracks_of_pending_hashes(
    run_id: int, model_id: int, coverage: str
) -> Select[str | None, str, int, bytes, bytes]:
    """The tracks that have the audio hash of a pending track of the run, with that one itself."""
    pending = select(Prediction.audio_hash).where(
        Prediction.run_id == run_id, Prediction.status == PredictionStatus.PENDING
    )
    return (
        select(Prediction.audio_hash, Prediction.status, Prediction.track_id, Library.root, Track.path)
        .join(Track, Track.id == Prediction.track_id)
        .join(Library, Library.id == Track.library_id)
        .where(
            Prediction.model_id == model_id,
            Prediction.coverage == coverage,
            Prediction.audio_hash.in_(pending),
            Prediction.status.in_(LEADING_STATUSES),
        )
        .order_by(Prediction.audio_hash, Prediction.track_id)
    )


def _follow_leader(group: Sequence[tuple[str, int, bytes]]) -> Iterator[DuplicateCandidate]:
    """The candidates among tracks of one audio hash, which are given by status, id and absolute path."""
    _, leader_id, leader_path = min(group, key=lambda track: (LEADING_STATUSES.index(track[0]), track[1]))
    for status, track_id, path in group:
        if status == PredictionStatus.PENDING and track_id != leader_id:
            yield DuplicateCandidate(track_id, path, leader_id, leader_path)


def mark_duplicates(connection: Connection, run_id: int, duplicates: Iterable[DuplicateCandidate]) -> None:
    """Let the predictions of the leaders stand for these tracks of the run, if they are still pending."""
    for duplicate in duplicates:
        _mark_duplicate(connection, run_id, duplicate.track_id, duplicate.leader_id)


@prepared
def _mark_duplicate(run_id: int, track_id: int, leader_id: int) -> Update:
    is_pending = Prediction.status == PredictionStatus.PENDING
    return (
        update(Prediction)
        .where(Prediction.track_id == track_id, Prediction.run_id == run_id, is_pending)
        .values(status=PredictionStatus.DUPLICATE, duplicate_of=leader_id)
    )
