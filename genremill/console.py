"""What the commands print: tables, progress, JSON, and errors as one line with an exit code.

Exit codes: 0 done (tracks that failed are part of a result); 1 something is wrong with genremill itself;
2 something is wrong with the call, a setting or a service; 130 interrupted.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from db.paths import path_text
from settings import GenremillError

if TYPE_CHECKING:
    from db.runs import Counts

USER_ERROR = 2
INTERRUPTED = 130
PLAIN_EVERY_S = 5.0  # between two lines of progress where the output is not a terminal

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def guarded(command: Callable[[], Any]) -> int:
    """Run the command; what a person can put right becomes one line. Returns the exit code."""
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
    except BrokenPipeError:  # `genremill results | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _say_interrupted() -> None:
    print("genremill: interrupted; the same command goes on where it was", file=sys.stderr)


def printable(value: Any) -> str:
    """Text for a terminal: no control characters, paths as they stand in the database."""
    text = path_text(value) if isinstance(value, bytes) else "" if value is None else str(value)
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def print_json(value: Any) -> None:
    """For scripts."""
    print(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return path_text(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value)}")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """A table; numbers stand right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    out.print(table)


def balance(counts: "Counts") -> str:
    """The counts in one line: everything found is somewhere."""
    ends = ("done", "skipped", "duplicate", "failed", "quarantined", "handed_over", "pending", "queued", "running")
    always = ("done", "skipped", "duplicate", "failed")
    parts = [f"{getattr(counts, name)} {name}" for name in ends if name in always or getattr(counts, name)]
    return f"{counts.found} found = {' + '.join(parts)}"


class ProgressLine:
    """A run's progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self):
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=err,
            transient=True,
        )
        self._task = None
        self._first: tuple[float, int] | None = None
        self._next_line = 0.0

    def __enter__(self) -> "ProgressLine":
        if err.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_exc) -> None:
        if err.is_terminal:
            self._bar.stop()

    def say(self, message: str) -> None:
        """A line that stays."""
        (self._bar.console if err.is_terminal else err).print(escape(message))

    def scanned(self, seen: int) -> None:
        """While folders are read."""
        self._show("scanning", None, seen, f"{seen} files")

    def moved(self, counts: "Counts") -> None:
        """While tracks are analysed."""
        wanted = counts.found - counts.skipped - counts.handed_over
        ended = wanted - counts.open
        self._show("analysing", wanted, ended, self._rate(ended, counts.open))

    def _rate(self, ended: int, left: int) -> str:
        moment = time.monotonic()
        if self._first is None or not ended:
            self._first = (moment, ended)
        began, before = self._first
        if ended == before:
            return "waiting for the worker" if not ended else ""
        per_s = (ended - before) / (moment - began)
        return f"{per_s:.1f} tracks/s, {left / per_s:.0f} s left"

    def _show(self, what: str, total: int | None, done: int, rate: str) -> None:
        if err.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task(what, rate="")
            self._bar.update(self._task, description=what, total=total, completed=done, rate=rate)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_EVERY_S
            err.print(f"{what}: {rate}" if total is None else f"{what}: {done}/{total} {rate}")


def say(message: str) -> None:
    """A line on stderr, for whoever waits."""
    err.print(message, soft_wrap=True, markup=False)
