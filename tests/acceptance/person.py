"""What a person does at a terminal: types a command, looks at the database, kills a process."""

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


@dataclass
class Person:
    """Someone with a data folder of their own and these settings."""

    home: Path
    settings: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """What the commands see."""
        data = {"GENREMILL_DATA_DIR": str(self.home / "data"), "GENREMILL_FLOWER_PORT": "5991"}
        return {**os.environ, **data, **self.settings}

    def start(self, *words: str, program: str = GENREMILL, **options) -> subprocess.Popen:
        """Type a command and do not wait for it."""
        defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": self.home}
        return subprocess.Popen([program, *words], env=self.environment, **{**defaults, **options})

    def types(self, *words: str, program: str = GENREMILL, code: int = 0, timeout_s: float = 100) -> str:
        """Type a command that ends with this exit code. Returns what it printed, errors last."""
        process = self.start(*words, program=program)
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        return out if code == 0 else out + err

    def reads(self, *words: str) -> dict | list:
        """Type a command with --json."""
        return json.loads(self.types(*words, "--json"))

    def counts(self, *words: str) -> dict:
        """The counts of `genremill run ... --json`."""
        return self.reads("run", *words)["run"]["counts"]

    def queries(self, sql: str) -> list[tuple]:
        """Ask the SQLite file, as sqlite3 would; nothing where there is none yet."""
        path = self.home / "data" / "genremill.db"
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
                return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []

    def done(self) -> int:
        """Tracks done so far."""
        rows = self.queries("SELECT count(*) FROM prediction WHERE status = 'done'")
        return rows[0][0] if rows else 0


def processes_below(parent: subprocess.Popen, part: str) -> list[psutil.Process]:
    """The processes that the command started, directly or not, with this in their command line."""
    found = []
    for process in psutil.Process(parent.pid).children(recursive=True):
        try:
            if part in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def write_noises(root: Path, count: int, seconds: float = 10.0) -> None:
    """A library of short tracks of which no two are equal."""
    root.mkdir()
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, 3000, int(seconds * 16_000)).astype(np.int16)
        soundfile.write(root / f"{seed:04}.wav", noise, 16_000)
