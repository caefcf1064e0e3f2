"""What the commands print: progress in a terminal and in a pipe, text for a terminal, JSON, and exit codes."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from db.runs import Counts
from genremill import console
from genremill.console import PROGRESS_LINE_INTERVAL_S, ProgressLine
from settings import GenremillError
from tests.support.paths import ROOT


def make_counts(**counts: int) -> Counts:
    """Counts of a run; those that are not named are 0."""
    names = ("found", "skipped", "handed_over", "pending", "queued", "running")
    names += ("done", "failed", "quarantined", "duplicate")
    return Counts(**{name: counts.get(name, 0) for name in names})


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class TestProgressInAPipe:
    """Where the output is not a terminal, there is a line now and then."""

    @pytest.fixture(autouse=True)
    def _progress(self):
        self.output, self.clock = StringIO(), Clock()
        self.progress = ProgressLine(Console(file=self.output, width=80), self.clock)

    def lines(self) -> list[str]:
        """The lines that were printed since the last call."""
        printed = self.output.getvalue().splitlines()
        self.output.seek(0)
        self.output.truncate()
        return printed

    def show_after(self, seconds: float, **counts: int) -> list[str]:
        """What is printed for these counts when so much time has passed."""
        self.clock.now_s += seconds
        self.progress.show_counts(make_counts(**counts))
        return self.lines()

    def test_a_scan_says_how_many_files_were_seen(self):
        self.progress.show_scan(1234)
        assert self.lines() == ["scanning: 1234 files"]

    def test_a_line_is_printed_at_once_and_then_in_intervals(self):
        self.progress.show_scan(1)
        self.clock.now_s += PROGRESS_LINE_INTERVAL_S - 0.1
        self.progress.show_scan(2)
        self.clock.now_s += 0.1
        self.progress.show_scan(3)
        assert self.lines() == ["scanning: 1 files", "scanning: 3 files"]

    def test_nothing_done_yet_means_waiting_for_the_worker(self):
        assert self.show_after(0, found=10, queued=10) == ["analysing: 0/10 waiting for the worker"]

    def test_the_rate_counts_from_the_last_look_at_which_nothing_had_ended(self):
        self.show_after(0, found=100, queued=100)
        self.show_after(60, found=100, queued=100)
        assert self.show_after(10, found=100, queued=60, done=40) == ["analysing: 40/100 4.0 tracks/s, 15 s left"]
        assert self.show_after(10, found=100, queued=40, done=60) == ["analysing: 60/100 3.0 tracks/s, 13 s left"]

    def test_the_rate_of_a_run_that_is_taken_up_counts_what_ends_from_now_on(self):
        assert self.show_after(0, found=100, running=50, done=50) == ["analysing: 50/100 "]
        assert self.show_after(10, found=100, running=40, done=60) == ["analysing: 60/100 1.0 tracks/s, 40 s left"]

    def test_tracks_that_need_no_analysis_are_left_out(self):
        shown = self.show_after(0, found=100, skipped=60, handed_over=10, failed=1, duplicate=2, pending=27)
        assert shown == ["analysing: 3/30 "]

    def test_a_message_is_one_line_and_its_brackets_are_no_markup(self):
        message = "the worker [bold]cpu@host[/bold] died: starting it again " + 80 * "x"
        self.progress.say(message)
        assert self.lines() == [message]

    def test_the_bar_is_not_drawn(self):
        with self.progress:
            self.show_after(0, found=2, done=1, queued=1)
        assert self.lines() == []


class TestProgressInATerminal:
    """In a terminal, there is a bar that is gone in the end, and messages that stay."""

    def test_the_bar_shows_counts_and_is_removed_and_messages_stay(self):
        output = StringIO()
        terminal = Console(file=output, force_terminal=True, width=100, color_system=None)
        with ProgressLine(terminal, Clock()) as progress:
            progress.show_scan(7)
            progress.say("no GPU: one worker on the CPU")
            progress.show_counts(make_counts(found=30, queued=20, done=10))
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue())
        assert "no GPU: one worker on the CPU\n" in text
        assert "analysing" in text
        assert "10/30" in text
        assert output.getvalue().rstrip().endswith("\x1b[2K")  # The line of the bar is erased in the end.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Sigur Rós – ()", "Sigur Rós – ()"),
        ("red \x1b[31m", "red \\x1b[31m"),
        ("two\nlines", "two\\x0alines"),
        (b"/music/caf\xe9", "/music/caf\\xe9"),
        (b"/music/back\\slash", "/music/back\\\\slash"),
        ("\udce9", "\\xdce9"),
        (None, ""),
        (0, "0"),
        ("", ""),
    ],
)
def test_what_is_printed_cannot_steer_a_terminal(value, text):
    assert console.printable(value) == text


def test_counts_are_a_sum_and_leave_out_rare_outcomes_that_are_zero():
    assert console.format_counts(make_counts(found=4, done=3, failed=1)) == (
        "4 found = 3 done + 0 skipped + 0 duplicate + 1 failed"
    )
    counts = make_counts(found=15, done=1, quarantined=2, handed_over=3, pending=4, queued=5)
    assert console.format_counts(counts) == (
        "15 found = 1 done + 0 skipped + 0 duplicate + 0 failed + 2 quarantined + 3 handed_over + 4 pending + 5 queued"
    )


def test_a_table_aligns_the_columns_on_the_right_that_are_named(capsys):
    console.print_table("", ("name", "size"), [("a", 1), ("[bold]b[/bold]", 1000)], right=("size",))
    assert capsys.readouterr().out.splitlines() == [
        "name            size",
        "a                  1",
        "[bold]b[/bold]  1000",
    ]


def test_json_has_dataclasses_times_and_paths(capsys):
    @dataclass
    class Row:
        path: bytes
        at: datetime

    console.print_json({"rows": [Row(b"/caf\xe9", datetime(2024, 5, 1, tzinfo=UTC))], "title": "Nachtstücke"})
    printed = capsys.readouterr().out
    assert "Nachtstücke" in printed
    assert json.loads(printed) == {
        "rows": [{"path": "/caf\\xe9", "at": "2024-05-01T00:00:00+00:00"}],
        "title": "Nachtstücke",
    }


def test_json_of_anything_else_is_an_error():
    with pytest.raises(TypeError, match="object"):
        console.print_json(object())


def stop(code: object):
    def command() -> None:
        raise SystemExit(code)

    return command


@pytest.mark.parametrize(("code", "exit_code"), [(None, 0), (0, 0), (1, 1), (2, 2), (70, 70), ("message", 1)])
def test_the_exit_code_is_the_one_that_the_command_ends_with(code, exit_code, capsys):
    assert console.guarded(stop(code)) == exit_code
    assert capsys.readouterr().err == ""


def test_a_command_that_returns_has_exit_code_0():
    assert console.guarded(lambda: "whatever") == 0


def raise_error(error: BaseException):
    def command() -> None:
        raise error

    return command


def test_what_a_person_can_put_right_is_one_line_and_exit_code_2(capsys):
    assert console.guarded(raise_error(GenremillError("no folder\n\x1b[31m: name one"))) == 2
    captured = capsys.readouterr()
    assert captured.err == "genremill: no folder\\x0a\\x1b[31m: name one\n"
    assert captured.out == ""


@pytest.mark.parametrize("command", [raise_error(KeyboardInterrupt()), stop(130)])
def test_an_interrupt_says_how_to_go_on_and_has_exit_code_130(command, capsys):
    assert console.guarded(command) == 130
    assert capsys.readouterr().err == "genremill: interrupted; the same command goes on where it was\n"


def test_an_error_of_genremill_itself_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        console.guarded(lambda: 1 / 0)


@pytest.mark.parametrize("lines", [1, 99_999])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(lines, unbuffered):
    write = f"input(), [print('some text') for _ in range({lines})]"
    process = subprocess.Popen(
        [sys.executable, "-c", f"from genremill import console; exit(console.guarded(lambda: [{write}]))"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    _, err = process.communicate(b"The reader is gone. Write now.\n", timeout=30)
    assert (process.returncode, err) == (0, b"")
