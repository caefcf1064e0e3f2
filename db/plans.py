"""Plans of runs: which tracks a run has to analyse, and which others' analyses stand for."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, exists, func, insert, literal, or_, select, type_coerce, update
from sqlalchemy.orm import aliased

from db.prepared import prepared
from db.tables import OPEN, Library, Prediction, Run, RunLibrary, Status, Track

FINAL = tuple(status for status in Status if status not in OPEN)


@dataclass(frozen=True)
class DuplicateCandidate:
    """A track that may hold the same audio as another one, whose prediction could stand for both."""

    track_id: int
    path: bytes
    leader_id: int
    leader_path: bytes


def plan_run(connection: Connection, run_id: int, retry: bool = False) -> None:
    """Give every track of the run's libraries that has no valid prediction a pending one, and count the rest.

    Valid is a prediction of the audio that the file holds now; with `retry`, one that failed is not. One that another
    run still has open is taken over, in the job where it is.
    """
    run = connection.execute(*_run(run_id)).one()
    of_run = (run.id, run.model_id, run.coverage)
    retry_statuses = (Status.FAILED, Status.QUARANTINED) if retry else ()
    connection.execute(*_insert_missing(*of_run))
    _take_over(connection, *of_run, retry_statuses)
    connection.execute(*_reset_stale(*of_run, retry_statuses))
    connection.execute(*_renew_pending(*of_run))
    found, skipped = connection.scalar(*_found(run.id)), connection.scalar(*_skipped(*of_run))
    connection.execute(*_put_counts(run.id, found, skipped))


@prepared
def _run(run_id):
    return select(Run).where(Run.id == run_id)


@prepared
def _insert_missing(run_id, model_id, coverage):
    known = exists().where(
        Prediction.track_id == Track.id, Prediction.model_id == model_id, Prediction.coverage == coverage
    )
    row = {
        "track_id": Track.id,
        "model_id": type_coerce(model_id, Prediction.model_id.type),
        "coverage": type_coerce(coverage, Prediction.coverage.type),
        "run_id": type_coerce(run_id, Prediction.run_id.type),
        "status": literal(Status.PENDING.value),
        "audio_hash": Track.audio_hash,
        "attempts": literal(0),
    }
    new = select(*row.values()).where(Track.id.in_(_tracks_of(run_id)), ~known)
    return insert(Prediction).from_select(list(row), new)


def _take_over(
    connection: Connection, run_id: int, model_id: int, coverage: str, retry_statuses: Sequence[Status]
) -> None:
    counts = connection.execute(*_others(run_id, model_id, coverage, retry_statuses)).all()
    for other_id, count in counts:
        connection.execute(update(Run).where(Run.id == other_id).values(handed_over=Run.handed_over + count))
    if counts:
        connection.execute(*_take_from_others(run_id, model_id, coverage, retry_statuses))


@prepared
def _others(run_id, model_id, coverage, retry_statuses):
    others = _of_others(run_id, model_id, coverage, retry_statuses)
    return select(Prediction.run_id, func.count()).where(others).group_by(Prediction.run_id)


@prepared
def _take_from_others(run_id, model_id, coverage, retry_statuses):
    return update(Prediction).where(_of_others(run_id, model_id, coverage, retry_statuses)).values(run_id=run_id)


@prepared
def _reset_stale(run_id, model_id, coverage, retry_statuses):
    reset = {"status": Status.PENDING, "job_id": None, "duplicate_of": None, "error_code": None, "error_detail": None}
    stale = _stale(run_id, model_id, coverage, retry_statuses)
    return update(Prediction).where(stale).values(**reset, audio_hash=_audio_hash_now())


@prepared
def _renew_pending(run_id, model_id, coverage):
    pending = and_(_mine(run_id, model_id, coverage), Prediction.status == Status.PENDING)
    return update(Prediction).where(pending).values(audio_hash=_audio_hash_now())


@prepared
def _found(run_id):
    """The tracks that are there, and those of this run that have gone since."""
    here = select(Track.id).where(Track.id.in_(_tracks_of(run_id)))
    gone = select(Prediction.track_id).where(Prediction.run_id == run_id, Prediction.track_id.not_in(here))
    return select(func.count()).select_from(here.union_all(gone).subquery())


@prepared
def _skipped(run_id, model_id, coverage):
    """Those of another run, which have their outcome."""
    mine = _mine(run_id, model_id, coverage)
    return select(func.count()).where(mine, Prediction.run_id != run_id, Prediction.status.in_(FINAL))


@prepared
def _put_counts(run_id, found, skipped):
    counts = {"found": found, "skipped": skipped, "handed_over": 0, "finished_at": None}
    return update(Run).where(Run.id == run_id).values(**counts)


def _of_others(run_id, model_id, coverage, retry_statuses):
    """What another run has of this one's tracks that is stale, or still open."""
    still_open = and_(_mine(run_id, model_id, coverage), Prediction.status.in_(OPEN))
    return and_(or_(_stale(run_id, model_id, coverage, retry_statuses), still_open), Prediction.run_id != run_id)


def _stale(run_id, model_id, coverage, retry_statuses):
    mine = _mine(run_id, model_id, coverage)
    return and_(mine, Prediction.status.in_(FINAL), or_(_is_outdated(), Prediction.status.in_(retry_statuses)))


def _mine(run_id, model_id, coverage):
    """The predictions of the run's tracks, whoever's they are."""
    tracks = Prediction.track_id.in_(_tracks_of(run_id))
    return and_(Prediction.model_id == model_id, Prediction.coverage == coverage, tracks)


def _tracks_of(run_id):
    libraries = select(RunLibrary.library_id).where(RunLibrary.run_id == run_id)
    return select(Track.id).where(Track.library_id.in_(libraries), Track.missing_since.is_(None))


def _audio_hash_now():
    return select(Track.audio_hash).where(Track.id == Prediction.track_id).scalar_subquery()


def _is_outdated():
    """The file's audio changed, or the prediction that stood for this one is no longer of the same audio."""
    source, original = aliased(Prediction), aliased(Track)
    same = and_(
        original.id == Prediction.duplicate_of,
        original.audio_hash == Prediction.audio_hash,
        source.track_id == Prediction.duplicate_of,
        source.model_id == Prediction.model_id,
        source.coverage == Prediction.coverage,
        source.status.in_((Status.DONE, *OPEN)),
    )
    changed = Prediction.audio_hash.is_distinct_from(_audio_hash_now())
    return or_(changed, and_(Prediction.status == Status.DUPLICATE, ~exists().where(same)))


def find_duplicate_candidates(connection: Connection, run_id: int) -> list[DuplicateCandidate]:
    """The run's pending tracks whose audio hash another track shares, each with the track to be compared with: one
    that is analysed already, or is about to be."""
    run = connection.execute(*_run(run_id)).one()
    rows = connection.execute(*_same_hash(run.id, run.model_id, run.coverage))
    groups = defaultdict(list)
    for audio_hash, status, track_id, root, path in rows:
        groups[audio_hash].append((status, track_id, root + b"/" + path))
    return [duplicate for group in groups.values() if len(group) > 1 for duplicate in _twins(group)]


@prepared
def _same_hash(run_id, model_id, coverage):
    pending = select(Prediction.audio_hash).where(
        Prediction.run_id == run_id, Prediction.status == Status.PENDING, Prediction.audio_hash.is_not(None)
    )
    return (
        select(Prediction.audio_hash, Prediction.status, Prediction.track_id, Library.root, Track.path)
        .join(Track, Track.id == Prediction.track_id)
        .join(Library, Library.id == Track.library_id)
        .where(
            Prediction.model_id == model_id,
            Prediction.coverage == coverage,
            Prediction.audio_hash.in_(pending),
            Prediction.status.in_((Status.DONE, *OPEN)),
        )
        .order_by(Prediction.audio_hash, Prediction.track_id)
    )


def _twins(group: Sequence[tuple[str, int, bytes]]) -> Iterable[DuplicateCandidate]:
    order = (Status.DONE, Status.RUNNING, Status.QUEUED, Status.PENDING)
    leader = min(group, key=lambda row: (order.index(row[0]), row[1]))
    for status, track_id, path in group:
        if status == Status.PENDING and track_id != leader[1]:
            yield DuplicateCandidate(track_id, path, leader[1], leader[2])


def mark_duplicates(connection: Connection, run_id: int, duplicates: Iterable[DuplicateCandidate]) -> None:
    """These tracks hold the same audio as their leaders: one analysis stands for both."""
    for duplicate in duplicates:
        connection.execute(
            update(Prediction)
            .where(
                Prediction.track_id == duplicate.track_id,
                Prediction.run_id == run_id,
                Prediction.status == Status.PENDING,
            )
            .values(status=Status.DUPLICATE, duplicate_of=duplicate.leader_id)
        )
