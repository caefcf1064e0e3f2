"""One job, from its first track to its last."""

import logging
import time
from concurrent.futures import wait

from db import jobs
from db.jobs import ClaimedJob, ClaimedTrack
from db.types import now
from worker.jobs.peak_pass import PeakPass
from worker.jobs.runtime import WorkerRuntime
from worker.jobs.track_run import JobProgress, LoadedModel, TrackRun
from worker.shutdown import stopping

PROGRESS_S = 0.5  # between two progress events of a job
STALLED_S = 600  # a job without progress for so long lets its lease go

log = logging.getLogger(__name__)


class JobRun:
    """A claimed job, from its first track to its last."""

    def __init__(self, task, job: ClaimedJob, runtime: WorkerRuntime, loaded: LoadedModel):
        self.task, self.job, self.runtime, self.loaded = task, job, runtime, loaded
        self.progress = JobProgress()
        self.in_a_hurry = task.request.delivery_info.get("routing_key") == "fast"
        self._renew_at = time.monotonic() + runtime.config.lease_s / 3
        self._report_at, self._reported = 0.0, -1
        self._held = True

    def run(self) -> int:
        """Analyse the tracks. Returns how many have an outcome; the rest is for whoever takes the job next."""
        begun = self._feed() if self.in_a_hurry else self._feed_in_turn()
        while not self.progress.wait(begun, PROGRESS_S) and self._held:
            self._keep_alive()
        if self.progress.error is not None:
            raise self.progress.error
        return self.progress.stored

    def _feed_in_turn(self) -> int:
        """One job after the other, so that one is decoded while the one before it ends."""
        while not self.runtime.feeding.acquire(timeout=PROGRESS_S):
            if stopping.is_set() or not self._held:
                return 0
            self.progress.moved_at = time.monotonic()  # it waits, which is no standstill
            self._keep_alive()
        try:
            return self._feed()
        finally:
            self.runtime.feeding.release()

    def _feed(self) -> int:
        """Hand the tracks to the decode children. Returns how many."""
        windowing = self.loaded.engine.windowing(self.job.coverage)
        begun = 0
        for track in self.job.tracks:
            if stopping.is_set() or not self._held:
                break
            self.runtime.decoders.submit(self.runtime.path(track), windowing, self._sink(track))
            begun += 1
            self._keep_alive()
        return begun

    def _sink(self, track: ClaimedTrack) -> TrackRun | PeakPass:
        run = TrackRun(self.job, track, self.loaded, self.runtime.writer, self.progress)
        engine = self.loaded.engine
        return PeakPass(engine, run) if engine.model.hop and self.job.coverage == "full" else run

    def report(self) -> None:
        """Tell Flower: "48/64"."""
        self._reported = self.progress.stored
        self.task.send_event("task-progress", result=f"{self._reported}/{len(self.job.tracks)}")

    def _keep_alive(self) -> None:
        moment = time.monotonic()
        if moment >= self._report_at and self.progress.stored != self._reported:
            self._report_at = moment + PROGRESS_S
            self.report()
        if moment >= self._renew_at:
            self._renew_at = moment + self.runtime.config.lease_s / 3
            self._renew(moment)

    def _renew(self, moment: float) -> None:
        if moment - self.progress.moved_at > STALLED_S:
            log.error("job %s has not moved for %d s: giving it up", self.job.id, STALLED_S)
            self._held = False
            return
        with self.runtime.database.write() as connection:
            self._held = jobs.renew_lease(connection, self.job, self.runtime.config.lease_s, now())


def load_model(runtime: WorkerRuntime, job: ClaimedJob) -> LoadedModel:
    """The job's model. The job stays held meanwhile: loading and measuring may take longer than its lease."""
    loading = runtime.model(job)
    while not wait([loading], runtime.config.lease_s / 3).done:
        with runtime.database.write() as connection:
            jobs.renew_lease(connection, job, runtime.config.lease_s, now())
    return loading.result()


def hand_back(runtime: WorkerRuntime, job: ClaimedJob) -> None:
    with runtime.database.write() as connection:
        jobs.hand_back_job(connection, job)
