"""`genremill doctor`: what a run needs, and whether it is here."""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from db.session import connect
from genremill.local_stack import find_redis_server
from settings import GenremillError, Settings
from worker.celery import check_broker
from worker.gpu import devices
from worker.models import checkpoints


@dataclass(frozen=True)
class Finding:
    """One thing that a run needs."""

    what: str
    ok: bool
    detail: str


def examine(config: Settings) -> list[Finding]:
    """Look at everything; nothing is changed but that the database is made where it is new."""
    checks: dict[str, Callable[[], str]] = {
        "Python": platform.python_version,
        "data folder": lambda: _data_dir(config),
        "database": lambda: connect(config.database).address,
        "broker": lambda: _broker(config),
        "model": lambda: _model(config),
        "device": lambda: ", ".join(map(str, devices.choose_devices(config.device))),
        "cores": lambda: str(config.usable_cores),
        "decoders": _decoders,
    }
    return [_find(what, check) for what, check in checks.items()]


def _find(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except (GenremillError, OSError, ImportError) as error:
        return Finding(what, False, str(error))


def _data_dir(config: Settings) -> str:
    config.data_dir.mkdir(parents=True, exist_ok=True)
    if not os.access(config.data_dir, os.W_OK):
        raise GenremillError(f"{config.data_dir} cannot be written: see GENREMILL_DATA_DIR")
    free_gib = shutil.disk_usage(config.data_dir).free / 2**30
    return f"{config.data_dir}, {free_gib:.1f} GiB free"


def _broker(config: Settings) -> str:
    if not config.broker_url:
        return f"private Redis, {find_redis_server()}"
    check_broker()
    return "reached, at GENREMILL_BROKER_URL"


def _model(config: Settings) -> str:
    checkpoint = checkpoints.find_checkpoint(config.model)
    return f"{checkpoint.name}, weights {checkpoint.sha256[:12]}"


def _decoders() -> str:
    import av
    import soundfile

    from worker.decode.readers import libmpg123

    mpg123 = "libmpg123" if libmpg123.library() else "no libmpg123, so MP3 takes longer: apt install libmpg123-0"
    return f"soundfile ({soundfile.__libsndfile_version__}), PyAV {av.__version__}, {mpg123}"
