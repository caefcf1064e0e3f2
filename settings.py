"""Every setting of genremill, read once from the environment (GENREMILL_*) and from `.env`."""

import os
import socket
import tempfile
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

Amp = Literal["auto", "bf16", "fp16", "off"]
SOCKET_PATH_BYTES = 100  # a Unix socket's path may have 107 bytes; redis-server wants a few


class GenremillError(Exception):
    """What a person can put right. Its message is one line that says what to do; the commands exit with code 2."""


def default_data_dir() -> Path:
    """Where the platform keeps a user's application data."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "genremill"


class Settings(BaseSettings):
    """The environment, checked. `genremill doctor` prints the values in force."""

    model_config = SettingsConfigDict(env_prefix="GENREMILL_", env_file=".env", extra="ignore", frozen=True)

    data_dir: Path = Field(default_factory=default_data_dir, description="the folder for all data")
    database_url: str = Field("", description="SQLAlchemy address; empty: genremill.db in the data folder (SQLite)")
    broker_url: str = Field("", description="Redis address; empty: the private Redis of `genremill run`")
    model: str = Field("musicnn", description="the model that runs use")
    coverage: Literal["regions", "full"] = Field("regions", description="three regions of a track, or all of it")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0,2 or UUIDs of GPUs")
    amp: Amp = Field("auto", description="numbers on a GPU; off: float32")
    vram_margin_mib: int = Field(256, ge=0, description="VRAM that workers leave free for others")
    cores: int = Field(0, ge=0, description="CPU cores this host's workers may use; 0: all of them")
    decode_children: int = Field(0, ge=0, description="decode processes of a worker; 0: by its cores")
    decode_deadline_s: float = Field(60.0, gt=0, description="longest wait for one block of a file's audio")
    decode_memory_mib: int = Field(1024, ge=256, description="memory limit of a decode process")
    job_tracks: int = Field(64, ge=1, le=1000, description="most tracks in a job")
    lease_s: float = Field(60.0, ge=1, description="a job whose worker is silent for so long is queued again")
    roots: dict[str, Path] = Field({}, description='JSON: where this host mounts a library, {"/music": "/mnt/nas"}')
    flower_address: str = Field("127.0.0.1", description="address that Flower listens on")
    flower_port: int = Field(5555, ge=1, le=65535, description="port that Flower listens on")
    metrics_address: str = Field("127.0.0.1", description="address that workers give Prometheus their figures on")
    metrics_port: int = Field(0, ge=0, le=65535, description="the first worker's port for Prometheus; 0: none")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="of the workers")

    @property
    def database(self) -> str:
        """The database's address for SQLAlchemy."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'genremill.db'}"

    @property
    def private_socket(self) -> Path:
        """The Unix socket of the private Redis: in the data folder, or in a short place where that is too long."""
        path = self.data_dir.absolute() / "redis.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        return Path(tempfile.gettempdir()) / f"genremill-{sha256(os.fsencode(path)).hexdigest()[:16]}.sock"

    @property
    def broker(self) -> str:
        """The broker's address for Celery."""
        return self.broker_url or f"redis+socket://{self.private_socket}"

    @property
    def usable_cores(self) -> int:
        """CPU cores that this process may run on, or fewer where `cores` says so."""
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(self.cores, allowed) if self.cores else allowed

    def decode_processes_for(self, device: str) -> int:
        """Decode processes of a worker on this device: one per core, and a quarter more where the cores do little else,
        so that none of them waits while a child waits for the worker."""
        return self.decode_children or (self.usable_cores if device == "cpu" else self.usable_cores * 5 // 4)


@lru_cache
def load() -> Settings:
    """The settings in force. Raises GenremillError that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "GENREMILL_" + "_".join(str(part) for part in first["loc"]).upper()
        raise GenremillError(f"{name}={first['input']!r} is not valid: {first['msg']}") from error
    except ValueError as error:  # JSON that does not parse
        raise GenremillError(f"the settings cannot be read: {error}") from error


def override(**values: str) -> Settings:
    """The settings with those of the command line that are not empty, in force here and in the processes started."""
    given = {f"GENREMILL_{name.upper()}": value for name, value in values.items() if value}
    if given:
        os.environ.update(given)
        load.cache_clear()
    return load()


def host() -> str:
    """This host's name, as it stands in node names."""
    return socket.gethostname()
