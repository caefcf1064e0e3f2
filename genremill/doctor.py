"""What a run needs, and whether it is here; for `genremill doctor`."""

import os
import platform
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from db.session import connect
from genremill.local_stack import find_redis_server
from settings import GenremillError, Settings
from worker.celery import check_broker
from worker.gpu.devices import choose_devices
from worker.models.checkpoints import find_checkpoint

BYTES_PER_GIB = 1 << 30
SHA256_DIGITS_SHOWN = 12  # Enough to tell weights apart.


@dataclass(frozen=True)
class Finding:
    """One thing that a run needs, whether it is here, and what it is or what is wrong with it."""

    what: str
    ok: bool
    detail: str


def check_requirements(config: Settings) -> list[Finding]:
    """Look for everything that a run needs. The data folder and the database are made where they are missing."""
    checks: dict[str, Callable[[], str]] = {
        "Python": platform.python_version,
        "data folder": lambda: _check_data_folder(config),
        "database": lambda: _check_database(config),
        "broker": lambda: _check_broker(config),
        "model": lambda: _check_model(config),
        "device": lambda: ", ".join(map(str, choose_devices(config.device))),
        "cores": lambda: str(config.usable_cores),
        "decoders": _check_decoders,
    }
    return [_run_check(what, check) for what, check in checks.items()]


def _run_check(what: str, check: Callable[[], str]) -> Finding:
    """The finding of a check, which returns the detail or raises an error that says what is wrong."""
    try:
        return Finding(what, True, check())
    except (GenremillError, OSError, ImportError) as error:
        return Finding(what, False, str(error))


def _check_data_folder(config: Settings) -> str:
    config.data_dir.mkdir(parents=True, exist_ok=True)
    if not os.access(config.data_dir, os.W_OK):
        raise GenremillError(f"{config.data_dir} cannot be written: see GENREMILL_DATA_DIR")
    free_bytes = shutil.disk_usage(config.data_dir).free
    return f"{config.data_dir}, {free_bytes / BYTES_PER_GIB:.1f} GiB free"


def _check_database(config: Settings) -> str:
    with closing(connect(config.database)) as database:
        return database.address


def _check_broker(config: Settings) -> str:
    if not config.broker_url:
        return f"private Redis, {find_redis_server()}"
    check_broker()
    return "reached, at GENREMILL_BROKER_URL"


def _check_model(config: Settings) -> str:
    checkpoint = find_checkpoint(config.model)
    return f"{checkpoint.name}, weights {checkpoint.sha256[:SHA256_DIGITS_SHOWN]}"


def _check_decoders() -> str:
    import av
    import soundfile

    from worker.decode.readers import libmpg123

    mpg123 = "libmpg123" if libmpg123.library() else "no libmpg123, so MP3 takes longer: apt install libmpg123-0"
    return f"soundfile ({soundfile.__libsndfile_version__}), PyAV {av.__version__}, {mpg123}"
