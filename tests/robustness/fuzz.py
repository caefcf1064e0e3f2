"""10,000 broken files, each of which may cost itself only: python -m tests.robustness.fuzz --files 10000 --seed 0

Whole files of every codec are broken in every way of benchmarks/broken.py and go through the worker's decode children,
which are watched from outside (benchmarks/trial.py). Ends with 1 when something is wrong. Files that show what is wrong
are kept, and so are those that cost a child.
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
from genremill.sample.styles import compose_track
from tests.robustness.harness import COSTS_A_CHILD, Case, Result, run
from tests.robustness.mutations import MUTATIONS, make
from worker.windowing import Windowing

LENGTHS = (("jazz", 3), ("metal", 12), ("orchestra", 40))  # style and seconds
RATE = 44_100
SHOWN = 20  # files of a kind that are named


def main() -> None:
    """Run it, print what came of it."""
    options = parse()
    whole = whole_files(options.folder / "whole")
    if options.seeds:
        whole += sorted(path for path in options.seeds.iterdir() if path.is_file())
    numbers = sorted(set(options.numbers or range(options.files)))
    kept = options.folder / f"kept-{options.seed}"
    shutil.rmtree(kept, ignore_errors=True)
    windowing = Windowing(16_000, 47_872, options.coverage)
    print(f"seed {options.seed}, {len(whole)} whole files, {len(numbers)} broken ones, {options.children} children")
    files = (make(whole, options.seed, number) for number in numbers)
    limits = (options.children, options.deadline_s, options.memory_mib)
    result = run(files, kept, windowing, *limits, keep=bool(options.numbers))
    print(report(result))
    wrongs = result.wrongs()
    print("\n".join(wrongs or ["nothing is wrong"]))
    if kept.exists():
        print(f"files that cost a child, or show what is wrong: {kept}")
    sys.exit(bool(wrongs))


def parse() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--numbers", type=int, nargs="+", help="only these files of the seed, which are kept")
    parser.add_argument("--seeds", type=Path, help="a folder of whole files to break too, say of APE")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "genremill-fuzz"))
    parser.add_argument("--coverage", choices=("regions", "full"), default="regions")
    parser.add_argument("--children", type=int, default=settings.load().usable_cores)
    parser.add_argument("--deadline-s", type=float, default=10.0)
    parser.add_argument("--memory-mib", type=int, default=512)
    options = parser.parse_args()
    if options.seeds and not options.seeds.is_dir():
        parser.error(f"--seeds: {options.seeds} is not a folder")
    return options


def whole_files(folder: Path, lengths: Iterable[tuple[str, float]] = LENGTHS) -> list[Path]:
    """Composed stereo music in every codec, once in each style and length (seconds); what is there is kept."""
    paths = []
    for style, seconds in lengths:
        pcm = np.rint(compose_track(style, seconds, 0, RATE) * 32767).astype(np.int16)
        paths += encode_all(folder / f"{style} {seconds:g} s", pcm, RATE).values()
    return paths


def report(result: Result) -> str:
    """What came of the files, as a page."""
    cases = result.cases
    outcomes = Counter(case.outcome or "never ended" for case in cases)
    lines = [f"{len(cases)} files in {result.seconds:.0f} s: {len(cases) / result.seconds:.1f} files/s", ""]
    lines += table(cases, [outcome for outcome, _ in outcomes.most_common()])
    lines += ["", f"children: {result.children}, died: {result.deaths} ({', '.join(deaths(cases)) or 'none'})"]
    slowest = max(cases, key=lambda case: case.seconds)
    lines += [
        f"private memory of a child: at most {result.private_mib:.0f} MiB of {result.memory_mib}",
        f"longest time for a file: {slowest.seconds:.2f} s ({slowest.path.name}: {slowest.outcome})",
    ]
    for outcome in COSTS_A_CHILD:
        lines += [f"  {case.reason}" for case in cases if case.outcome == outcome][:SHOWN]
    return "\n".join(lines)


def table(cases: Iterable[Case], outcomes: Sequence[str]) -> list[str]:
    """How many files of each mutation ended in which way."""
    counts = Counter((case.mutation, case.outcome or "never ended") for case in cases)
    sums = Counter(outcome for (_, outcome), count in counts.items() for _ in range(count))
    rows = [(mutation, *(counts[mutation, outcome] for outcome in outcomes)) for mutation in MUTATIONS]
    rows = [("", *outcomes), *rows, ("all", *(sums[outcome] for outcome in outcomes))]
    return [f"{name:<16}" + "".join(f"{value or '.':>15}" for value in values) for name, *values in rows]


def deaths(cases: Iterable[Case]) -> list[str]:
    """What files say that a child died of, and how many."""
    costly = [case for case in cases if case.outcome in COSTS_A_CHILD]
    of = Counter(" ".join(re.findall(r"died of it \((.*)\);", case.reason)) or case.outcome for case in costly)
    return [f"{cause} {count}" for cause, count in of.most_common()]


if __name__ == "__main__":
    main()
