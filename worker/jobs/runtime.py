"""What the jobs of a worker process share: the database, decode children, engines, the writer."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from db import jobs
from db.jobs import ClaimedJob, ClaimedTrack
from db.session import Database, connect
from db.types import now
from settings import GenremillError, Settings
from worker.decode.pool import DecodePool
from worker.inference.batch_size import Counters
from worker.inference.engine import Engine
from worker.inference.executors import pin
from worker.jobs.prefetch import FIRST_JOBS, jobs_to_hold
from worker.jobs.result_writer import ResultWriter
from worker.jobs.track_run import LoadedModel
from worker.models import checkpoints
from worker.monitoring.telemetry import Telemetry
from worker.windowing import REGIONS

SWITCH_S = 0.0005  # that a decode child may wait for a thread here that computes


@dataclass
class WorkerRuntime:
    """What the jobs of this worker process share."""

    node: str
    config: Settings
    device: str
    database: Database
    writer: ResultWriter
    decoders: DecodePool
    decode_processes: int
    job_tracks: int  # of the job claimed last
    loaded: dict[tuple[str, str, str], LoadedModel] = field(default_factory=dict)
    loader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "loader"))
    feeding: threading.Lock = field(default_factory=threading.Lock)  # the job's that hands its tracks to the decoders
    telemetry: Telemetry | None = None
    unpin: Callable[[], None] | None = None  # the decoders' memory, from which a GPU copies

    @classmethod
    def start(cls, node: str, config: Settings) -> "WorkerRuntime":
        """Get ready to work under this node name, and take back what a dead worker of that name held."""
        database = connect(config.database)
        with database.write() as connection:
            jobs.release_leases(connection, node, now())
        sys.setswitchinterval(SWITCH_S)
        device = os.environ.get("GENREMILL_WORKER_DEVICE", "cpu")
        decode_processes = config.decode_processes_for(device)
        decoders = DecodePool(
            decode_processes,
            native=device != "cpu",
            deadline_s=config.decode_deadline_s,
            memory_mib=config.decode_memory_mib,
        )
        runtime = cls(
            node, config, device, database, ResultWriter(database), decoders, decode_processes, config.job_tracks
        )
        runtime.telemetry = Telemetry(node, device, runtime.counters).start()
        return runtime

    def model(self, job: ClaimedJob) -> Future[LoadedModel]:
        """The model that the job asks for, loaded and measured on first use, one at a time. GenremillError when this
        host has another."""
        return self.loader.submit(self._model, job)

    def _model(self, job: ClaimedJob) -> LoadedModel:
        identity = (job.model, job.version, job.weights_sha256)
        if identity not in self.loaded:
            self.loaded[identity] = self._load(job)
        return self.loaded[identity]

    def _load(self, job: ClaimedJob) -> LoadedModel:
        checkpoint = checkpoints.find_checkpoint(job.model)
        if (checkpoint.version, checkpoint.sha256) != (job.version, job.weights_sha256):
            raise GenremillError(
                f"this host has other weights of {job.model} than the run was ordered with: "
                f"{checkpoint.sha256[:12]} instead of {job.weights_sha256[:12]}"
            )
        config = self.config
        if self.unpin is None and self.device != "cpu":
            self.unpin = pin(self.decoders.memory)
        model = checkpoints.load_model(checkpoint, self.device, config.amp)
        threads = config.usable_cores if self.device == "cpu" else 1
        with self.database.write() as connection:
            ids = jobs.put_genres(connection, job.model_id, model.labels, model.features)
        profiles, margin_bytes = config.data_dir / "profiles", config.vram_margin_mib << 20
        engine = Engine(
            model,
            self.device,
            threads,
            profiles=profiles,
            margin_bytes=margin_bytes,
            expecting=self.decoders.expecting,
        )
        return LoadedModel(engine, tuple(ids[name] for name, _ in model.labels))

    def jobs_to_hold(self) -> int:
        """How many jobs this worker can use: those that fill the largest batch there is room for now."""
        engines = [loaded.engine for loaded in tuple(self.loaded.values())]
        return max((self._jobs_for(engine) for engine in engines), default=FIRST_JOBS)

    def _jobs_for(self, engine: Engine) -> int:
        model = engine.model
        windows = REGIONS * model.windowing().region_windows
        return jobs_to_hold(engine.counters.limit, windows, self.decode_processes, self.job_tracks)

    def counters(self) -> list[tuple[str, str, Counters]]:
        """Of each engine: its model's name, the dtype, what it has done."""
        models = [(loaded.engine.model, loaded.engine.counters) for loaded in tuple(self.loaded.values())]
        return [(model.checkpoint.name, model.dtype, counters) for model, counters in models]

    def path(self, track: ClaimedTrack) -> bytes:
        """Where this host has the track."""
        root = os.fsdecode(track.root)
        return os.fsencode(self.config.roots.get(root, root)) + b"/" + track.path

    def close(self) -> None:
        """End what the jobs shared, in the direction of the data: nothing is left half done."""
        if self.telemetry is not None:
            self.telemetry.close()
        self.loader.shutdown()
        self.decoders.close()
        for loaded in self.loaded.values():
            loaded.engine.close()
        if self.unpin is not None:
            self.unpin()
        self.writer.close()
        self.database.close()
