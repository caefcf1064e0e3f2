"""What decoding costs beside librosa, and beside a decoder alone.

Run it with `python -m benchmarks.decoding.codecs [FOLDER] [--long]`.

One composed stereo track of 240 s in each codec; CPU time in ms, of one thread and of the programs that it starts, the
least of repeats that take turns. The columns:
librosa       librosa.load of the whole file, as people call it, with the ffmpeg program that it starts for what
              libsndfile does not open; with a star where there is no such program: PyAV decodes, librosa resamples
call          the fastest decoder for the three regions of 11.4 s: open, seek, read, nothing else
native        genremill beside a GPU: the same seconds as the file has them, which the GPU resamples and cuts
at 22050 ...  genremill beside a CPU: windows of the same seconds, at the rate of a model
musicnn       genremill beside a GPU, what the default model reads: whole windows of 3 s, 9 s of each region
/librosa      how many times less the column before it is than librosa; /call: how many times the call it is
seek error: how far the regions lie from the same reader's decoding of the whole file, in samples at 44.1 kHz, and their
least correlation with it; and how far musicnn's mean of a track lies from that of all of it decoded at its full rate.
FOLDER keeps the files. --also: other tracks of 240 s, such as APE, which no encoder here writes. --long: tracks of 3
hours, without librosa, and the peak memory of a process that reads one; it takes ten minutes to encode them.
"""

import os

os.environ.update({f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")})  # before numpy is there

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import correlate

from benchmarks.decoding import reference_decoders
from benchmarks.decoding.reference_decoders import Call
from genremill.bench.target import machine
from genremill.sample.codecs import CODECS, encode_all
from genremill.sample.long_track import compose_long
from worker.decode.audio_file import AudioFile
from worker.decode.windows import read_windows
from worker.models import checkpoints
from worker.windowing import REGION_S, REGIONS, Windowing

CUTS = [Windowing(rate, int(REGION_S * rate)) for rate in (22_050, 16_000)]  # a region is one window
MUSICNN = Windowing(16_000, 47_872, band_hz=8_000, native=True)
OWN_WAYS = {
    "native": replace(CUTS[0], native=True),
    **{f"at {windowing.sample_rate}": windowing for windowing in CUTS},
    "musicnn": MUSICNN,
}
ROOM = np.empty(1 << 22, np.int16)  # for native regions
SECONDS, LONG_TIMES = 240, 45
LONG_CODECS = ("mp3 192", "flac", "aac")
LAG = 5_000  # frames
RATE = 44_100  # Hz, of seek errors
READ = """
import sys
from pathlib import Path
from worker.windowing import Windowing
from worker.decode.windows import read_windows

def peak_mib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10

before, cut = peak_mib(), Windowing(*map(int, sys.argv[2:]))
for windows in read_windows(sys.argv[1].encode(), cut, 3):
    pass
print(f"{peak_mib()} MiB, of which {before} before the file is opened")
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where the composed files are kept")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--also", type=Path, nargs="+", default=[], metavar="FILE")
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    print(conditions(), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        paths = compose_codecs(folder) | {path.name: path for path in options.also}
        if options.long:
            paths = lengthen(paths["wav"], folder / "3 hours")
        seconds = SECONDS * (LONG_TIMES if options.long else 1)
        spent_ms = measure({name: ways(path, seconds, options.long) for name, path in paths.items()}, options.repeats)
        print_table(spent_ms)
        for name, path in paths.items():
            print(f"{name:13} {peak(path) if options.long else f'{seek_error(path)}; {effect(path)}'}", flush=True)


def compose_codecs(folder: Path) -> dict[str, Path]:
    """One composed track in each codec of genremill.sample.codecs, by its name; what is there already stays."""
    track = folder / f"{SECONDS}s" / "000.wav"
    if not track.exists():
        compose_long(track, 0, SECONDS)
    return encode_all(folder / "codecs" / f"{SECONDS}s", *soundfile.read(track, dtype="int16"))


def conditions() -> str:
    """What the figures are figures of."""
    here = machine("cpu")
    versions = [f"{name} {version(name)}" for name in ("soundfile", "av", "librosa", "soxr", "numpy")]
    libsndfile = f"libsndfile {soundfile.__libsndfile_version__}"
    libraries = [libsndfile, reference_decoders.mpg123_version(), reference_decoders.ffmpeg_version()]
    return f"{here['cpu']}, {here['cores']} cores, Python {here['python']}, {', '.join(versions + libraries)}"


def ways(path: Path, seconds: float, long: bool) -> dict[str, Call]:
    """What is measured of a file, by its name."""
    found = {} if long else dict([reference_decoders.whole(path)])
    found |= reference_decoders.calls(path, reference_decoders.regions(seconds))
    return found | {name: partial(read, path, windowing) for name, windowing in OWN_WAYS.items()}


def read(path: Path, windowing: Windowing) -> None:
    """The windows, to the last; native ones where the cut wants these."""
    blocks = list(read_windows(os.fsencode(path), windowing, REGIONS, ROOM))
    assert sum(len(block.native or block.pcm) for block in blocks) == REGIONS * windowing.region_windows, path
    assert all(bool(block.native) == windowing.native for block in blocks), path


def measure(files: dict[str, dict[str, Call]], repeats: int) -> dict[str, dict[str, float]]:
    """The least CPU ms of each way of each file."""
    spent_ms = {name: dict.fromkeys(calls, float("inf")) for name, calls in files.items()}
    for _ in range(repeats):
        for name, calls in files.items():
            for way, call in calls.items():
                began_s = cpu_s()
                call()
                spent_ms[name][way] = min(spent_ms[name][way], (cpu_s() - began_s) * 1e3)
    return spent_ms


def cpu_s() -> float:
    """CPU time of this process, and of those it started that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def print_table(spent_ms: dict[str, dict[str, float]]) -> None:
    """A line for each file, then all of its decoder calls."""
    heads = "".join(f" {way:>10} {'/librosa':>8} {'/call':>5}" for way in OWN_WAYS)
    print(f"{'':13} {'librosa':>8} {'call':>7}{heads}  every call")
    for name, ms in spent_ms.items():
        whole_way = next((way for way in ms if way.startswith("librosa")), None)
        calls = {way: ms[way] for way in ms if way not in (whole_way, *OWN_WAYS)}
        least = min(calls.values())
        whole = f"{ms[whole_way]:.0f}{whole_way.removeprefix('librosa')}" if whole_way else ""
        cells = ""
        for own in (ms[way] for way in OWN_WAYS):
            faster = f"{ms[whole_way] / own:.1f}" if whole_way else ""
            cells += f" {own:10.1f} {faster:>8} {own / least:5.2f}"
        every = ", ".join(f"{way} {spent:.1f}" for way, spent in sorted(calls.items(), key=lambda call: call[1]))
        print(f"{name:13} {whole:>8} {least:7.1f}{cells}  {every}", flush=True)


def seek_error(path: Path) -> str:
    """The largest of the regions', for each rate."""
    return "; ".join(f"{windowing.sample_rate} Hz: {_seek_error(path, windowing)}" for windowing in CUTS)


def _seek_error(path: Path, windowing: Windowing) -> str:
    with AudioFile(os.fsencode(path), windowing.max_frequency_hz) as track:
        whole, rate, name = np.concatenate(list(track.reader.blocks(0, None))), track.reader.rate, track.reader.name
    found = []
    for start_s, stop_s in reference_decoders.regions(len(whole) / rate):
        start, stop = round(start_s * rate), round(stop_s * rate)
        with AudioFile(os.fsencode(path), windowing.max_frequency_hz) as track:
            part = np.concatenate(list(track.reader.blocks(start, stop)))
        found.append(displacement(part, whole[start - LAG : stop + LAG]))
    frames = max((lag for lag, _ in found), key=abs)
    return f"{name} at {rate} Hz, seek error {frames * RATE / rate:.0f}, correlation {min(c for _, c in found):.6f}"


def effect(path: Path) -> str:
    """What seeking, and half a rate, do to musicnn's probabilities of the track."""
    model = checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu")
    windowing = model.windowing()
    with AudioFile(os.fsencode(path), float("inf")) as track:
        whole, total = (
            np.concatenate(list(track.samples(windowing.sample_rate, 0))),
            track.length(windowing.sample_rate),
        )
    starts = [position.start for positions in windowing.regions(total) for position in positions]
    expected = np.stack([whole[start : start + windowing.window] for start in starts])
    found = np.concatenate([block.pcm for block in read_windows(os.fsencode(path), windowing, len(starts))])
    with torch.inference_mode():
        means = [model.network(torch.from_numpy(windows)).mean(0) for windows in (expected, found.astype("f4") / 32768)]
    return f"musicnn's mean off by {(means[0] - means[1]).abs().max():.4f}"


def displacement(part: np.ndarray, around: np.ndarray) -> tuple[int, float]:
    """How many frames behind its place a part is, LAG frames of which precede it in `around`, and the normalised
    correlation there."""
    part, around = part.astype(float), around.astype(float)
    products = correlate(around, part, mode="valid", method="fft")
    energies = np.cumsum(np.concatenate([[0.0], around**2]))
    energies = energies[len(part) :] - energies[: -len(part)]
    correlation = products / np.sqrt(np.maximum(energies * (part @ part), 1e-12))
    best = int(np.argmax(correlation))
    return best - LAG, float(correlation[best])


def lengthen(track: Path, folder: Path) -> dict[str, Path]:
    """The track over and over, for three hours, in LONG_CODECS."""
    pcm, rate = soundfile.read(track, dtype="int16")
    paths = {name: folder / CODECS[name][0] for name in LONG_CODECS}
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        if not path.exists():
            CODECS[name][1](path, np.tile(pcm, (LONG_TIMES, 1)), rate)
    return paths


def peak(path: Path) -> str:
    """Peak resident memory of a fresh process that reads the regions, for each rate."""
    said = []
    for windowing in CUTS:
        command = [sys.executable, "-c", READ, str(path), str(windowing.sample_rate), str(windowing.window)]
        said.append(
            f"{windowing.sample_rate} Hz: {subprocess.run(command, check=True, capture_output=True, text=True).stdout}"
        )
    return "; ".join(text.strip() for text in said)


if __name__ == "__main__":
    main()
