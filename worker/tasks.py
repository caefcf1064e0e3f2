"""The task. The only place where Celery, SQL, decoding and the engine meet."""

import atexit
import logging
import math
import os
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from celery.exceptions import Reject
from celery.worker import state

import settings
from db import jobs
from db.jobs import ClaimedJob, ClaimedTrack, Outcome
from db.session import Database, connect
from db.tables import now
from settings import GenremillError, Settings
from worker import checkpoints
from worker.celery import app
from worker.children import Block, DecodePool
from worker.cut import Cut
from worker.engine import Engine, Ticket
from worker.errors import TrackError, Unclassifiable
from worker.launch import SETUP_EXIT_CODE
from worker.pool import drained, stopping
from worker.replay import Held, Replay
from worker.writer import Writer

PROGRESS_S = 0.5  # between two progress events of a job
STALLED_S = 600  # a job without progress for so long lets its lease go

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model in this process: its engine, and the ids of its genres in the order of its probabilities."""

    engine: Engine
    genre_ids: tuple[int, ...]


@dataclass
class Station:
    """What the jobs of this worker process share."""

    node: str
    config: Settings
    device: str
    database: Database
    writer: Writer
    decoders: DecodePool
    loaded: dict[tuple[str, str, str], Loaded] = field(default_factory=dict)
    loading: threading.Lock = field(default_factory=threading.Lock)

    def model(self, job: ClaimedJob) -> Loaded:
        """The model that the job asks for, loaded on first use. Raises GenremillError when this host has another."""
        identity = (job.model, job.version, job.weights_sha256)
        with self.loading:
            if identity not in self.loaded:
                self.loaded[identity] = self._load(job)
            return self.loaded[identity]

    def _load(self, job: ClaimedJob) -> Loaded:
        checkpoint = checkpoints.find(job.model)
        if (checkpoint.version, checkpoint.sha256) != (job.version, job.weights_sha256):
            raise GenremillError(
                f"this host has other weights of {job.model} than the run was ordered with: "
                f"{checkpoint.sha256[:12]} instead of {job.weights_sha256[:12]}"
            )
        model = checkpoints.load(checkpoint, self.device)
        lanes = self.config.usable_cores if self.device == "cpu" else 1
        with self.database.write() as connection:
            ids = jobs.put_genres(connection, job.model_id, model.labels, model.features)
        return Loaded(Engine(model, self.device, lanes), tuple(ids[name] for name, _ in model.labels))

    def path(self, track: ClaimedTrack) -> bytes:
        """Where this host has the track."""
        root = os.fsdecode(track.root)
        return os.fsencode(self.config.roots.get(root, root)) + b"/" + track.path

    def close(self) -> None:
        """End what the jobs shared, in the direction of the data: nothing is left half done."""
        self.decoders.close()
        for loaded in self.loaded.values():
            loaded.engine.close()
        self.writer.close()
        self.database.close()


_station: Station | None = None


def open_station(node: str) -> None:
    """Get ready to work under this node name: called once, before the worker consumes. Ends the process when it
    cannot."""
    global _station
    try:
        _station = _open(node, settings.load())
    except GenremillError as error:
        print(f"genremill: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _open(node: str, config: Settings) -> Station:
    database = connect(config.database)
    with database.write() as connection:
        jobs.release_leases(connection, node, now())
    children = config.decode_children or config.usable_cores
    decoders = DecodePool(children, deadline_s=config.decode_deadline_s, memory_mib=config.decode_memory_mib)
    device = os.environ.get("GENREMILL_WORKER_DEVICE", "cpu")
    return Station(node, config, device, database, Writer(database), decoders)


@drained.connect
def _close_station(**_kwargs) -> None:
    global _station
    station, _station = _station, None
    if station is not None:
        station.close()


class JobProgress:
    """Counts the tracks of a job as they are stored."""

    def __init__(self):
        self._changed = threading.Condition()
        self.stored = 0
        self.failed = 0
        self.error: Exception | None = None
        self.moved_at = time.monotonic()

    def add(self, failed: bool, error: Exception | None) -> None:
        """A track was stored, or could not be."""
        with self._changed:
            self.stored += 1
            self.failed += failed
            self.error = self.error or error
            self.moved_at = time.monotonic()
            self._changed.notify_all()

    def wait(self, tracks: int, timeout_s: float) -> bool:
        """Whether so many tracks are stored within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.stored >= tracks, timeout_s)


class TrackRun:
    """One track on its way: windows come from the decoder, probabilities from the engine, one outcome leaves."""

    def __init__(self, job: ClaimedJob, track: ClaimedTrack, station: Station, loaded: Loaded, progress: JobProgress):
        self.job, self.track, self.station, self.loaded, self.progress = job, track, station, loaded, progress
        self._lock = threading.Lock()
        self._sum = np.zeros(len(loaded.genre_ids))  # float64: a long track has thousands of windows
        self._waiting = 0  # windows in the engine
        self._scored = 0  # windows
        self._ended = False
        self._error: TrackError | None = None
        self._began = time.monotonic()
        self.peak = math.nan  # the power that is 0 dB; NaN: each window's own

    def windows(self, block: Block | Held) -> None:
        """From the decoder."""
        with self._lock:
            self._waiting += len(block.pcm)
        self.loaded.engine.submit(
            Ticket(block.pcm, block.release, self._add, self._refuse, frames=block.frames, peak=self.peak)
        )

    def end(self) -> None:
        """From the decoder: that was all."""
        self._settle(ended=True)

    def failed(self, error: TrackError) -> None:
        """From the decoder: there will be no more."""
        self._settle(ended=True, error=error)

    def _add(self, probabilities: np.ndarray) -> None:
        if np.isfinite(probabilities).all():
            self._settle(scored=probabilities)
        else:
            self._refuse(Unclassifiable(f"the model {self.job.model} gave no number for some of its windows"))

    def _refuse(self, error: TrackError) -> None:
        self._settle(error=error, ended=True)

    def _settle(self, ended=False, error=None, scored=()) -> None:
        with self._lock:
            was_over = self._is_over()
            self._ended |= ended
            self._error = self._error or error
            self._waiting -= len(scored)
            self._scored += len(scored)
            if len(scored):
                self._sum += scored.sum(0, dtype=np.float64)
            over = self._is_over() and not was_over
        if over:
            self.station.writer.put(self._outcome(), self._stored)

    def _is_over(self) -> bool:
        return self._ended and (self._error is not None or self._waiting == 0)

    def _stored(self, error: Exception | None) -> None:
        self.progress.add(self._error is not None, error)

    def _outcome(self) -> Outcome:
        common = {
            "job_id": self.job.id,
            "track_id": self.track.id,
            "model_id": self.job.model_id,
            "coverage": self.job.coverage,
            "device": self.station.device,
            "amp": False,
            "windows": self._scored,
            "elapsed_ms": (time.monotonic() - self._began) * 1000,
        }
        if self._error is not None:
            return Outcome(**common, error_code=self._error.code, error_detail=str(self._error))
        mean = (self._sum / self._scored).tolist()
        return Outcome(**common, genre_ids=self.loaded.genre_ids, probabilities=mean)


class JobRun:
    """A claimed job, from its first track to its last."""

    def __init__(self, task, job: ClaimedJob, station: Station, loaded: Loaded):
        self.task, self.job, self.station, self.loaded = task, job, station, loaded
        self.progress = JobProgress()
        self._renew_at = time.monotonic() + station.config.lease_s / 3
        self._report_at = 0.0
        self._held = True

    def run(self) -> int:
        """Analyse the tracks. Returns how many have an outcome; the rest is for whoever takes the job next."""
        model = self.loaded.engine.model
        cut = Cut(model.sample_rate, model.window, self.job.coverage, model.hop)
        begun = 0
        for track in self.job.tracks:
            if stopping.is_set() or not self._held:
                break
            self.station.decoders.submit(self.station.path(track), cut, self._sink(track))
            begun += 1
            self._tend()
        while not self.progress.wait(begun, PROGRESS_S) and self._held:
            self._tend()
        if self.progress.error is not None:
            raise self.progress.error
        return self.progress.stored

    def _sink(self, track: ClaimedTrack) -> TrackRun | Replay:
        run = TrackRun(self.job, track, self.station, self.loaded, self.progress)
        engine = self.loaded.engine
        return Replay(engine, run) if engine.model.hop and self.job.coverage == "full" else run

    def report(self) -> None:
        """Tell Flower: "48/64"."""
        self.task.send_event("task-progress", result=f"{self.progress.stored}/{len(self.job.tracks)}")

    def _tend(self) -> None:
        moment = time.monotonic()
        if moment >= self._report_at:
            self._report_at = moment + PROGRESS_S
            self.report()
        if moment >= self._renew_at:
            self._renew_at = moment + self.station.config.lease_s / 3
            self._renew(moment)

    def _renew(self, moment: float) -> None:
        if moment - self.progress.moved_at > STALLED_S:
            log.error("job %s has not moved for %d s: giving it up", self.job.id, STALLED_S)
            self._held = False
            return
        with self.station.database.write() as connection:
            self._held = jobs.renew_lease(connection, self.job, self.station.config.lease_s, now())


@app.task(bind=True, name="worker.tasks.classify")
def classify(self, job_id: str) -> str:
    """Put probabilities on the tracks of a job."""
    station = _station
    if station is None or stopping.is_set():
        raise Reject("this worker is stopping", requeue=True)
    with station.database.write() as connection:
        job = jobs.claim_job(connection, job_id, station.node, station.config.lease_s, now())
    if job is None:
        return "held by another worker, or done"
    try:
        loaded = station.model(job)
    except GenremillError as error:
        _hand_back(station, job)
        _refuse_to_work(error)
        raise Reject(str(error), requeue=True) from error
    run = JobRun(self, job, station, loaded)
    done = run.run()
    if done < len(job.tracks):
        _hand_back(station, job)
        raise Reject("this worker is stopping", requeue=True)
    with station.database.write() as connection:
        jobs.finish_job(connection, job, now())
    run.report()
    return f"{done}/{len(job.tracks)} tracks, {run.progress.failed} failed"


def _hand_back(station: Station, job: ClaimedJob) -> None:
    with station.database.write() as connection:
        jobs.hand_back_job(connection, job)


def _refuse_to_work(error: GenremillError) -> None:
    """Stop this worker, which lacks what a job needs and would take it again and again; its last line says why."""
    if not stopping.is_set():
        stopping.set()
        state.should_stop = SETUP_EXIT_CODE
        atexit.register(print, f"genremill: {error}", file=sys.__stderr__)  # sys.stderr is Celery's log by now
