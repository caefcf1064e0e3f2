"""What does decoding cost for each codec, beside librosa and a bare decoder: python -m benchmarks codecs [FOLDER]

One composed stereo track of 240 s is decoded in each codec. Printed are milliseconds of CPU time, of one thread and of
the programs that it starts: the least of several repeats that take turns. The columns:

librosa       librosa.load of the whole file, as people call it, with the ffmpeg program that it starts for what
              libsndfile does not open; with a star where there is no such program: PyAV decodes, librosa resamples
call          the fastest decoder for the three regions of 11.4 s: open, seek, read, nothing else
native        genremill beside a GPU: the same seconds as the file has them, which the GPU resamples
at 22050 ...  genremill beside a CPU: windows of the same seconds, at the sample rate of a model
musicnn       genremill beside a GPU, what the default model reads: whole windows of 3 s, 9 s of each region
/librosa      how many times less the column before it is than librosa
/call         how many times the call the column before it is

A second table says how exactly the regions are found: how far they lie from the same reader's decoding of the whole
file, in samples at 44.1 kHz, their least correlation with it, and how far musicnn's mean of a track lies from that of
the whole track decoded at its full rate.

With --long: tracks of 3 hours, without librosa, and the peak memory of a process that reads one. Encoding them takes
ten minutes.
"""

import os

from worker.python_process import ONE_THREAD, python_command, python_environment

os.environ.update(ONE_THREAD)  # before numpy is imported

import argparse
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.decoding import reference_decoders, seek_accuracy
from benchmarks.decoding.reference_decoders import Call
from benchmarks.timing import cpu_s
from genremill.bench.target import describe_machine
from genremill.sample.codecs import CODECS, encode_all
from genremill.sample.long_track import write_long_track
from worker.decode.windows import read_windows
from worker.windowing import REGION_S, REGIONS, Windowing

MODEL_RATES = (22_050, 16_000)  # Hz: of the published networks, and of musicnn.
REGION_WINDOWS = [Windowing(rate, int(REGION_S * rate)) for rate in MODEL_RATES]  # A region is one window.
MUSICNN = Windowing(16_000, 47_872, band_hz=8_000, native=True)
OWN_WAYS = {
    "native": replace(REGION_WINDOWS[0], native=True),
    **{f"at {windowing.sample_rate}": windowing for windowing in REGION_WINDOWS},
    "musicnn": MUSICNN,
}
NATIVE_ROOM = np.empty(1 << 22, np.int16)  # Where native regions are written, as into a worker's shared memory.
SECONDS = 240  # Length of a track.
LONG_TIMES = 45  # A long track is this many times the track: 3 hours.
LONG_CODECS = ("mp3 192", "flac", "aac")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("folder", type=Path, nargs="?", help="where the composed files are kept (default: nowhere)")
    parser.add_argument("--repeats", type=int, default=7, help="how often each is measured (default: 7)")
    parser.add_argument(
        "--codecs", nargs="+", choices=CODECS, metavar="CODEC", help=f"only these of: {', '.join(CODECS)}"
    )
    parser.add_argument(
        "--also",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="other tracks of 240 s, such as APE, which nothing here can encode",
    )
    parser.add_argument("--long", action="store_true", help="tracks of 3 hours")


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    print(describe_conditions(), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        track = compose_track(folder)
        paths = encode_long(track, folder, options.codecs) if options.long else encode(track, folder, options.codecs)
        paths |= {path.name: path for path in options.also}
        seconds = SECONDS * (LONG_TIMES if options.long else 1)
        calls = {name: find_calls(path, seconds, options.long) for name, path in paths.items()}
        print_table(measure(calls, options.repeats))
        for name, path in paths.items():
            described = describe_peak_memory(path) if options.long else describe_accuracy(path)
            print(f"{name:13} {described}", flush=True)


def compose_track(folder: Path) -> Path:
    """A composed track as WAV; it is kept in the folder."""
    track = folder / f"{SECONDS}s" / "000.wav"
    if not track.exists():
        write_long_track(track, 0, SECONDS)
    return track


def encode(track: Path, folder: Path, codecs: Collection[str] | None) -> dict[str, Path]:
    """The track in these codecs, or in all of genremill.sample.codecs, by the codec's name. Files are kept."""
    pcm, rate = soundfile.read(track, dtype="int16")
    return encode_all(folder / "codecs" / f"{SECONDS}s", pcm, rate, codecs or CODECS)


def encode_long(track: Path, folder: Path, codecs: Collection[str] | None) -> dict[str, Path]:
    """The track over and over, for three hours, in these codecs, or in LONG_CODECS. Files are kept."""
    pcm, rate = soundfile.read(track, dtype="int16")
    return encode_all(folder / "3 hours", np.tile(pcm, (LONG_TIMES, 1)), rate, codecs or LONG_CODECS)


def describe_conditions() -> str:
    """The processor, and the versions of all libraries that decode, in one line."""
    machine = describe_machine("cpu")
    versions = [f"{name} {version(name)}" for name in ("soundfile", "av", "librosa", "soxr", "numpy")]
    versions += [f"libsndfile {soundfile.__libsndfile_version__}", *reference_decoders.describe_versions()]
    return f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {', '.join(versions)}"


def find_calls(path: Path, seconds: float, long: bool) -> dict[str, Call]:
    """What is measured of a file of this length, by its name."""
    whole = {} if long else dict([reference_decoders.find_librosa_call(path)])
    parts = reference_decoders.find_part_calls(path, reference_decoders.find_regions(seconds))
    return whole | parts | {name: partial(read, path, windowing) for name, windowing in OWN_WAYS.items()}


def read(path: Path, windowing: Windowing) -> None:
    """Read a file's windows, to the last. Raises ValueError where they are not as many or not of the kind expected."""
    blocks = list(read_windows(os.fsencode(path), windowing, REGIONS, NATIVE_ROOM))
    if sum(len(block.native or block.pcm) for block in blocks) != REGIONS * windowing.region_windows:
        raise ValueError(f"{path} did not give {windowing.region_windows} windows in each of {REGIONS} regions")
    if any(bool(block.native) != windowing.native for block in blocks):
        raise ValueError(f"{path} gave {'no ' if windowing.native else ''}native regions")


def measure(files: Mapping[str, Mapping[str, Call]], repeats: int) -> dict[str, dict[str, float]]:
    """The least CPU milliseconds of each call of each file."""
    spent_ms = {name: dict.fromkeys(calls, float("inf")) for name, calls in files.items()}
    for _ in range(repeats):
        for name, calls in files.items():
            for call_name, call in calls.items():
                spent_ms[name][call_name] = min(spent_ms[name][call_name], cpu_s(call) * 1e3)
    return spent_ms


def print_table(spent_ms: Mapping[str, Mapping[str, float]]) -> None:
    """Print a line for each file, which ends with all of its decoder calls."""
    heads = "".join(f" {name:>10} {'/librosa':>8} {'/call':>5}" for name in OWN_WAYS)
    print(f"{'':13} {'librosa':>8} {'call':>7}{heads}  every call")
    for name, ms in spent_ms.items():
        librosa_name = next((call for call in ms if call.startswith("librosa")), None)
        parts = {call: ms[call] for call in ms if call not in (librosa_name, *OWN_WAYS)}
        fastest = min(parts.values())
        librosa = f"{ms[librosa_name]:.0f}{librosa_name.removeprefix('librosa')}" if librosa_name else ""
        cells = ""
        for own in (ms[call] for call in OWN_WAYS):
            times_less = f"{ms[librosa_name] / own:.1f}" if librosa_name else ""
            cells += f" {own:10.1f} {times_less:>8} {own / fastest:5.2f}"
        every = ", ".join(f"{call} {spent:.1f}" for call, spent in sorted(parts.items(), key=lambda item: item[1]))
        print(f"{name:13} {librosa:>8} {fastest:7.1f}{cells}  {every}", flush=True)


def describe_accuracy(path: Path) -> str:
    """How exactly the regions are found at the rate of each model, and what that does to musicnn."""
    errors = [f"{cut.sample_rate} Hz: {seek_accuracy.describe_seek_error(path, cut)}" for cut in REGION_WINDOWS]
    return f"{'; '.join(errors)}; musicnn's mean off by {seek_accuracy.find_mean_error(path):.4f}"


def describe_peak_memory(path: Path) -> str:
    """The peak resident memory of a new process that reads the regions, at the rate of each model."""
    described = []
    for windowing in REGION_WINDOWS:
        arguments = [str(path), str(windowing.sample_rate), str(windowing.window)]
        command = python_command("benchmarks.decoding.peak_memory", *arguments)
        done = subprocess.run(command, env=python_environment(), check=True, capture_output=True, text=True)
        described.append(f"{windowing.sample_rate} Hz: {done.stdout.strip()}")
    return "; ".join(described)
