"""Asks the system for what decode processes will read of files, while they still decode other files.

So many files wait for slow storage at once, and not each decode process for one. What comes is kept by the system's
page cache, which gives it up where memory is short.
"""

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

MESSAGE_BYTES = 1 << 16  # No message to the process is longer than this: the coverage, a zero byte, and the path.
HEAD_BYTES = 256 << 10  # The beginning of a file: header, tags, and often the place of its regions.
TAIL_BYTES = 64 << 10  # The end of a file, where some containers have their index, and Ogg its length.
REGION_SHARE = 0.06  # The share of a file that is asked for at each region: 14 s of 4 minutes.
MAX_REGION_BYTES = 2 << 20  # The most that is asked for at each region.
ADVICE_BYTES = 128 << 10  # Linux reads no more than this for one call, whatever is asked for.
FULL_BYTES = 4 << 20  # Asked for where all of a file is read: once that goes on, the system reads ahead by itself.


class ReadAhead:
    """A process that asks the system for `files` files at a time, each in a thread, which slow storage may hold up.

    It is a process because such threads in the worker would take Python's lock from the ones that feed the decode
    processes. It ends with this process.
    """

    def __init__(self, files: int) -> None:
        self._socket, process_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with process_socket:
            self._process = subprocess.Popen(
                python_command("worker.decode.readahead", str(process_socket.fileno()), str(files)),
                pass_fds=[process_socket.fileno()],
                env=python_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def ask(self, path: bytes, coverage: str) -> None:
        """Ask for what this coverage ("regions" or "full") reads of a file. Does not wait, and never fails.

        It does nothing where too many files are asked for already, or where the process is gone. What is wrong with the
        file is reported by the decode process that will read it.
        """
        with contextlib.suppress(OSError):
            self._socket.send(f"{coverage}\0".encode() + path, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def main(arguments: list[str]) -> int:
    """Serve the parent until it goes away. Returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides what it means.
    try:
        control, files = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    except (IndexError, ValueError, OSError):
        print("worker.decode.readahead is started by the worker; run `genremill worker` instead", file=sys.stderr)
        return 2
    messages: SimpleQueue[bytes] = SimpleQueue()
    for _ in range(files):
        threading.Thread(target=_work, args=(messages,), daemon=True).start()
    while message := control.recv(MESSAGE_BYTES):
        messages.put(message)
    os._exit(0)  # Without waiting for the threads that wait for storage.


def _work(messages: SimpleQueue[bytes]) -> None:
    """Ask for one file after another. Errors are left to the decode process that will read the file."""
    while True:
        coverage, _, path = messages.get().partition(b"\0")
        with contextlib.suppress(OSError, ValueError):
            _advise(path, coverage.decode())


def _advise(path: bytes, coverage: str) -> None:
    """Tell the system that the file will be read where this coverage reads it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        for start, length in spans(os.fstat(fd).st_size, coverage):
            if not _is_in_memory(fd, start + length - 1):
                for position in range(start - start % ADVICE_BYTES, start + length, ADVICE_BYTES):
                    os.posix_fadvise(fd, position, ADVICE_BYTES, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(fd)


def _is_in_memory(fd: int, position: int) -> bool:
    """Whether the system has this byte of the file in memory. False where it does not say."""
    try:
        return bool(os.preadv(fd, [bytearray(1)], position, os.RWF_NOWAIT))
    except (OSError, AttributeError):  # It would have to wait; or the file system, or Python, does not know RWF_NOWAIT.
        return False


def spans(size: int, coverage: str) -> list[tuple[int, int]]:
    """About what is read of a file of `size` bytes: (first byte, number of bytes), in the order in which it is read."""
    if coverage == "full":
        return [(0, min(size, FULL_BYTES))]
    tail = max(0, size - TAIL_BYTES)
    length = min(max(round(REGION_SHARE * size), HEAD_BYTES), MAX_REGION_BYTES)
    centres = ((2 * number + 1) * size // (2 * REGIONS) for number in range(REGIONS))
    regions = [(max(0, centre - length // 2), length) for centre in centres]
    return [(0, min(size, HEAD_BYTES)), (tail, size - tail), *regions]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
