"""What a person does at a terminal: runs a command, looks at the database, kills a process."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile

GENREMILL = str(Path(sys.executable).with_name("genremill"))
FLOWER_PORT = "5991"  # Of the runs of a Person; tests that start a Flower beside them use other ports.


@dataclass
class Person:
    """Somebody with a home folder, a data folder in it, and these settings in the environment."""

    home: Path
    settings: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the commands."""
        data = {"GENREMILL_DATA_DIR": str(self.home / "data"), "GENREMILL_FLOWER_PORT": FLOWER_PORT}
        return {**os.environ, **data, **self.settings}

    def start(self, *arguments: str, program: str = GENREMILL, **options) -> subprocess.Popen:
        """Start a command in the home folder, and do not wait for it. `options` are those of Popen."""
        defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": self.home}
        return subprocess.Popen([program, *arguments], env=self.environment, **{**defaults, **options})

    def run(self, *arguments: str, program: str = GENREMILL, code: int = 0, timeout_s: float = 100) -> str:
        """Run a command that has to end with this exit code.

        Returns what it printed on stdout, and after it, unless the exit code is 0, what it printed on stderr.
        """
        process = self.start(*arguments, program=program)
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        return out if code == 0 else out + err

    def read_json(self, *arguments: str) -> dict | list:
        """Run a command with --json, and return what it printed."""
        return json.loads(self.run(*arguments, "--json"))

    def analyse(self, *arguments: str) -> dict[str, int]:
        """Run `genremill run` with these arguments, and return the run's counts."""
        return self.read_json("run", *arguments)["run"]["counts"]

    def query(self, sql: str) -> list[tuple]:
        """The rows that the SQLite database gives for a query; none where there is no database yet."""
        path = self.home / "data" / "genremill.db"
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
                return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []

    def count_done(self) -> int:
        """The number of tracks that are done so far."""
        rows = self.query("SELECT count(*) FROM prediction WHERE status = 'done'")
        return rows[0][0] if rows else 0


def find_processes_below(parent: subprocess.Popen, part: str) -> list[psutil.Process]:
    """The processes below this one, at any depth, that have this text in their command line."""
    found = []
    for process in psutil.Process(parent.pid).children(recursive=True):
        try:
            if part in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:  # It has ended in the meantime.
            continue
    return found


def write_noises(root: Path, count: int, seconds: float = 10.0) -> None:
    """Write a library of tracks of noise, no two of which are equal."""
    root.mkdir()
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, 3000, int(seconds * 16_000)).astype(np.int16)
        soundfile.write(root / f"{seed:04}.wav", noise, 16_000)
