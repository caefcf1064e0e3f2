"""A run of the whole product, measured from outside and from its database."""

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
from sqlalchemy import distinct, func, select

import settings
from benchmarks.decoding.decode_pool import cpu_s
from db.runs import Counts
from db.session import Database, connect
from db.tables import Genre, Job, Prediction, Run, Score
from db.types import now
from genremill.local_stack import Stack, free_port
from producer import enqueue
from producer.follow import follow
from producer.order import Order
from producer.reconcile import reconcile
from settings import GenremillError
from worker.models import checkpoints, registry
from worker.models.checkpoints import Checkpoint

FLOWER_START_S = 2.0


@dataclass(frozen=True)
class Measured:
    """One run of the product."""

    tracks: int
    windows: int
    wall_s: float  # from the order to the end of the run, scan included
    worker_s: float  # from the first job's start to the last prediction's end
    spent: Counter[str]  # CPU seconds, by what the processes are
    by_node: dict[str, int]  # tracks
    amp: set[bool | None]


def with_weights(name: str) -> Checkpoint:
    """The model's weights: those that are here, or seeded ones."""
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
    """The product on an empty database, and without what it knows of its devices."""
    config = settings.load()
    shutil.rmtree(config.data_dir / "profiles", ignore_errors=True)
    for file in config.data_dir.glob("genremill.db*"):
        file.unlink()
    database = connect(config.database)
    stack = Stack(config, free_port("127.0.0.1", 5555), config.data_dir / "logs")
    try:
        stack.start()
        yield stack, database
    finally:
        stack.stop()
        database.close()


def warm_up(stack: Stack, database: Database, root: Path, checkpoint: Checkpoint) -> None:
    """Some tracks, each a job of its own, so that every worker is up and has its model."""
    _run(stack, database, Order((root,), checkpoint, "regions", most_tracks=1))
    time.sleep(FLOWER_START_S)


def measure(
    stack: Stack, database: Database, root: Path, checkpoint: Checkpoint, coverage: str = "regions"
) -> Measured:
    """An order's run. Raises AssertionError when anything failed, is missing or is there twice, or a worker died."""
    before, processes = spent_s(stack), [worker.process.pid for worker in stack.workers]
    ordered, began_s = now(), time.process_time()
    run_id, counts = _run(stack, database, Order((root,), checkpoint, coverage))
    producer_s = time.process_time() - began_s
    used = spent_s(stack) - before
    used["producer"] = producer_s
    assert processes == [worker.process.pid for worker in stack.workers], "a worker died"
    assert counts.balanced and counts.done == counts.found, counts
    return _read(database, run_id, counts, ordered, used)


def _run(stack: Stack, database: Database, order: Order) -> tuple[int, Counts]:
    run_id = enqueue.enqueue(database, order)
    for counts in follow(database, run_id, order, lambda: stack.poll(partial(reconcile, database))):  # noqa: B007
        pass
    return run_id, counts


def _read(database: Database, run_id: int, counts: Counts, ordered: datetime, used: Counter[str]) -> Measured:
    mine = Prediction.run_id == run_id
    tracks = select(Prediction.track_id).where(mine)
    with database.read() as connection:
        rows, scored = connection.execute(
            select(func.count(), func.count(distinct(Score.track_id))).where(Score.track_id.in_(tracks))
        ).one()
        model_id = select(Run.model_id).where(Run.id == run_id).scalar_subquery()
        genres = connection.scalar(select(func.count()).select_from(Genre).where(Genre.model_id == model_id))
        assert (scored, rows) == (counts.found, counts.found * genres), (scored, rows, counts.found, genres)
        first = connection.scalar(select(func.min(Job.started_at)).where(Job.run_id == run_id))
        last, windows = connection.execute(
            select(func.max(Prediction.finished_at), func.sum(Prediction.windows)).where(mine)
        ).one()
        nodes = select(Job.worker, func.sum(Job.tracks)).where(Job.run_id == run_id).group_by(Job.worker)
        by_node = dict(connection.execute(nodes).all())
        amp = set(connection.scalars(select(Prediction.amp).where(mine).distinct()))
        wall = connection.scalar(select(Run.finished_at).where(Run.id == run_id)) - ordered
    return Measured(counts.done, windows, wall.total_seconds(), (last - first).total_seconds(), used, by_node, amp)


def spent_s(stack: Stack) -> Counter[str]:
    """CPU seconds that the product's other processes used so far."""
    workers = [psutil.Process(worker.process.pid) for worker in stack.workers]
    below = [child for worker in workers for child in worker.children(recursive=True)]
    ahead = [child for child in below if "worker.decode.readahead" in child.cmdline()]
    kinds = {
        "worker": workers,
        "decode children": [child for child in below if child not in ahead],
        "reading ahead": ahead,
        "Redis": [psutil.Process(stack.redis.pid)],
        "Flower": [psutil.Process(stack.flower.pid)],
    }
    return Counter({kind: cpu_s(processes) for kind, processes in kinds.items()})
