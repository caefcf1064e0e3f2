"""The parts of the one-machine stack: its lock, its ports, its Redis, and what happens when a process dies."""

import socket
import subprocess
import sys
from contextlib import closing

import pytest

from genremill import local_stack
from genremill.local_stack import Stack, free_port, locked, start_redis
from settings import GenremillError, Settings
from tests.conftest import wait_until
from worker.exit_codes import SETUP_EXIT_CODE
from worker.gpu.devices import Device
from worker.supervisor import WorkerProcess


def lock(folder) -> None:
    """Lock a data folder, and unlock it again."""
    with locked(folder):
        pass


def test_a_data_folder_is_locked_once_and_free_afterwards(tmp_path):
    folder = tmp_path / "data"
    with locked(folder), pytest.raises(GenremillError, match=r"another `genremill run` \(process \d+\)"):
        lock(folder)
    lock(folder)


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(GenremillError, match="GENREMILL_DATA_DIR"):
        lock(tmp_path / "file")


def test_the_preferred_port_is_taken_if_it_is_free():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert free_port("127.0.0.1", port) not in (0, port)
    assert free_port("127.0.0.1", port) == port


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(GenremillError, match="GENREMILL_FLOWER_ADDRESS"):
        free_port("192.0.2.1", 0)


def test_redis_answers_when_it_has_started_and_a_folder_that_is_not_there_is_an_error(tmp_path, processes):
    redis = start_redis(tmp_path / "redis.sock", tmp_path / "redis.log")
    processes.append(redis)
    assert redis.poll() is None
    with pytest.raises(GenremillError, match=r"does not start: see .*redis\.log"):
        start_redis(tmp_path / "missing" / "redis.sock", tmp_path / "redis.log")


@pytest.fixture
def said():
    """The messages of the stack."""
    return []


@pytest.fixture
def stack(tmp_path, processes, said):
    """A stack without Redis and workers, and with a process that sleeps in the place of Flower. Its logs: tmp_path."""
    stack = Stack(Settings(data_dir=tmp_path, device="cpu"), 5555, tmp_path, said.append)
    stack.flower = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    processes.append(stack.flower)
    return stack


def test_a_redis_that_died_is_started_again_and_what_it_held_is_queued_again(stack, said, tmp_path, processes):
    stack.redis = start_redis(tmp_path / "redis.sock", tmp_path / "redis.log")
    dead = stack.redis
    dead.kill()
    dead.wait()
    requeued = []
    stack.poll(requeued.append)
    processes.append(stack.redis)
    assert stack.redis is not dead
    assert stack.redis.poll() is None
    assert requeued == [[]]
    assert said == ["Redis died: starting it again"]
    stack.poll(requeued.append)
    assert requeued == [[]]


def make_worker(*exit_codes: int) -> WorkerProcess:
    """A worker whose first process ends with the first exit code, and so on. Each has ended when it is looked at."""
    codes = iter(exit_codes)

    def start(device, log_level, output) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({next(codes)})"])
        process.wait()
        return process

    return WorkerProcess(Device("cpu@host", "cpu", ""), "INFO", start=start)


def test_what_a_worker_held_is_queued_again_when_it_died(stack, said):
    stack.workers = [make_worker(70)]
    requeued = []
    stack.poll(requeued.append)  # This starts the worker.
    assert requeued == []
    stack.poll(requeued.append)
    assert requeued == [["cpu@host"]]
    assert said[0].startswith("the worker cpu@host died: starting it again (see ")
    stack.poll(requeued.append)
    assert requeued == [["cpu@host"]]


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("starting\ngenremill: there is no model 'tiny'\n", r"^the worker cannot start: there is no model 'tiny'$"),
        ("", r"^the worker cannot start: it said nothing$"),
    ],
)
def test_a_worker_that_cannot_work_here_ends_the_stack_with_its_last_line(stack, tmp_path, log, message):
    (tmp_path / "worker.log").write_text(log)
    stack.workers = [make_worker(SETUP_EXIT_CODE)]
    stack.poll(lambda nodes: None)
    with pytest.raises(GenremillError, match=message):
        stack.poll(lambda nodes: None)


def test_flower_is_started_again_when_it_died(stack, processes):
    dead = stack.flower
    dead.kill()
    dead.wait()
    stack.poll(lambda nodes: None)
    processes.append(stack.flower)
    assert stack.flower is not dead
    assert stack.flower.poll() is None


def test_stopping_ends_every_process(stack, tmp_path):
    stack.redis = start_redis(tmp_path / "redis.sock", tmp_path / "redis.log")
    redis, flower = stack.redis, stack.flower
    stack.stop()
    assert wait_until(lambda: redis.poll() is not None and flower.poll() is not None)


def test_the_redis_server_of_this_environment_is_found():
    assert local_stack.find_redis_server().name == "redis-server"
