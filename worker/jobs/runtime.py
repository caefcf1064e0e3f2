"""What all jobs of a worker process share: the database, decode processes, models, the result writer."""

import os
import sys
import threading
from dataclasses import dataclass, field

from db import lost_jobs
from db.jobs import ClaimedTrack
from db.parts import is_in, relative
from db.session import Database, connect
from db.types import now
from settings import Settings
from worker.decode.pool import DecodePool
from worker.inference.engine import Engine
from worker.jobs.loaded_models import LoadedModels
from worker.jobs.prefetch import INITIAL_JOBS_HELD, jobs_to_hold
from worker.jobs.result_writer import ResultWriter
from worker.monitoring.telemetry import Telemetry
from worker.windowing import REGIONS

THREAD_SWITCH_S = (
    0.0005  # Seconds that a Python thread computes before others get a turn: decode handlers must not wait.
)


@dataclass
class WorkerRuntime:
    """What all jobs of this worker process share. Made by start(), ended by close().

    Models are loaded later, when the first job asks for them: see worker.jobs.loaded_models.
    """

    # Configuration: does not change.
    node: str  # Celery's name of this worker process, such as gpu0@host
    config: Settings
    device: str  # "cpu" or "cuda:0"; the supervisor lets a worker process see one GPU alone
    decode_processes: int

    # Resources: close() ends them.
    telemetry: Telemetry
    decoders: DecodePool
    models: LoadedModels
    writer: ResultWriter
    database: Database

    # State: jobs change it.
    job_tracks: int  # tracks of the job that was claimed last; before, of the largest job there can be
    feeding: threading.Lock = field(default_factory=threading.Lock)  # held by the job that feeds the decode processes

    @classmethod
    def start(cls, node: str, config: Settings) -> "WorkerRuntime":
        """Get ready to work under this node name.

        Jobs that an earlier process of that name held are taken back: it must be dead, since the name is ours now.
        Raises GenremillError when the database cannot be used.
        """
        database = connect(config.database)
        with database.write() as connection:
            lost_jobs.take_back_worker_jobs(connection, node, now())
        sys.setswitchinterval(THREAD_SWITCH_S)
        device = os.environ.get("GENREMILL_WORKER_DEVICE", "cpu")
        decode_processes = config.decode_processes_for(device)
        decoders = DecodePool(
            decode_processes,
            native=device != "cpu",
            deadline_s=config.decode_deadline_s,
            memory_mib=config.decode_memory_mib,
        )
        models = LoadedModels(config, device, database, decoders)
        return cls(
            node=node,
            config=config,
            device=device,
            decode_processes=decode_processes,
            telemetry=Telemetry(node, device, models.counters).start(),
            decoders=decoders,
            models=models,
            writer=ResultWriter(database),
            database=database,
            job_tracks=config.job_tracks,
        )

    def jobs_to_hold(self) -> int:
        """How many jobs this worker can use now: those that fill the largest batch that its device has memory for."""
        engines = [loaded.engine for loaded in self.models.loaded()]
        return max((self._jobs_for(engine) for engine in engines), default=INITIAL_JOBS_HELD)

    def _jobs_for(self, engine: Engine) -> int:
        track_windows = REGIONS * engine.model.windowing().region_windows
        return jobs_to_hold(engine.counters.limit, track_windows, self.decode_processes, self.job_tracks)

    def path(self, track: ClaimedTrack) -> bytes:
        """Where this host has the file of the track: the setting `roots` says where libraries are mounted."""
        path = track.root.rstrip(b"/") + b"/" + track.path
        mounted = {os.fsencode(root): os.fsencode(folder) for root, folder in self.config.roots.items()}
        root = max((root for root in mounted if is_in(path, root)), key=len, default=None)
        return path if root is None else mounted[root] + b"/" + relative(path, root)

    def close(self) -> None:
        """End the resources, in the direction in which the data flows, so that each may finish what it was given.

        1. Telemetry, which asks the engines for figures.
        2. The decode processes: no windows come any more.
        3. The models: their engines predict the windows that they have.
        4. The result writer: it stores the last outcomes.
        5. The database, which all of them but the decode processes use.
        """
        self.telemetry.close()
        self.decoders.close()
        self.models.close()
        self.writer.close()
        self.database.close()
