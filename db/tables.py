"""The tables. Their names are an interface: people query them with their own tools."""

import enum
from datetime import datetime
from typing import ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.types import PathText, UtcDateTime

CONVENTION = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Status(enum.StrEnum):
    """Where a prediction stands."""

    PENDING = "pending"  # wanted, in no job yet
    QUEUED = "queued"  # in a job that waits for a worker
    RUNNING = "running"  # in a job that a worker has claimed
    DONE = "done"  # its scores are stored
    FAILED = "failed"  # the file cannot be analysed: error_code, error_detail
    QUARANTINED = "quarantined"  # every worker that took it died
    DUPLICATE = "duplicate"  # the same audio as the track duplicate_of, whose scores stand for it


OPEN = (Status.PENDING, Status.QUEUED, Status.RUNNING)


class JobStatus(enum.StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # its id is, or should be, on the queue
    RUNNING = "running"  # held by a worker until lease_until
    DONE = "done"  # every track of it has an outcome
    SPLIT = "split"  # its worker died again and again: its tracks went into jobs of their own


def _is_one_of(column: str, kinds: type[enum.StrEnum]) -> CheckConstraint:
    values = ", ".join(f"'{kind.value}'" for kind in kinds)
    return CheckConstraint(f"{column} IN ({values})", name=column)


class Base(DeclarativeBase):
    """What all tables share."""

    metadata = MetaData(naming_convention=CONVENTION)
    type_annotation_map: ClassVar = {str: Text, datetime: UtcDateTime, bytes: PathText}


class Library(Base):
    """A folder of music, as the producer sees it."""

    __tablename__ = "library"

    id: Mapped[int] = mapped_column(primary_key=True)
    root: Mapped[bytes] = mapped_column(unique=True)


class Track(Base):
    """An audio file."""

    __tablename__ = "track"
    __table_args__ = (UniqueConstraint("library_id", "path"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id"))
    path: Mapped[bytes]  # relative to the library's root
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    audio_hash: Mapped[str | None] = mapped_column(index=True)  # of the audio without its tags; None: unreadable
    duration_s: Mapped[float | None]
    codec: Mapped[str | None]
    sample_rate: Mapped[int | None]  # Hz
    channels: Mapped[int | None]
    title: Mapped[str | None]
    artist: Mapped[str | None]
    album: Mapped[str | None]
    tagged_genre: Mapped[str | None]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    missing_since: Mapped[datetime | None]


class Model(Base):
    """A neural network with its weights and feature settings."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("name", "version", "weights_sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[str]
    weights_sha256: Mapped[str]
    features: Mapped[str | None]  # JSON; None until a worker has loaded it


class Genre(Base):
    """A class that a model tells apart."""

    __tablename__ = "genre"
    __table_args__ = (
        UniqueConstraint("model_id", "name"),
        CheckConstraint("kind IN ('genre', 'mood', 'era', 'instrument', 'voice')", name="kind"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    name: Mapped[str]
    kind: Mapped[str]


class Run(Base):
    """One order of a user: these libraries with this model."""

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    coverage: Mapped[str]
    found: Mapped[int] = mapped_column(default=0)  # tracks in its libraries
    skipped: Mapped[int] = mapped_column(default=0)  # of these, with an outcome from an earlier run
    handed_over: Mapped[int] = mapped_column(default=0)  # of these, taken over by a later run
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class RunLibrary(Base):
    """The libraries of a run."""

    __tablename__ = "run_library"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id"), primary_key=True)


class Job(Base):
    """A bounded list of tracks for one worker; its id is the Celery task's id."""

    __tablename__ = "job"
    __table_args__ = (_is_one_of("status", JobStatus), Index("ix_job_status_lease_until", "status", "lease_until"))

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), index=True)
    queue: Mapped[str]  # fast | bulk
    status: Mapped[str]
    tracks: Mapped[int]
    audio_s: Mapped[float]  # seconds of audio to decode
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None]  # node name
    lease_until: Mapped[datetime | None]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Prediction(Base):
    """What one model says of one track."""

    __tablename__ = "prediction"
    __table_args__ = (
        _is_one_of("status", Status),
        CheckConstraint("coverage IN ('regions', 'full')", name="coverage"),
        Index("ix_prediction_run_id_status", "run_id", "status"),
    )

    track_id: Mapped[int] = mapped_column(ForeignKey("track.id"), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    coverage: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"), index=True)
    status: Mapped[str]
    audio_hash: Mapped[str | None] = mapped_column(index=True)  # of the audio this prediction is about
    duplicate_of: Mapped[int | None] = mapped_column(ForeignKey("track.id"), index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    windows: Mapped[int | None]
    device: Mapped[str | None]
    amp: Mapped[bool | None]
    elapsed_ms: Mapped[float | None]  # from the start of its decoding to its probabilities
    finished_at: Mapped[datetime | None]


class Score(Base):
    """One genre's probability in a prediction."""

    __tablename__ = "score"
    __table_args__ = (
        ForeignKeyConstraint(
            ["track_id", "model_id", "coverage"],
            ["prediction.track_id", "prediction.model_id", "prediction.coverage"],
        ),
        {"sqlite_with_rowid": False},
    )

    track_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    model_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    coverage: Mapped[str] = mapped_column(primary_key=True)
    genre_id: Mapped[int] = mapped_column(ForeignKey("genre.id"), primary_key=True)
    probability: Mapped[float]
