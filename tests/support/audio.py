"""Test audio: signals whose content says where they are, and real encoders to write them with."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile as sf

SOUNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
PYAV = {
    "m4a": ("ipod", "aac"),
    "wv": ("wv", "wavpack"),
    "aac": ("adts", "aac"),
    "wma": ("asf", "wmav2"),
    "webm": ("webm", "libopus"),
    "oga": ("ogg", "flac"),
    "adpcm": ("wav", "adpcm_ms"),
}
LOWEST_HZ, HZ_PER_S = 200.0, 20.0


def sweep(seconds: float, rate: int, *, level: float = 0.5) -> np.ndarray:
    """A tone that climbs 20 Hz each second from 200 Hz: float32 (frames,). Its frequency tells the time."""
    t = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * (LOWEST_HZ * t + HZ_PER_S / 2 * t * t))).astype(np.float32)


def time_of(window: np.ndarray, rate: int) -> float:
    """Where in a sweep the middle of this window lies, in seconds: from the strongest frequency of half a second."""
    middle = window[len(window) // 2 - rate // 4 :][: rate // 2].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 8 * len(middle)))
    return (np.argmax(spectrum) * rate / (8 * len(middle)) - LOWEST_HZ) / HZ_PER_S


def write(path: Path, samples: np.ndarray, rate: int, *, subtype: str | None = None) -> Path:
    """Encode `samples`, (frames,) or (frames, channels), as the ending of `path` says."""
    kind = path.suffix[1:]
    if kind in PYAV:
        _write_pyav(path, samples, rate, *PYAV[kind])
    else:
        _write_soundfile(path, samples, rate, SOUNDFILE[kind][0], subtype or SOUNDFILE[kind][1])
    return path


def _write_soundfile(path: Path, samples: np.ndarray, rate: int, form: str, subtype: str) -> None:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with sf.SoundFile(path, "w", rate, channels, subtype, format=form) as out:
        for block in _seconds(samples, rate):
            out.write(block)


def _seconds(samples: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), rate):  # libsndfile's MP3 and OGG encoders overflow their stack on long blocks
        yield samples[start : start + rate]


def _write_pyav(path: Path, samples: np.ndarray, rate: int, form: str, codec: str) -> None:
    planes = np.ascontiguousarray(np.atleast_2d(samples.T), dtype=np.float32)
    layout = "mono" if len(planes) == 1 else "stereo"
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if codec == "wmav2":
            stream.bit_rate = 64_000 * len(planes)
        for start in range(0, planes.shape[1], rate):
            frame = av.AudioFrame.from_ndarray(planes[:, start : start + rate].copy(), "fltp", layout)
            frame.sample_rate, frame.pts = rate, start
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
