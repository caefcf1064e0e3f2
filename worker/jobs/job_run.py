"""One job, from its first track to its last."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import wait

from db import jobs
from db.jobs import ClaimedJob, ClaimedTrack
from db.types import now
from worker.decode.sink import Sink
from worker.jobs.job_progress import JobProgress
from worker.jobs.loaded_models import LoadedModel
from worker.jobs.peak_pass import PeakPass
from worker.jobs.runtime import WorkerRuntime
from worker.jobs.track_run import TrackRun
from worker.shutdown import stopping

PROGRESS_S = 0.5  # Seconds between two progress events of a job, and between two looks at its lease while it waits.
STALLED_S = 600  # Seconds without a stored track, after which a job gives up its lease.
RENEWALS_PER_LEASE = 3  # A lease is renewed after a third of its time, so that two renewals may be late.

log = logging.getLogger(__name__)


class JobRun:
    """Analyses the tracks of a claimed job: submits them to the decode processes, and waits until all are stored.

    Meanwhile it sends progress events and renews the job's lease. run() ends early, with tracks left over, when

    - the worker is to stop: no further track is submitted; those submitted before are waited for;
    - the lease was lost to another worker: nothing is waited for, since the database refuses outcomes of a lost job;
    - no track was stored for STALLED_S: the lease is not renewed, so that another worker can take the job.

    is_fast: whether the job need not wait until the jobs before it have submitted their tracks.
    send_progress: gets a text such as "48/64": tracks stored, and tracks of the job.
    """

    def __init__(
        self,
        job: ClaimedJob,
        runtime: WorkerRuntime,
        loaded: LoadedModel,
        *,
        is_fast: bool,
        send_progress: Callable[[str], object],
    ) -> None:
        self.job, self.runtime, self.loaded = job, runtime, loaded
        self.progress = JobProgress()
        self._is_fast, self._send_progress = is_fast, send_progress
        self._next_report_at, self._reported = 0.0, -1  # time.monotonic(); tracks in the last progress event
        self._next_renewal_at = time.monotonic() + renewal_interval_s(runtime)
        self._has_lease = True

    def run(self) -> int:
        """Analyse the tracks. Returns how many have an outcome; the others are for whoever takes the job next.

        Raises the database's error when it has refused an outcome.
        """
        submitted = self._submit_tracks() if self._is_fast else self._submit_in_turn()
        while not self.progress.wait(submitted, PROGRESS_S) and self._has_lease:
            self._report_and_renew()
        if self.progress.error is not None:
            raise self.progress.error
        return self.progress.stored

    def _submit_in_turn(self) -> int:
        """Submit the tracks when the jobs before this one have submitted theirs: so jobs end one after the other, and
        this one's tracks are decoded while the last tracks of the job before it are in the engine."""
        while not self.runtime.feeding.acquire(timeout=PROGRESS_S):
            if stopping.is_set() or not self._has_lease:
                return 0
            self.progress.excuse_wait()
            self._report_and_renew()
        try:
            return self._submit_tracks()
        finally:
            self.runtime.feeding.release()

    def _submit_tracks(self) -> int:
        """Hand the tracks to the decode pool, which takes some at a time. Returns how many it was given."""
        windowing = self.loaded.engine.windowing(self.job.coverage)
        submitted = 0
        for track in self.job.tracks:
            if stopping.is_set() or not self._has_lease:
                break
            self.runtime.decoders.submit(self.runtime.path(track), windowing, self._make_sink(track))
            submitted += 1
            self._report_and_renew()
        return submitted

    def _make_sink(self, track: ClaimedTrack) -> Sink:
        run = TrackRun(self.job, track, self.loaded, self.runtime.writer, self.progress)
        engine = self.loaded.engine
        relative_to_track_peak = engine.model.hop and self.job.coverage == "full"
        return PeakPass(engine.submit, run.sink) if relative_to_track_peak else run.sink

    def report(self) -> None:
        """Send a progress event."""
        self._reported = self.progress.stored
        self._send_progress(f"{self._reported}/{len(self.job.tracks)}")

    def _report_and_renew(self) -> None:
        """Do what is due: send a progress event when there is progress, and renew the lease."""
        moment = time.monotonic()
        if moment >= self._next_report_at and self.progress.stored != self._reported:
            self._next_report_at = moment + PROGRESS_S
            self.report()
        if moment >= self._next_renewal_at:
            self._next_renewal_at = moment + renewal_interval_s(self.runtime)
            self._has_lease = self._renew_lease(moment)

    def _renew_lease(self, moment: float) -> bool:
        """Hold the job for longer. Returns False when another worker has it, or when it is given up."""
        if moment - self.progress.last_progress_at > STALLED_S:
            log.error("job %s: no track was stored for %d s; it is handed back", self.job.id, STALLED_S)
            return False
        return renew_lease(self.runtime, self.job)


def renewal_interval_s(runtime: WorkerRuntime) -> float:
    """Seconds between two renewals of a lease."""
    return runtime.config.lease_s / RENEWALS_PER_LEASE


def renew_lease(runtime: WorkerRuntime, job: ClaimedJob) -> bool:
    """Hold the job for longer. Returns False when it was lost to another worker."""
    with runtime.database.write() as connection:
        return jobs.renew_lease(connection, job, runtime.config.lease_s, now())


def load_model(runtime: WorkerRuntime, job: ClaimedJob) -> LoadedModel:
    """The job's model; raises what LoadedModels.load() raises. The lease is renewed while the model is being loaded and
    measured, which may take longer than a lease."""
    loading = runtime.models.load(job)
    while not wait([loading], renewal_interval_s(runtime)).done:
        renew_lease(runtime, job)
    return loading.result()


def hand_back(runtime: WorkerRuntime, job: ClaimedJob) -> None:
    """Put the job back into the queue, as if it had not been claimed. Tracks that are stored stay stored."""
    with runtime.database.write() as connection:
        jobs.hand_back_job(connection, job)
