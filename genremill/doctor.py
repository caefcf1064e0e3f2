"""What a run needs, and whether it is here; for `genremill doctor`."""

import os
import platform
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from db.revisions import NoDatabaseError, OlderDatabaseError, address
from db.session import connect_to_read
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
    """Look for everything that a run needs. Nothing is made: what a run makes itself need not be here yet."""
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
    place = _find_writable_folder(config.data_dir, "GENREMILL_DATA_DIR")
    free_bytes = shutil.disk_usage(place).free
    made_later = "" if config.data_dir.exists() else ", made by the first run"
    return f"{config.data_dir}{made_later}, {free_bytes / BYTES_PER_GIB:.1f} GiB free"


def _find_writable_folder(folder: Path, setting: str) -> Path:
    """The folder, or where it is to be made the first one above it that is there.

    Raises GenremillError when that is no folder or cannot be written.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise GenremillError(f"{folder} cannot be written: see {setting}")
    return place


def _check_database(config: Settings) -> str:
    try:
        with closing(connect_to_read(config.database)) as database:
            return database.address
    except NoDatabaseError:
        url = make_url(config.database)
        if url.get_backend_name() == "sqlite":
            _find_writable_folder(Path(url.database or "").parent, "GENREMILL_DATABASE_URL")
        return f"{address(url)}, made by the first run"
    except OlderDatabaseError as error:  # A run brings it up to date.
        return str(error)


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
