"""Thousands of broken files, each of which may cost itself only: python -m tests.robustness.fuzz --files 10000 --seed 0

Intact files of every codec are broken in every way of tests/robustness/mutations.py. They go through the worker's
decode processes, which tests/robustness/harness.py watches from outside. The exit status is 1 when something is wrong.
Files that show a problem are kept, and so are those that cost a decode process. 10,000 files take one to two minutes on
two cores.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

import settings
from genremill.sample.codecs import encode_all
from genremill.sample.compose import compose_track
from tests.robustness.harness import COSTS_A_PROCESS, Case, Result, decode_broken_files
from tests.robustness.mutations import MUTATIONS, break_file
from worker.windowing import Windowing

STYLES_AND_SECONDS = (("jazz", 3), ("metal", 12), ("orchestra", 40))  # The music in the intact files.
SAMPLE_RATE = 44_100  # Hz
MODEL_RATE, MODEL_WINDOW = 16_000, 47_872  # Of the model musicnn: Hz, and samples in a window.
MAX_SHOWN = 20  # How many files of each kind are named.
NEVER_ENDED = "never ended"


def main() -> None:
    """Break the files, decode them, and print what came of them."""
    options = parse()
    intact = write_intact_files(options.folder / "whole")
    if options.seeds:
        intact += sorted(path for path in options.seeds.iterdir() if path.is_file())
    numbers = sorted(set(options.numbers or range(options.files)))
    keep_folder = options.folder / f"kept-{options.seed}"
    shutil.rmtree(keep_folder, ignore_errors=True)
    print(f"seed {options.seed}, {len(intact)} intact files, {len(numbers)} broken ones, {options.processes} processes")
    result = decode_broken_files(
        (break_file(intact, options.seed, number) for number in numbers),
        keep_folder,
        Windowing(MODEL_RATE, MODEL_WINDOW, options.coverage),
        options.processes,
        options.deadline_s,
        options.memory_mib,
        keep_all=bool(options.numbers),
    )
    problems = result.problems()
    print(report(result))
    print("\n".join(problems or ["nothing is wrong"]))
    if keep_folder.exists():
        print(f"files that cost a process, or show a problem: {keep_folder}")
    sys.exit(bool(problems))


def parse() -> argparse.Namespace:
    """The options that were typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="another one breaks files differently (default: 0)")
    parser.add_argument("--numbers", type=int, nargs="+", help="only these files of the seed, all of which are kept")
    parser.add_argument("--seeds", type=Path, help="a folder of further intact files to break, of APE for instance")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir(), "genremill-fuzz"),
        help="where intact files are stored and broken ones are kept",
    )
    parser.add_argument("--coverage", choices=("regions", "full"), default="regions")
    parser.add_argument("--processes", type=int, default=settings.load().usable_cores, help="decode processes")
    parser.add_argument("--deadline-s", type=float, default=10.0, help="longest wait for one block of a file's audio")
    parser.add_argument("--memory-mib", type=int, default=512, help="memory limit of a decode process")
    options = parser.parse_args()
    if options.seeds and not options.seeds.is_dir():
        parser.error(f"--seeds: {options.seeds} is not a folder")
    return options


def write_intact_files(
    folder: Path, styles_and_seconds: Iterable[tuple[str, float]] = STYLES_AND_SECONDS
) -> list[Path]:
    """Composed stereo music in every codec, for each style and length. Files that are there are kept."""
    paths: list[Path] = []
    for style, seconds in styles_and_seconds:
        pcm = np.rint(compose_track(style, seconds, 0, SAMPLE_RATE) * 32767).astype(np.int16)
        paths += encode_all(folder / f"{style} {seconds:g} s", pcm, SAMPLE_RATE).values()
    return paths


def report(result: Result) -> str:
    """What came of the files, as a page."""
    cases = result.cases
    outcomes = Counter(case.outcome or NEVER_ENDED for case in cases)
    lines = [f"{len(cases)} files in {result.seconds:.0f} s: {len(cases) / result.seconds:.1f} files/s", ""]
    lines += format_table(cases, [outcome for outcome, _ in outcomes.most_common()])
    deaths = ", ".join(describe_deaths(cases)) or "none"
    lines += ["", f"decode processes: {result.processes}, died: {result.deaths} ({deaths})"]
    slowest = max(cases, key=lambda case: case.seconds)
    lines += [
        f"private memory of a process: at most {result.private_mib:.0f} MiB of {result.memory_mib}",
        f"longest time for a file: {slowest.seconds:.2f} s ({slowest.path.name}: {slowest.outcome})",
    ]
    for outcome in COSTS_A_PROCESS:
        lines += [f"  {case.reason}" for case in cases if case.outcome == outcome][:MAX_SHOWN]
    return "\n".join(lines)


def format_table(cases: Sequence[Case], outcomes: Sequence[str]) -> list[str]:
    """How many files of each mutation ended in which way: a line for each mutation, and one for all."""
    counts = Counter((case.mutation, case.outcome or NEVER_ENDED) for case in cases)
    sums = Counter(case.outcome or NEVER_ENDED for case in cases)
    rows = [(mutation, *(counts[mutation, outcome] for outcome in outcomes)) for mutation in MUTATIONS]
    rows = [("", *outcomes), *rows, ("all", *(sums[outcome] for outcome in outcomes))]
    return [f"{name:<16}" + "".join(f"{value or '.':>15}" for value in values) for name, *values in rows]


def describe_deaths(cases: Iterable[Case]) -> list[str]:
    """What the decode processes died of, and how many of each."""
    costly = [case for case in cases if case.outcome in COSTS_A_PROCESS]
    causes = Counter(" ".join(re.findall(r"died of it \((.*)\);", case.reason)) or case.outcome for case in costly)
    return [f"{cause} {count}" for cause, count in causes.most_common()]


if __name__ == "__main__":
    main()
