"""Test audio: tones whose frequency says where in the file one is, and the encoders that write them."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile as sf

# By ending: the format and the subtype of what soundfile writes.
SOUNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# By ending: the container and the codec of what PyAV writes. "oga" and "adpcm" stand for FLAC in Ogg and ADPCM in WAV.
PYAV = {
    "m4a": ("ipod", "aac"),
    "wv": ("wv", "wavpack"),
    "aac": ("adts", "aac"),
    "wma": ("asf", "wmav2"),
    "webm": ("webm", "libopus"),
    "oga": ("ogg", "flac"),
    "adpcm": ("wav", "adpcm_ms"),
}
WMA_CHANNEL_BIT_RATE = 64_000  # Bits a second; FFmpeg's encoder wants to be told.
START_HZ, HZ_PER_S = 200.0, 20.0  # Where a sweep starts, and by how much it climbs in a second.
FFT_PADDING = 8  # Times as many points as samples, so that a peak's frequency is found more finely.


def sweep(seconds: float, rate: int, *, level: float = 0.5) -> np.ndarray:
    """A tone that climbs 20 Hz each second from 200 Hz: float32 (frames,). Its frequency tells the time."""
    t = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * (START_HZ * t + HZ_PER_S / 2 * t * t))).astype(np.float32)


def time_of(window: np.ndarray, rate: int) -> float:
    """Where in a sweep the middle of this window lies, in seconds: from the strongest frequency of half a second."""
    middle = window[len(window) // 2 - rate // 4 :][: rate // 2].astype(float)
    points = FFT_PADDING * len(middle)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), points))
    return (np.argmax(spectrum) * rate / points - START_HZ) / HZ_PER_S


def write(path: Path, samples: np.ndarray, rate: int, *, subtype: str | None = None) -> Path:
    """Encode samples, float (frames,) or (frames, channels), as the ending of `path` says. Returns the path."""
    ending = path.suffix[1:]
    if ending in PYAV:
        _write_with_pyav(path, samples, rate, *PYAV[ending])
    else:
        _write_with_soundfile(path, samples, rate, SOUNDFILE[ending][0], subtype or SOUNDFILE[ending][1])
    return path


def _write_with_soundfile(path: Path, samples: np.ndarray, rate: int, file_format: str, subtype: str) -> None:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with sf.SoundFile(path, "w", rate, channels, subtype, format=file_format) as out:
        for block in _seconds(samples, rate):
            out.write(block)


def _seconds(samples: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    """Blocks of a second: libsndfile's encoders of MP3 and Ogg overflow their stack on long blocks."""
    for start in range(0, len(samples), rate):
        yield samples[start : start + rate]


def _write_with_pyav(path: Path, samples: np.ndarray, rate: int, container: str, codec: str) -> None:
    planes = np.ascontiguousarray(np.atleast_2d(samples.T), dtype=np.float32)
    layout = "mono" if len(planes) == 1 else "stereo"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if codec == "wmav2":
            stream.bit_rate = WMA_CHANNEL_BIT_RATE * len(planes)
        for start in range(0, planes.shape[1], rate):
            frame = av.AudioFrame.from_ndarray(planes[:, start : start + rate].copy(), "fltp", layout)
            frame.sample_rate, frame.pts = rate, start
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
