"""What benchmarks.decoding.codecs compares genremill with: librosa, and decoders alone."""

import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Sequence
from ctypes import byref, c_size_t, create_string_buffer
from functools import partial
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from worker.decode.readers import libmpg123
from worker.windowing import REGION_S, Windowing

BLOCK_FRAMES = 1 << 16
GOING_ON = (libmpg123.OK, -11)  # MPG123_NEW_FORMAT

Regions = Sequence[tuple[float, float]]  # from, to, in seconds
Call = Callable[[], object]


class Sequential(soundfile.SoundFile):
    """Without the seek that soundfile adds to every read."""

    def seekable(self) -> bool:
        return False


def regions(seconds: float, rate: int = 44_100) -> Regions:
    """The three regions of a track."""
    window = int(REGION_S * rate)
    starts = [positions[0].start for positions in Windowing(rate, window).regions(int(seconds * rate))]
    return [(start / rate, (start + window) / rate) for start in starts]


def calls(path: Path, parts: Regions) -> dict[str, Call]:
    """Decoders that read these parts of the file and do nothing else."""
    found: dict[str, Call] = {"PyAV": partial(with_av, path, parts)}
    if soundfile_opens(path):
        found["soundfile"] = partial(with_soundfile, path, parts)
    if path.suffix == ".mp3" and libmpg123.library():
        found["libmpg123"] = partial(with_mpg123, path, parts, 0)
        found["libmpg123, half the rate"] = partial(with_mpg123, path, parts, 1)
    return found


def with_soundfile(path: Path, parts: Regions) -> None:
    """int16, all channels."""
    with path.open("rb") as raw, Sequential(raw.fileno(), closefd=False) as file:
        block = np.empty((BLOCK_FRAMES, file.channels), np.int16)
        for start_s, stop_s in parts:
            left = round((stop_s - start_s) * file.samplerate)
            file.seek(round(start_s * file.samplerate))
            while left > 0:
                left -= len(file.read(out=block[: min(left, BLOCK_FRAMES)])) or left


def with_av(path: Path, parts: Regions) -> None:
    """As many frames as the part has from where the seek ends, in whatever format they are decoded to."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        for start_s, stop_s in parts:
            left = round((stop_s - start_s) * stream.codec_context.sample_rate)
            file.seek(int(start_s / stream.time_base), stream=stream)
            for frame in file.decode(stream):
                left -= frame.samples
                if left <= 0:
                    break


def with_mpg123(path: Path, parts: Regions, halvings: int) -> None:
    """Mono int16 at the file's rate, halved so many times."""
    library = libmpg123.library()
    handle = library.mpg123_new(None, None)
    for name, value in (
        (libmpg123.FLAGS, libmpg123.MONO_MIX | libmpg123.QUIET | libmpg123.GAPLESS),
        (libmpg123.DOWN_SAMPLE, halvings),
    ):
        library.mpg123_param(handle, name, value, 0.0)
    library.mpg123_open(handle, os.fsencode(path))
    rate = soundfile.info(path).samplerate >> halvings
    block, done = create_string_buffer(2 * BLOCK_FRAMES), c_size_t()
    for start_s, stop_s in parts:
        left = 2 * round((stop_s - start_s) * rate)
        assert library.mpg123_seek_64(handle, round(start_s * rate), os.SEEK_SET) >= 0, path
        while left > 0 and library.mpg123_read(handle, block, min(left, len(block)), byref(done)) in GOING_ON:
            left -= done.value
        assert left <= 0, path
    library.mpg123_delete(handle)


def whole(path: Path) -> tuple[str, Call]:
    """librosa.load of a file: what libsndfile cannot open, the ffmpeg program decodes. Where there is no such program,
    PyAV decodes and librosa resamples: then the name has a star."""
    if soundfile_opens(path) or shutil.which("ffmpeg"):
        return "librosa", partial(with_librosa, path)
    return "librosa*", partial(with_av_and_librosa, path)


def with_librosa(path: Path) -> np.ndarray:
    """librosa.load, without what it says of audioread; audioread waits for its ffmpeg before it returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return librosa.load(path)[0]


def with_av_and_librosa(path: Path) -> np.ndarray:
    """The file as librosa.load would give it."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        mono = av.AudioResampler(format="fltp", layout="mono")
        parts = [part.to_ndarray()[0] for frame in file.decode(stream) for part in mono.resample(frame)]
        rate = stream.codec_context.sample_rate
    return librosa.resample(np.concatenate(parts), orig_sr=rate, target_sr=22_050)


def soundfile_opens(path: Path) -> bool:
    """Whether libsndfile knows the format."""
    try:
        soundfile.info(path)
    except soundfile.SoundFileError:
        return False
    return True


def mpg123_version() -> str:
    """The file of libmpg123, whose name has its version, or that there is none."""
    if libmpg123.library() is None:
        return "no libmpg123"
    loaded = Path("/proc/self/maps").read_text().split()
    return next(Path(word).name for word in loaded if "/libmpg123" in word)


def ffmpeg_version() -> str:
    """The ffmpeg program's first words of itself, or that there is none."""
    if not shutil.which("ffmpeg"):
        return "no ffmpeg program"
    said = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout
    return " ".join(said.split()[:3])
