"""Reading audio files back, as tests of several modules want it."""

from pathlib import Path

import av
import mutagen
import numpy as np
import soundfile


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """The samples of a file, float32 (n, channels), and its sample rate."""
    return read_with_pyav(path) if path.suffix == ".m4a" else read_with_soundfile(path)


def read_with_soundfile(path: Path) -> tuple[np.ndarray, int]:
    """What read_audio returns, decoded by libsndfile."""
    with soundfile.SoundFile(path) as file:
        return file.read(dtype="float32", always_2d=True), file.samplerate


def read_with_pyav(path: Path) -> tuple[np.ndarray, int]:
    """What read_audio returns, decoded by FFmpeg."""
    resampler = av.AudioResampler(format="fltp")
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].rate
        frames = [out.to_ndarray() for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(frames, axis=1).T, rate


def read_tags(path: Path) -> dict[str, str]:
    """Title, artist, album and genre of a file as mutagen reads them."""
    file = mutagen.File(path, easy=True)
    frames = {"title": "TIT2", "artist": "TPE1", "album": "TALB", "genre": "TCON"}
    names = frames if path.suffix == ".wav" else {name: name for name in frames}
    return {name: str(file.tags[key][0]) for name, key in names.items()}
