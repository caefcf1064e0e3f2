"""The task. The only place where Celery, SQL, decoding and the engine meet."""

import atexit
import logging
import sys
import time
from concurrent.futures import wait

from celery.exceptions import Reject
from celery.worker import state

import settings
from db import jobs
from db.jobs import ClaimedJob, ClaimedTrack
from db.tables import now
from settings import GenremillError
from worker.celery import app
from worker.device import is_out_of_memory
from worker.launch import SETUP_EXIT_CODE
from worker.pool import Keeper, drained, stopping
from worker.replay import Replay
from worker.station import Station, set_up
from worker.track_run import JobProgress, Loaded, TrackRun

PROGRESS_S = 0.5  # between two progress events of a job
NO_ROOM_S = 5.0  # before a job is taken again whose model's weights did not fit the GPU
STALLED_S = 600  # a job without progress for so long lets its lease go

log = logging.getLogger(__name__)

_station: Station | None = None


def open_station(node: str) -> None:
    """Get ready to work under this node name: called once, before the worker consumes. Ends the process when it
    cannot."""
    global _station
    try:
        _station = set_up(node, settings.load())
        Keeper.wanted = staticmethod(_station.jobs_to_hold)
    except GenremillError as error:
        print(f"genremill: {error}", file=sys.stderr)
        raise SystemExit(2) from error


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
        self.in_a_hurry = task.request.delivery_info.get("routing_key") == "fast"
        self._renew_at = time.monotonic() + station.config.lease_s / 3
        self._report_at, self._reported = 0.0, -1
        self._held = True

    def run(self) -> int:
        """Analyse the tracks. Returns how many have an outcome; the rest is for whoever takes the job next."""
        begun = self._feed() if self.in_a_hurry else self._feed_in_turn()
        while not self.progress.wait(begun, PROGRESS_S) and self._held:
            self._tend()
        if self.progress.error is not None:
            raise self.progress.error
        return self.progress.stored

    def _feed_in_turn(self) -> int:
        """One job after the other, so that one is decoded while the one before it ends."""
        while not self.station.feeding.acquire(timeout=PROGRESS_S):
            if stopping.is_set() or not self._held:
                return 0
            self.progress.moved_at = time.monotonic()  # it waits, which is no standstill
            self._tend()
        try:
            return self._feed()
        finally:
            self.station.feeding.release()

    def _feed(self) -> int:
        """Hand the tracks to the decode children. Returns how many."""
        cut = self.loaded.engine.cut(self.job.coverage)
        begun = 0
        for track in self.job.tracks:
            if stopping.is_set() or not self._held:
                break
            self.station.decoders.submit(self.station.path(track), cut, self._sink(track))
            begun += 1
            self._tend()
        return begun

    def _sink(self, track: ClaimedTrack) -> TrackRun | Replay:
        run = TrackRun(self.job, track, self.loaded, self.station.writer, self.progress)
        engine = self.loaded.engine
        return Replay(engine, run) if engine.model.hop and self.job.coverage == "full" else run

    def report(self) -> None:
        """Tell Flower: "48/64"."""
        self._reported = self.progress.stored
        self.task.send_event("task-progress", result=f"{self._reported}/{len(self.job.tracks)}")

    def _tend(self) -> None:
        moment = time.monotonic()
        if moment >= self._report_at and self.progress.stored != self._reported:
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
    station.job_tracks = max(1, len(job.tracks))
    try:
        loaded = _load(station, job)
    except GenremillError as error:
        _hand_back(station, job)
        _refuse_to_work(error)
        raise Reject(str(error), requeue=True) from error
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("there is no room for the model %s on the GPU, waiting for some: %s", job.model, error)
        _hand_back(station, job)
        stopping.wait(NO_ROOM_S)
        raise Reject("there is no room for the model", requeue=True) from error
    run = JobRun(self, job, station, loaded)
    done = run.run()
    if done < len(job.tracks):
        _hand_back(station, job)
        raise Reject("this worker is stopping", requeue=True)
    with station.database.write() as connection:
        jobs.finish_job(connection, job, now())
    run.report()
    return f"{done}/{len(job.tracks)} tracks, {run.progress.failed} failed"


def _load(station: Station, job: ClaimedJob) -> Loaded:
    """The job's model. The job stays held meanwhile: loading and measuring may take longer than its lease."""
    loading = station.model(job)
    while not wait([loading], station.config.lease_s / 3).done:
        with station.database.write() as connection:
            jobs.renew_lease(connection, job, station.config.lease_s, now())
    return loading.result()


def _hand_back(station: Station, job: ClaimedJob) -> None:
    with station.database.write() as connection:
        jobs.hand_back_job(connection, job)


def _refuse_to_work(error: GenremillError) -> None:
    """Stop this worker, which lacks what a job needs and would take it again and again; its last line says why."""
    if not stopping.is_set():
        stopping.set()
        state.should_stop = SETUP_EXIT_CODE
        atexit.register(print, f"genremill: {error}", file=sys.__stderr__)  # sys.stderr is Celery's log by now
