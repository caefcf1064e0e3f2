"""The tables. Their names and columns are an interface: people query them, as docs/database.md describes.

The states of a prediction, which is what one model says of one track:

    PENDING --------------> QUEUED -----------> RUNNING -----------------> DONE or FAILED
     |       insert_job      ^      claim_job    |  |     record_outcomes
     |                       |                   |  |
     |                       +-------------------+  +--------------------> QUARANTINED
     |       hand_back_job: the worker stops                taken back from a dead worker for
     |       taken back from a dead worker                  the third time, as the job's only track
     |
     +-------------------> DUPLICATE
          mark_duplicates

A prediction begins as PENDING, and gets back there in these ways:

    DONE, FAILED, QUARANTINED or DUPLICATE   by plan_page: the file holds other audio now
    FAILED or QUARANTINED                    by plan_page: the user asked to retry
    DUPLICATE                                by plan_page or record_outcomes: its original changed or failed

The states of a job, which is a list of tracks for one worker:

    QUEUED ---------------> RUNNING ---------------> DONE
     ^      claim_job        |  |    finish_job: every track has an outcome
     |                       |  |    or its only track was quarantined
     +-----------------------+  |
            hand_back_job       +------------------> SPLIT
            taken back from          taken back from a dead worker for the second time,
            a dead worker            with several tracks left: each gets a job of its own

A RUNNING job whose lease has ended may be claimed by another worker, too. It stays RUNNING then.

The producer calls plan_page, mark_duplicates and insert_job. Workers call claim_job, hand_back_job, record_outcomes and
finish_job. Two functions take jobs back. The producer calls take_back_lapsed_jobs while it follows a run. Workers call
take_back_worker_jobs when they start, and the producer does when it knows that a worker is dead.
"""

import enum
from datetime import datetime
from typing import ClassVar

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.types import PathText, UtcDateTime

NAMES_OF_CONSTRAINTS = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class PredictionStatus(enum.StrEnum):
    """The state of a prediction."""

    PENDING = "pending"  # It has to be made, but its track is in no job yet.
    QUEUED = "queued"  # Its track is in a job that waits for a worker.
    RUNNING = "running"  # Its track is in a job that a worker has claimed.
    DONE = "done"  # Its scores are stored.
    FAILED = "failed"  # The file cannot be analysed; error_code and error_detail say why.
    QUARANTINED = "quarantined"  # Every worker that took the track died; error_code is "worker_died".
    DUPLICATE = "duplicate"  # The scores of the track duplicate_of, which has the same audio, stand for it.


OPEN_STATUSES = (PredictionStatus.PENDING, PredictionStatus.QUEUED, PredictionStatus.RUNNING)
FINAL_STATUSES = tuple(status for status in PredictionStatus if status not in OPEN_STATUSES)


class JobStatus(enum.StrEnum):
    """The state of a job."""

    QUEUED = "queued"  # It waits for a worker. If its message got lost, reconcile sends another one.
    RUNNING = "running"  # A worker holds it until lease_until, and renews the lease while it works.
    DONE = "done"  # All its tracks have an outcome.
    SPLIT = "split"  # Workers died of it, so its open tracks went into jobs of their own.


IS_QUEUED = f"status = '{JobStatus.QUEUED}'"  # The rows of an index of jobs that wait.


def _is_one_of(column: str, statuses: type[enum.StrEnum]) -> CheckConstraint:
    values = ", ".join(f"'{status.value}'" for status in statuses)
    return CheckConstraint(f"{column} IN ({values})", name=column)


def _index_of_known(table: str, column: str) -> Index:
    """An index of the rows that have a value in this column, which needs no room for the others."""
    has_value = text(f"{column} IS NOT NULL")
    return Index(f"ix_{table}_{column}", column, sqlite_where=has_value, postgresql_where=has_value)


class Base(DeclarativeBase):
    """What all tables have in common."""

    metadata = MetaData(naming_convention=NAMES_OF_CONSTRAINTS)
    type_annotation_map: ClassVar = {str: Text, datetime: UtcDateTime, bytes: PathText}


class Library(Base):
    """A folder of music."""

    __tablename__ = "library"

    id: Mapped[int] = mapped_column(primary_key=True)
    root: Mapped[bytes] = mapped_column(unique=True)  # The absolute path of the folder on the producer's host.
    missing_since: Mapped[datetime | None]  # When a scan found that the folder is gone. None: it is there.


class Track(Base):
    """An audio file of a library."""

    __tablename__ = "track"
    __table_args__ = (
        UniqueConstraint("library_id", "path"),
        Index("ix_track_audio_hash", "audio_hash"),
        _index_of_known("track", "album"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id"))
    path: Mapped[bytes]  # Relative to the root of the library.
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)  # When the file was changed, in ns since 1970.
    audio_hash: Mapped[int | None] = mapped_column(BigInteger)  # Of the audio without tags. None: it cannot be read.
    duration_s: Mapped[float | None]  # As the header says, like the columns that follow. None: it says nothing.
    codec: Mapped[str | None]
    sample_rate: Mapped[int | None]  # In Hz.
    channels: Mapped[int | None]
    title: Mapped[str | None]
    artist: Mapped[str | None]
    album_artist: Mapped[str | None]
    album: Mapped[str | None]
    year: Mapped[int | None]
    tagged_genre: Mapped[str | None]  # The genre that somebody wrote into the file.
    first_seen_at: Mapped[datetime]  # When a scan saw the file for the first time.
    last_seen_at: Mapped[datetime]  # When a scan saw the file for the last time.
    missing_since: Mapped[datetime | None]  # The start of the first scan that did not find it. None: it is there.


class Model(Base):
    """A neural network: its code and its weights."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("name", "version", "weights_sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[str]  # Of the code.
    weights_sha256: Mapped[str]  # Of the file of weights, in hexadecimal digits.
    features: Mapped[str | None]  # How spectrograms are computed, as JSON. None until a worker has loaded the model.


class Genre(Base):
    """A label of a model."""

    __tablename__ = "genre"
    __table_args__ = (
        UniqueConstraint("name", "model_id"),
        UniqueConstraint("model_id", "position"),
        CheckConstraint("kind IN ('genre', 'mood', 'era', 'instrument', 'voice')", name="kind"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    position: Mapped[int] = mapped_column(SmallInteger)  # In the order of the model's labels: the first one has 1.
    name: Mapped[str]
    kind: Mapped[str]


class Run(Base):
    """An order of a user: these libraries, or parts of them, with this model and this coverage."""

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    coverage: Mapped[str]  # "regions" or "full".
    found: Mapped[int] = mapped_column(default=0)  # Tracks in its libraries.
    skipped: Mapped[int] = mapped_column(default=0)  # Of these, tracks whose outcome is from an earlier run.
    handed_over: Mapped[int] = mapped_column(default=0)  # Of these, tracks that a later run took over.
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]  # None while a track of it has no outcome.


class RunLibrary(Base):
    """A library of a run, or a part of it."""

    __tablename__ = "run_library"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id"), primary_key=True)
    path: Mapped[bytes] = mapped_column(primary_key=True)  # Of the folder in the library. Empty: all of the library.


class Job(Base):
    """A list of tracks that one worker analyses. The digits of its id are the id of the Celery task."""

    __tablename__ = "job"
    __table_args__ = (
        _is_one_of("status", JobStatus),
        Index("ix_job_status_lease_until", "status", "lease_until"),
        Index("ix_job_queue_id", "queue", "id", sqlite_where=text(IS_QUEUED), postgresql_where=text(IS_QUEUED)),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), index=True)
    queue: Mapped[str]  # "fast" or "bulk". Workers empty the fast queue first.
    status: Mapped[str]  # A JobStatus.
    tracks: Mapped[int]  # How many tracks it was made of.
    audio_s: Mapped[float]  # An estimate of its cost, in seconds of audio to decode.
    attempts: Mapped[int] = mapped_column(default=0)  # How often it was claimed and not handed back.
    worker: Mapped[str | None]  # The node name of the worker that claimed it last. None: it waits for one.
    lease_until: Mapped[datetime | None]  # When it may be taken from the worker that holds it.
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]  # When it was claimed for the first time.
    finished_at: Mapped[datetime | None]  # When it was done or split.


class Prediction(Base):
    """What one model says of one track under one coverage."""

    __tablename__ = "prediction"
    __table_args__ = (
        UniqueConstraint("track_id", "model_id", "coverage"),
        _is_one_of("status", PredictionStatus),
        CheckConstraint("coverage IN ('regions', 'full')", name="coverage"),
        Index("ix_prediction_run_id_status", "run_id", "status"),
        _index_of_known("prediction", "job_id"),
        _index_of_known("prediction", "duplicate_of"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    track_id: Mapped[int] = mapped_column(ForeignKey("track.id"))
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    coverage: Mapped[str]
    is_newest: Mapped[bool]  # Whether its scores were stored last, of all predictions of its track.
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))  # The run that ordered it last.
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))  # The job its track is or was in.
    status: Mapped[str]  # A PredictionStatus.
    audio_hash: Mapped[int | None] = mapped_column(BigInteger)  # Of the audio that it is about.
    duplicate_of: Mapped[int | None] = mapped_column(ForeignKey("track.id"))  # Only of a DUPLICATE.
    attempts: Mapped[int] = mapped_column(default=0)  # How often a worker claimed a job with its track.
    first_genre_id: Mapped[int | None]  # The most probable of the kind "genre".
    first_probability: Mapped[float | None] = mapped_column(REAL)  # The probability of that one.
    error_code: Mapped[str | None]  # Only of what FAILED or is QUARANTINED.
    error_detail: Mapped[str | None]  # The same in a sentence.
    windows: Mapped[int | None]  # How many windows of audio the network was given.
    device: Mapped[str | None]  # The device that computed it, such as "cpu" or "cuda:0".
    amp: Mapped[bool | None]  # Whether the network computed with 16-bit numbers.
    elapsed_ms: Mapped[float | None] = mapped_column(REAL)  # From the start of decoding to the probabilities.
    finished_at: Mapped[datetime | None]  # When its outcome was stored.


class Embedding(Base):
    """A vector that describes how the track of a prediction sounds to the network."""

    __tablename__ = "embedding"

    # There is no foreign key, which would cost more time than it guards. `genremill db check` looks for orphans.
    prediction_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    vector: Mapped[bytes] = mapped_column(LargeBinary)  # Numbers of the type float16, the lowest byte first.
