"""Every setting of genremill. They are read once, from the environment and from a file `.env` in the working directory.

The variable of a setting is its name in capitals with GENREMILL_ in front, such as GENREMILL_DATA_DIR.
"""

import os
import socket
import tempfile
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Amp = Literal["auto", "bf16", "fp16", "off"]
Embeddings = Literal["auto", "on", "off"]

PREFIX = "GENREMILL_"  # What the variables begin with.
MAX_SOCKET_PATH_BYTES = 100  # A Unix socket's path may have 107 bytes, of which redis-server needs a few.


class GenremillError(Exception):
    """Something is wrong that a person can put right.

    The message is one line that says what to do. The commands print it and exit with code 2.
    """


def default_data_dir() -> Path:
    """The folder for genremill's data in the place where the user's programs keep theirs."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "genremill"


class Settings(BaseSettings):
    """The values of all settings. Values that are not valid are refused."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="folder for the SQLite database, logs, weights and profiles",
    )
    database_url: str = Field(
        "",
        description="database, as sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; "
        "empty: genremill.db in the data folder",
    )
    broker_url: str = Field(
        "", description="Redis, as redis://HOST:6379/0; empty: a private one that `genremill run` starts"
    )
    model: str = Field("musicnn", description="name of the model that analyses tracks")
    coverage: Literal["regions", "full"] = Field(
        "regions", description="what is analysed of a track: three regions that are spread evenly, or the full track"
    )
    device: str = Field(
        "auto",
        description="device that analyses: cpu, cuda (all GPUs), cuda:0,2 (GPUs by number), or UUIDs of GPUs; "
        "auto: all GPUs, or the CPU if there are none",
    )
    amp: Amp = Field(
        "auto",
        description="numbers that a network computes with on a GPU: bf16, fp16, or off for float32; "
        "auto: what suits the GPU and the model",
    )
    embeddings: Embeddings = Field(
        "auto",
        description="whether a vector that describes the track is stored beside its scores: on, or off; "
        "auto: with musicnn, whose vectors are short",
    )
    vram_margin_mib: int = Field(
        256, ge=0, description="GPU memory in MiB that a worker leaves free for other programs"
    )
    cores: int = Field(0, ge=0, description="number of CPU cores that the workers of this host use; 0: all of them")
    decode_children: int = Field(
        0,
        ge=0,
        description="number of processes of a worker that decode files; "
        "0: one for each core, and a quarter more beside a GPU",
    )
    decode_deadline_s: float = Field(
        60.0, gt=0, description="seconds that the next block of a file's audio may take before the file fails"
    )
    decode_memory_mib: int = Field(1024, ge=256, description="memory in MiB that a process that decodes may use")
    job_tracks: int = Field(64, ge=1, le=1000, description="number of tracks in a job, at most")
    queue_low: int = Field(
        1000, ge=1, description="number of jobs on a queue below which more are sent, while somebody stays with a run"
    )
    queue_high: int = Field(
        4000, ge=1, validate_default=True, description="number of jobs on a queue up to which more are sent then"
    )
    lease_s: float = Field(
        60.0, ge=1, description="seconds without a sign of life from a worker after which another one gets its job"
    )
    roots: dict[str, Path] = Field(
        {},
        description="where this host has libraries that are elsewhere on the producer's host, "
        'as JSON: {"/srv/music": "/mnt/nas/music"}',
    )
    flower_address: str = Field("127.0.0.1", description="address of this host that Flower listens on")
    flower_port: int = Field(5555, ge=1, le=65535, description="port that Flower listens on")
    metrics_address: str = Field("127.0.0.1", description="address of this host that workers give their metrics on")
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port on which the first worker of this host gives its metrics to Prometheus, "
        "followed by those of the others; 0: no metrics",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="how important a message must be for a worker to log it"
    )

    @field_validator("queue_high")
    @classmethod
    def _compare_with_low(cls, high: int, others: ValidationInfo) -> int:
        """Refuse marks that are the wrong way round."""
        if high < others.data.get("queue_low", high):
            raise ValueError(f"it is less than {PREFIX}QUEUE_LOW")
        return high

    @field_validator("roots")
    @classmethod
    def _strip_slashes(cls, roots: dict[str, Path]) -> dict[str, Path]:
        """Name the libraries as the database does: without a slash at the end."""
        return {root.rstrip("/") or "/": path for root, path in roots.items()}

    @property
    def database(self) -> str:
        """The address of the database, for SQLAlchemy."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'genremill.db'}"

    @property
    def private_socket(self) -> Path:
        """The Unix socket of the private Redis.

        It is in the data folder. If its path would be too long for a socket, it is in the folder for temporary files,
        under a name that depends on the data folder.
        """
        path = self.data_dir.absolute() / "redis.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
            return path
        return Path(tempfile.gettempdir()) / f"genremill-{sha256(os.fsencode(path)).hexdigest()[:16]}.sock"

    @property
    def broker(self) -> str:
        """The address of the broker, for Celery."""
        return self.broker_url or f"redis+socket://{self.private_socket}"

    @property
    def usable_cores(self) -> int:
        """The number of CPU cores that this process may use: those it is allowed, or fewer if `cores` says so."""
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(self.cores, allowed) if self.cores else allowed

    def decode_processes_for(self, device: str) -> int:
        """The number of decode processes of a worker on this device ("cpu" or "cuda:0").

        Beside a GPU there are a quarter more than cores. The cores do little else then, and should have work while some
        of the processes wait for the worker.
        """
        return self.decode_children or (self.usable_cores if device == "cpu" else self.usable_cores * 5 // 4)


@lru_cache
def load() -> Settings:
    """The settings in force. Raises GenremillError, which names the variable, when one is not valid."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise GenremillError(f"{name}={first['input']!r} is not valid: {first['msg']}") from error
    except ValueError as error:  # The value is not JSON, where JSON is expected.
        raise GenremillError(f"the settings cannot be read: {error}") from error


def override(**values: str) -> Settings:
    """Put these values in the place of those of the environment, and return the settings then in force.

    Values are given by the names of settings; empty ones are left out. Processes that are started later get them, too.
    """
    variables = {PREFIX + name.upper(): value for name, value in values.items() if value}
    if variables:
        os.environ.update(variables)
        load.cache_clear()
    return load()


def host() -> str:
    """The name of this host, as it stands in the node names of workers."""
    return socket.gethostname()
