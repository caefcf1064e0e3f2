"""The task. The only place where Celery, SQL, decoding and the engine meet."""

import atexit
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, field

from celery.exceptions import Reject
from celery.worker import state

import settings
from db import jobs
from db.jobs import ClaimedJob, ClaimedTrack
from db.session import Database, connect
from db.tables import now
from settings import GenremillError, Settings
from worker import checkpoints
from worker.celery import app
from worker.children import DecodePool
from worker.cut import Cut
from worker.engine import Engine
from worker.launch import SETUP_EXIT_CODE
from worker.pool import drained, stopping
from worker.replay import Replay
from worker.track_run import JobProgress, Loaded, TrackRun
from worker.writer import Writer

PROGRESS_S = 0.5  # between two progress events of a job
STALLED_S = 600  # a job without progress for so long lets its lease go

log = logging.getLogger(__name__)


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
        run = TrackRun(self.job, track, self.loaded, self.station.writer, self.progress)
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
