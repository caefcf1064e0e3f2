"""A run of the whole product: started, measured from outside, and checked in its database."""

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import psutil
from sqlalchemy import Connection, distinct, func, select

import settings
from benchmarks.processes import cpu_s_of, find_descendants
from db.results import SCORE
from db.runs import Counts
from db.session import Database, connect
from db.tables import Genre, Job, Prediction, Run
from db.types import now
from genremill.local_stack import Stack, free_port
from producer import enqueue
from producer.follow import follow
from producer.order import Order
from producer.reconcile import reconcile
from settings import GenremillError
from worker.models import checkpoints, registry
from worker.models.checkpoints import Checkpoint

FLOWER_START_S = 2.0  # Seconds after which Flower has started and takes no CPU time any more.
FIRST_FLOWER_PORT = 5555  # The first port that is tried.


class RunFailedError(Exception):
    """A measured run lost tracks or workers, or stored something twice: its speed means nothing."""


@dataclass(frozen=True)
class MeasuredRun:
    """What one run of the product took."""

    tracks: int
    windows: int
    wall_s: float  # From the order to the end of the run, the scan included.
    worker_s: float  # From the start of the first job to the end of the last prediction.
    cpu_s: Counter[str]  # CPU time by kind of process.
    tracks_by_node: dict[str, int]  # By the worker's name.
    amp: set[bool | None]  # Whether the tracks were predicted with mixed precision.


def find_or_seed_weights(name: str) -> Checkpoint:
    """The weights of this model that are stored here. Where there are none, random ones from a seed are stored."""
    try:
        return checkpoints.find_checkpoint(name)
    except GenremillError:
        import torch

        from genremill.bench.random_weights import seeded_state
        from worker.models.weight_import import import_weights

        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            torch.save(seeded_state(registry.import_model_module(registry.find_model(name))), file)
            file.flush()
            return import_weights(Path(file.name), name).checkpoint


@contextlib.contextmanager
def running() -> Iterator[tuple[Stack, Database]]:
    """The product's processes and an empty SQLite database. Devices are measured anew, and other data is kept."""
    config = settings.load()
    shutil.rmtree(config.data_dir / "profiles", ignore_errors=True)
    for file in config.data_dir.glob("genremill.db*"):
        file.unlink()
    database = connect(config.database)
    stack = Stack(config, free_port("127.0.0.1", FIRST_FLOWER_PORT), config.data_dir / "logs")
    try:
        stack.start()
        yield stack, database
    finally:
        stack.stop()
        database.close()


def warm_up(stack: Stack, database: Database, root: Path, checkpoint: Checkpoint) -> None:
    """Analyse a folder in jobs of one track, so that every worker is up and has loaded the model."""
    _run(stack, database, Order((root,), checkpoint, "regions", job_tracks=1))
    time.sleep(FLOWER_START_S)


def measure(
    stack: Stack, database: Database, root: Path, checkpoint: Checkpoint, coverage: str = "regions"
) -> MeasuredRun:
    """Analyse a folder. Raises RunFailedError when a track failed, a score is missing, or a worker died."""
    cpu_before, pids = cpu_s_by_kind(stack), _worker_pids(stack)
    ordered_at, producer_began_s = now(), time.process_time()
    run_id, counts = _run(stack, database, Order((root,), checkpoint, coverage))
    producer_s = time.process_time() - producer_began_s
    if pids != _worker_pids(stack):
        raise RunFailedError("a worker died")
    cpu = cpu_s_by_kind(stack) - cpu_before
    cpu["producer"] = producer_s
    if not counts.balanced or counts.done != counts.found:
        raise RunFailedError(f"not every track is done: {counts}")
    with database.read() as connection:
        _check_scores(connection, run_id, counts)
        return _read_run(connection, run_id, ordered_at, cpu)


def _run(stack: Stack, database: Database, order: Order) -> tuple[int, Counts]:
    """The id of the run and its last counts."""
    run_id = enqueue.enqueue(database, order)
    *_, counts = follow(database, run_id, order, lambda: stack.poll(partial(reconcile, database)))
    return run_id, counts


def _worker_pids(stack: Stack) -> list[int | None]:
    """The workers' process ids; None for one that has died and was not started again yet."""
    return [worker.process and worker.process.pid for worker in stack.workers]


def _check_scores(connection: Connection, run_id: int, counts: Counts) -> None:
    """Raises RunFailedError unless every track has one score of each genre."""
    model_id = select(Run.model_id).where(Run.id == run_id).scalar_subquery()
    genres = connection.scalar(select(func.count()).select_from(Genre).where(Genre.model_id == model_id))
    predictions = select(Prediction.id).where(Prediction.run_id == run_id)
    scored = SCORE.c.prediction_id
    counted = select(func.count(), func.count(distinct(scored))).select_from(SCORE).where(scored.in_(predictions))
    scores, scored_tracks = connection.execute(counted).one()
    if (scored_tracks, scores) != (counts.found, counts.found * genres):
        raise RunFailedError(f"{scores} scores of {scored_tracks} tracks, not {genres} of each of {counts.found}")


def _read_run(connection: Connection, run_id: int, ordered_at: datetime, cpu: Counter[str]) -> MeasuredRun:
    """The times and counts that the database has of a run."""
    of_run = Prediction.run_id == run_id
    tracks, windows, last_at = connection.execute(
        select(func.count(), func.sum(Prediction.windows), func.max(Prediction.finished_at)).where(of_run)
    ).one()
    first_at = connection.scalar(select(func.min(Job.started_at)).where(Job.run_id == run_id))
    ended_at = connection.scalar(select(Run.finished_at).where(Run.id == run_id))
    by_node = select(Job.worker, func.sum(Job.tracks)).where(Job.run_id == run_id).group_by(Job.worker)
    return MeasuredRun(
        tracks,
        windows,
        (ended_at - ordered_at).total_seconds(),
        (last_at - first_at).total_seconds(),
        cpu,
        dict(connection.execute(by_node).all()),
        set(connection.scalars(select(Prediction.amp).where(of_run).distinct())),
    )


def cpu_s_by_kind(stack: Stack) -> Counter[str]:
    """Seconds of CPU time that the product's other processes have used since they started."""
    workers = [psutil.Process(worker.process.pid) for worker in stack.workers]
    kinds = {
        "worker": workers,
        "decode processes": [child for worker in workers for child in find_descendants("worker.decode.child", worker)],
        "reading ahead": [child for worker in workers for child in find_descendants("worker.decode.readahead", worker)],
        "Redis": [psutil.Process(stack.redis.pid)],
        "Flower": [psutil.Process(stack.flower.pid)],
    }
    return Counter({kind: cpu_s_of(processes) for kind, processes in kinds.items()})
