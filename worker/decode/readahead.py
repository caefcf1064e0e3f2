"""Reading ahead: what a decode child will need of a file is asked of the system while other files are decoded, so that
slow storage is waited for by many files at once. The page cache holds it, and gives it up where memory is short."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from queue import SimpleQueue

from worker.python_process import python_command, python_environment
from worker.windowing import REGIONS

MESSAGE_BYTES = 1 << 16
HEAD_BYTES = 256 << 10  # header, tags, the first region's way there
TAIL_BYTES = 64 << 10  # where some containers keep their index, and Ogg its length
REGION_SHARE = 0.06  # of a file: 14 s of 4 minutes
MOST_REGION_BYTES = 2 << 20
STEP_BYTES = 128 << 10  # Linux takes up no more than that of one call
WHOLE_BYTES = 4 << 20  # of a file that is read from its beginning on: the system goes on by itself


class ReadAhead:
    """A process that asks for so many files at a time, each in a thread, which slow storage may hold up: threads of the
    worker would take the interpreter from those that feed its children. It ends with this process."""

    def __init__(self, files: int):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = python_command("worker.decode.readahead", str(theirs.fileno()), str(files))
            nothing = subprocess.DEVNULL
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=python_environment(), stdin=nothing, stdout=nothing
            )

    def ask(self, path: bytes, coverage: str) -> None:
        """Ask for what this coverage reads of a file. Whatever is wrong with the file, its child will say; where too
        many are asked for already, or the process is gone, nothing is."""
        with contextlib.suppress(OSError):
            self._socket.send(f"{coverage}\0".encode() + path, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Ask for nothing more."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def main(arguments: list[str]) -> int:
    """Serve the parent until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        control, files = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    except (IndexError, ValueError, OSError):
        print("worker.decode.readahead is started by the worker; run `genremill worker` instead", file=sys.stderr)
        return 2
    orders: SimpleQueue[bytes] = SimpleQueue()
    for _ in range(files):
        threading.Thread(target=_work, args=(orders,), daemon=True).start()
    while order := control.recv(MESSAGE_BYTES):
        orders.put(order)
    os._exit(0)  # without those that wait for storage


def _work(orders: SimpleQueue[bytes]) -> None:
    while True:
        coverage, _, path = orders.get().partition(b"\0")
        with contextlib.suppress(OSError, ValueError):
            _ask(path, coverage.decode())


def _ask(path: bytes, coverage: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        for start, length in spans(os.fstat(fd).st_size, coverage):
            if not _is_here(fd, start + length - 1):
                for at in range(start - start % STEP_BYTES, start + length, STEP_BYTES):
                    os.posix_fadvise(fd, at, STEP_BYTES, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(fd)


def _is_here(fd: int, at: int) -> bool:
    """Whether the system has the byte in memory; False where it does not say."""
    try:
        return bool(os.preadv(fd, [bytearray(1)], at, os.RWF_NOWAIT))
    except (OSError, AttributeError):  # it would have to wait | a file system, or a system, without the question
        return False


def spans(size: int, coverage: str) -> list[tuple[int, int]]:
    """Starts and lengths in bytes: about what is read of a file of so many bytes, in the order in which it is read."""
    if coverage == "full":
        return [(0, min(size, WHOLE_BYTES))]
    tail = max(0, size - TAIL_BYTES)
    length = min(max(round(REGION_SHARE * size), HEAD_BYTES), MOST_REGION_BYTES)
    centres = ((2 * i + 1) * size // (2 * REGIONS) for i in range(REGIONS))
    return [(0, min(size, HEAD_BYTES)), (tail, size - tail), *((max(0, c - length // 2), length) for c in centres)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
