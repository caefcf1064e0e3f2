"""Fixtures of several tests of decoding: a pool, and files to read."""

import os

import pytest

from tests.support import audio
from tests.support.paths import DATA
from worker.decode.pool import DecodePool

APE = DATA / "sweep.ape"  # At level 0.05 and 8 kHz, in stereo. PyAV cannot write this format.
RATES = {"opus": 48_000, "webm": 48_000, "ape": 8_000}  # of the others: 44,100 Hz


@pytest.fixture
def pool_of():
    """Starts a pool of so many processes. It is closed after the test."""
    pools = []

    def start(processes=1, **options):
        pools.append(DecodePool(processes, **options))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


@pytest.fixture(scope="session")
def sweep_path(tmp_path_factory):
    """The path, in bytes, of a sweep of 60 s in FLAC."""
    path = tmp_path_factory.mktemp("sweep") / "sweep.flac"
    return os.fsencode(audio.write(path, audio.sweep(60, 16_000), 16_000))


@pytest.fixture(scope="session")
def tracks(tmp_path_factory):
    """Gives the path of a sweep of 60 s in a format, such as "mp3". Each is written when it is first asked for."""
    folder = tmp_path_factory.mktemp("tracks")

    def track(kind):
        if kind == "ape":
            return APE
        path, rate = folder / f"sweep.{kind}", rate_for(kind)
        return path if path.exists() else audio.write(path, audio.sweep(60, rate), rate)

    return track


def rate_for(kind):
    """The sample rate of the sweep in this format."""
    return RATES.get(kind, 44_100)
