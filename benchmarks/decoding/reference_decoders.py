"""What genremill's decoding is compared with: librosa, and decoders that read the same seconds and do nothing else."""

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
import numpy.typing as npt
import soundfile

from worker.decode.readers import libmpg123
from worker.windowing import REGION_S, Windowing

LIBROSA_RATE = 22_050  # Hz, to which librosa.load resamples.
BLOCK_FRAMES = 1 << 16  # Frames that are read at a time.
MPG123_NEW_FORMAT = -11  # libmpg123's answer before the first samples.
MPG123_CONTINUES = (libmpg123.OK, MPG123_NEW_FORMAT)

Regions = Sequence[tuple[float, float]]  # From and to, in seconds.
Call = Callable[[], object]


class SequentialSoundFile(soundfile.SoundFile):
    """A SoundFile that does not seek by itself before every read."""

    def seekable(self) -> bool:
        """Says no, which is why soundfile leaves the seeking to its caller."""
        return False


def find_regions(seconds: float, rate: int = 44_100) -> Regions:
    """The three regions of a track of this length at this sample rate."""
    window = int(REGION_S * rate)
    starts = [positions[0].start for positions in Windowing(rate, window).regions(int(seconds * rate))]
    return [(start / rate, (start + window) / rate) for start in starts]


def find_part_calls(path: Path, parts: Regions) -> dict[str, Call]:
    """The decoders that can read these parts of the file, by name."""
    calls: dict[str, Call] = {"PyAV": partial(read_with_av, path, parts)}
    if libsndfile_opens(path):
        calls["soundfile"] = partial(read_with_soundfile, path, parts)
    if path.suffix == ".mp3" and libmpg123.library():
        calls["libmpg123"] = partial(read_with_mpg123, path, parts, 0)
        calls["libmpg123, half the rate"] = partial(read_with_mpg123, path, parts, 1)
    return calls


def read_with_soundfile(path: Path, parts: Regions) -> None:
    """Read the parts as int16 with all channels."""
    with path.open("rb") as raw, SequentialSoundFile(raw.fileno(), closefd=False) as file:
        block = np.empty((BLOCK_FRAMES, file.channels), np.int16)
        for start_s, stop_s in parts:
            frames_left = round((stop_s - start_s) * file.samplerate)
            file.seek(round(start_s * file.samplerate))
            while frames_left > 0:
                frames_left -= len(file.read(out=block[: min(frames_left, BLOCK_FRAMES)])) or frames_left


def read_with_av(path: Path, parts: Regions) -> None:
    """Read as many frames as each part has from where the seek ends, in the format they are decoded to."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        for start_s, stop_s in parts:
            frames_left = round((stop_s - start_s) * stream.codec_context.sample_rate)
            file.seek(int(start_s / stream.time_base), stream=stream)
            for frame in file.decode(stream):
                frames_left -= frame.samples
                if frames_left <= 0:
                    break


def read_with_mpg123(path: Path, parts: Regions, halvings: int) -> None:
    """Read the parts as mono int16 at the file's rate, halved so many times. Raises OSError where it ends early."""
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
        bytes_left = 2 * round((stop_s - start_s) * rate)
        if library.mpg123_seek_64(handle, round(start_s * rate), os.SEEK_SET) < 0:
            raise OSError(f"libmpg123 cannot seek in {path}")
        while bytes_left > 0:
            if library.mpg123_read(handle, block, min(bytes_left, len(block)), byref(done)) not in MPG123_CONTINUES:
                raise OSError(f"libmpg123 cannot read {path} to the end of a part")
            bytes_left -= done.value
    library.mpg123_delete(handle)


def find_librosa_call(path: Path) -> tuple[str, Call]:
    """librosa.load of a file, with its name.

    The ffmpeg program decodes what libsndfile cannot open. Where there is no such program, PyAV decodes and librosa
    resamples: then the name has a star.
    """
    if libsndfile_opens(path) or shutil.which("ffmpeg"):
        return "librosa", partial(load_with_librosa, path)
    return "librosa*", partial(load_with_av_and_librosa, path)


def load_with_librosa(path: Path) -> npt.NDArray[np.float32]:
    """librosa.load, without its warnings about audioread, which returns when its ffmpeg program has ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return librosa.load(path)[0]


def load_with_av_and_librosa(path: Path) -> npt.NDArray[np.float32]:
    """The file as librosa.load would return it, decoded by PyAV."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        mono = av.AudioResampler(format="fltp", layout="mono")
        parts = [part.to_ndarray()[0] for frame in file.decode(stream) for part in mono.resample(frame)]
        rate = stream.codec_context.sample_rate
    return librosa.resample(np.concatenate(parts), orig_sr=rate, target_sr=LIBROSA_RATE)


def libsndfile_opens(path: Path) -> bool:
    """Whether libsndfile can open the file."""
    try:
        soundfile.info(path)
    except soundfile.SoundFileError:
        return False
    return True


def describe_versions() -> list[str]:
    """The versions of libmpg123 and of the ffmpeg program, or that there is none."""
    return [_describe_mpg123(), _describe_ffmpeg()]


def _describe_mpg123() -> str:
    if libmpg123.library() is None:
        return "no libmpg123"
    mapped = Path("/proc/self/maps").read_text().split()
    return next(Path(word).name for word in mapped if "/libmpg123" in word)  # The file's name has its version.


def _describe_ffmpeg() -> str:
    if not shutil.which("ffmpeg"):
        return "no ffmpeg program"
    printed = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout
    return " ".join(printed.split()[:3])  # "ffmpeg version 5.1.9"
