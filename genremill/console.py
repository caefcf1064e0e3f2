"""What the commands print: tables, progress, JSON, and errors as one line with an exit code.

Exit codes:
0    the command did its work; tracks that failed are part of the result
1    something is wrong with genremill itself
2    something is wrong with the call, a setting or a service, which a person can put right
130  interrupted
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from db.paths import path_text
from settings import GenremillError

if TYPE_CHECKING:
    from db.runs import Counts

USER_ERROR = 2
INTERRUPTED = 130
PROGRESS_LINE_INTERVAL_S = 5.0  # Seconds between two lines of progress where the output is not a terminal.
OUTCOMES_ALWAYS_SHOWN = ("done", "skipped", "duplicate", "failed")
OUTCOMES_SHOWN_IF_ANY = ("quarantined", "handed_over", "pending", "queued", "running")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def guarded(command: Callable[[], object]) -> int:
    """Run a command and return its exit code. An error that a person can put right is printed as one line."""
    exit_code = 0
    try:
        exit_code = _run(command)
        sys.stdout.flush()
    except BrokenPipeError:  # The reader went away, as in `genremill results | head`.
        # Python writes what is left in its buffer when it exits. That must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exit_code


def _run(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _say_interrupted()
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except GenremillError as error:
        print(f"genremill: {printable(str(error))}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        _say_interrupted()
        return INTERRUPTED
    return 0


def _say_interrupted() -> None:
    print("genremill: interrupted; the same command goes on where it was", file=sys.stderr)


def printable(value: object) -> str:
    """A value as text for a terminal, without control characters. Bytes are a path, written as in the database."""
    text = path_text(value) if isinstance(value, bytes) else "" if value is None else str(value)
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def print_json(value: object) -> None:
    """Print a value as JSON, for scripts. It may hold dataclasses, times, and paths as bytes."""
    print(json.dumps(value, default=_to_json, ensure_ascii=False, indent=2))


def _to_json(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return path_text(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value)}")


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()
) -> None:
    """Print a table on stdout. The columns that `right` names are aligned on the right, which suits numbers."""
    if title:
        out.print(printable(title), style="bold", markup=False, soft_wrap=True)
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    out.print(table)


def split_folder(paths: Sequence[str]) -> tuple[str, list[str]]:
    """The folder that all of these files have in common, and their paths below it. In a table it is said once."""
    folder = os.path.commonpath([Path(path).parent for path in paths]) if paths else ""
    prefix = folder.rstrip("/") + "/"
    return folder, [path.removeprefix(prefix) for path in paths]


def say(message: str) -> None:
    """Print a line on stderr, where it does not mix with results."""
    err.print(message, soft_wrap=True, markup=False)


def format_counts(counts: "Counts") -> str:
    """A run's counts as a sum in one line, so that a reader sees where every track that was found went."""
    parts = [f"{getattr(counts, name)} {name}" for name in OUTCOMES_ALWAYS_SHOWN]
    parts += [f"{getattr(counts, name)} {name}" for name in OUTCOMES_SHOWN_IF_ANY if getattr(counts, name)]
    return f"{counts.found} found = {' + '.join(parts)}"


class ProgressLine:
    """A run's progress on stderr: a bar in a terminal; elsewhere a line every PROGRESS_LINE_INTERVAL_S.

    Use it as a context manager, so that the bar is removed in the end.
    """

    def __init__(self, console: Console = err, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._bar_task: TaskID | None = None
        self._rate_start: tuple[float, int] | None = None  # A time, and the tracks that had ended by then.
        self._next_line_at = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self._console.print(message, soft_wrap=True, markup=False)

    def show_scan(self, files: int) -> None:
        """Show how many files of a library were looked at so far."""
        self._show("scanning", None, files, f"{files} files")

    def show_counts(self, counts: "Counts") -> None:
        """Show how many tracks of a run have an outcome, how fast that goes, and how long it will take."""
        to_analyse = counts.found - counts.skipped - counts.handed_over
        ended = to_analyse - counts.open
        self._show("analysing", to_analyse, ended, self._describe_rate(ended, counts.open))

    def _describe_rate(self, ended: int, left: int) -> str:
        """The rate since the work began, or since this command took up a run that others had begun."""
        current = self._clock()
        if self._rate_start is None or not ended:
            self._rate_start = (current, ended)
        start, ended_at_start = self._rate_start
        if ended == ended_at_start:
            return "" if ended else "waiting for the worker"
        per_s = (ended - ended_at_start) / (current - start)
        return f"{per_s:.1f} tracks/s, {left / per_s:.0f} s left"

    def _show(self, stage: str, total: int | None, completed: int, note: str) -> None:
        if self._console.is_terminal:
            if self._bar_task is None:
                self._bar_task = self._bar.add_task(stage, note="")
            self._bar.update(self._bar_task, description=stage, total=total, completed=completed, note=note)
        elif self._clock() >= self._next_line_at:
            self._next_line_at = self._clock() + PROGRESS_LINE_INTERVAL_S
            self._console.print(f"{stage}: {note}" if total is None else f"{stage}: {completed}/{total} {note}")
