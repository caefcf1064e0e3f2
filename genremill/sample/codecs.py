"""The same audio in every codec that people keep music in."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

OPUS_HZ = 48_000  # the only rate there is
XING = b"Xing"  # in the first frame of an MP3 with a variable bit rate
FRAME_SYNC = b"\xff\xfb"  # MPEG-1 layer III
KBIT_S = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # of MPEG-1 layer III

Encode = Callable[[Path, np.ndarray, int], None]  # path, int16 (frames, channels), Hz


def encode_all(folder: Path, pcm: np.ndarray, rate: int) -> dict[str, Path]:
    """Write int16 (frames, channels) once in each codec that can be encoded here; files that are there are kept.
    Returns their paths by the codec's name. (APE is none of them.)"""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / file for name, (file, _) in CODECS.items()}
    for name, path in paths.items():
        if not path.exists():
            unfinished = path.with_name(f"part-{path.name}")
            CODECS[name][1](unfinished, pcm, rate)
            unfinished.replace(path)
    return paths


def _with_soundfile(path: Path, pcm: np.ndarray, rate: int, **encoding) -> None:
    with soundfile.SoundFile(path, "w", rate, pcm.shape[1], **encoding) as file:
        for block in _seconds(pcm, rate):
            file.write(block)


def _seconds(pcm: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    """Blocks of a second: a long MP3 or OGG in one call can crash libsndfile."""
    return (pcm[at : at + rate] for at in range(0, len(pcm), rate))


def _with_av(
    path: Path, pcm: np.ndarray, rate: int, container: str, codec: str, kbit_s: int = 0, sample_format: str = ""
) -> None:
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo" if pcm.shape[1] == 2 else "mono")
        if kbit_s:
            stream.bit_rate = kbit_s * 1000
        if sample_format:
            stream.codec_context.format = sample_format
        layout = stream.layout.name
        fitting = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        for number, block in enumerate(_seconds(pcm, rate)):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.reshape(1, -1)), "s16", layout)
            frame.sample_rate, frame.pts = rate, number * rate
            for fitted in fitting.resample(frame):
                file.mux(stream.encode(fitted))
        for fitted in fitting.resample(None):
            file.mux(stream.encode(fitted))
        file.mux(stream.encode(None))


def _opus(path: Path, pcm: np.ndarray, rate: int) -> None:
    samples = soxr.resample(pcm.astype(np.float32), rate, OPUS_HZ)
    _with_av(path, np.rint(samples).clip(-32768, 32767).astype(np.int16), OPUS_HZ, "ogg", "libopus", 128)


def _mp3(mode: str, level: float) -> Encode:
    return partial(_with_soundfile, format="MP3", bitrate_mode=mode, compression_level=level)


def _mp3_without_header(path: Path, pcm: np.ndarray, rate: int) -> None:
    """A variable bit rate, and nothing in front that says how long it is."""
    _mp3("VARIABLE", 0.5)(path, pcm, rate)
    data = path.read_bytes()
    first = data.index(FRAME_SYNC)
    size = 144_000 * KBIT_S[data[first + 2] >> 4] // rate + (data[first + 2] >> 1 & 1)
    if XING not in data[first : first + size]:
        raise ValueError(f"{path}: its first frame is no header")
    path.write_bytes(data[first + size :])


CODECS: dict[str, tuple[str, Encode]] = {
    "wav": ("a.wav", partial(_with_soundfile, format="WAV", subtype="PCM_16")),
    "wav 24 bit": ("b.wav", partial(_with_soundfile, format="WAV", subtype="PCM_24")),
    "aiff": ("a.aiff", partial(_with_soundfile, format="AIFF", subtype="PCM_16")),
    "flac": ("a.flac", partial(_with_soundfile, format="FLAC", subtype="PCM_16")),
    "ogg": ("a.ogg", partial(_with_soundfile, format="OGG", subtype="VORBIS")),
    "opus": ("a.opus", _opus),
    "mp3 192": ("cbr192.mp3", _mp3("CONSTANT", 0.4)),
    "mp3 320": ("cbr320.mp3", _mp3("CONSTANT", 0.0)),
    "mp3 vbr": ("vbr.mp3", _mp3("VARIABLE", 0.5)),
    "mp3 vbr bare": ("bare.mp3", _mp3_without_header),
    "aac": ("aac.m4a", partial(_with_av, container="ipod", codec="aac", kbit_s=192)),
    "aac adts": ("adts.aac", partial(_with_av, container="adts", codec="aac", kbit_s=192)),
    "alac": ("alac.m4a", partial(_with_av, container="ipod", codec="alac", sample_format="s16p")),
    "wma": ("a.wma", partial(_with_av, container="asf", codec="wmav2", kbit_s=192)),
    "wavpack": ("a.wv", partial(_with_av, container="wv", codec="wavpack", sample_format="s16p")),
}
