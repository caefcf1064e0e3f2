"""The models that are loaded in this worker process, each with its engine."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from db.jobs import ClaimedJob
from db.models import put_genres
from db.session import Database
from settings import GenremillError, Settings
from worker.decode.pool import DecodePool
from worker.inference.batch_size import Counters
from worker.inference.engine import Engine
from worker.inference.executors import pin
from worker.models import checkpoints
from worker.models.checkpoints import Model

BYTES_PER_MIB = 1 << 20


@dataclass(frozen=True)
class LoadedModel:
    """A model in this process: its engine, and the database ids of its genres in the order of its probabilities."""

    engine: Engine
    genre_ids: tuple[int, ...]


class LoadedModels:
    """Loads models on first use, one at a time, and keeps them until close().

    device: "cpu" or "cuda:0".
    database: where the genres of models are entered.
    decoders: the engines read windows from their shared memory, and ask them whether more windows are on their way.
    """

    def __init__(self, config: Settings, device: str, database: Database, decoders: DecodePool) -> None:
        self._config, self._device, self._database, self._decoders = config, device, database, decoders
        self._models: dict[tuple[str, str, str], LoadedModel] = {}  # by name, version and SHA-256 of the weights
        self._thread = ThreadPoolExecutor(1, "model-loader")
        self._unpin: Callable[[], None] | None = None  # undoes the pinning of the decoders' shared memory

    def load(self, job: ClaimedJob) -> Future[LoadedModel]:
        """The model that the job asks for. On first use it is loaded, and measured on a GPU, which may take minutes.

        The future raises GenremillError when this host has no such model, or other weights of it. It raises a
        RuntimeError that worker.inference.executors.is_out_of_memory() recognizes when the model does not fit the GPU.
        """
        return self._thread.submit(self._find_or_load, job)

    def loaded(self) -> list[LoadedModel]:
        """The models that are loaded now."""
        return list(self._models.values())

    def counters(self) -> list[tuple[str, str, Counters]]:
        """Of each engine: its model's name, the dtype of the weights, and what the engine has done."""
        engines = [loaded.engine for loaded in self.loaded()]
        return [(engine.model.checkpoint.name, engine.model.dtype, engine.counters) for engine in engines]

    def close(self) -> None:
        """Predict what the engines have been given, and end them; then their memory need not be pinned any more."""
        self._thread.shutdown()
        for loaded in self.loaded():
            loaded.engine.close()
        if self._unpin is not None:
            self._unpin()

    def _find_or_load(self, job: ClaimedJob) -> LoadedModel:
        identity = (job.model, job.version, job.weights_sha256)
        if identity not in self._models:
            model = self._load_weights(job)
            genre_ids = self._enter_genres(job, model)
            self._models[identity] = LoadedModel(self._start_engine(model), genre_ids)
        return self._models[identity]

    def _load_weights(self, job: ClaimedJob) -> Model:
        checkpoint = checkpoints.find_checkpoint(job.model)
        if (checkpoint.version, checkpoint.sha256) != (job.version, job.weights_sha256):
            raise GenremillError(
                f"this host has other weights of {job.model} than the run was ordered with: "
                f"{checkpoint.sha256[:12]} instead of {job.weights_sha256[:12]}"
            )
        return checkpoints.load_model(checkpoint, self._device, self._config.amp, self._config.embeddings)

    def _enter_genres(self, job: ClaimedJob, model: Model) -> tuple[int, ...]:
        with self._database.write() as connection:
            ids = put_genres(connection, job.model_id, model.labels, model.features)
        return tuple(ids[name] for name, _ in model.labels)

    def _start_engine(self, model: Model) -> Engine:
        config, on_cpu = self._config, self._device == "cpu"
        if self._unpin is None and not on_cpu:
            self._unpin = pin(self._decoders.memory)
        return Engine.start(
            model,
            self._device,
            threads=config.usable_cores if on_cpu else 1,
            profiles=config.data_dir / "profiles",
            margin_bytes=config.vram_margin_mib * BYTES_PER_MIB,
            expecting=self._decoders.expecting,
        )
