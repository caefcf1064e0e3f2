"""One decode process as its parent sees it: start it, send it a message, wait for its answer, end it."""

import contextlib
import signal
import socket
import subprocess
from dataclasses import replace

from worker.decode.protocol import MESSAGE_BYTES, Message, SharedBlock, pack_message, unpack_message
from worker.python_process import ONE_THREAD, python_command, python_environment

EXIT_S = 5.0  # Seconds to wait for the exit status of a process whose connection is closed.


class ChildDiedError(Exception):
    """The decode process is gone, or cannot be used any more. The message says of what."""


class Child:
    """A running decode process, and the parent's end of the socket to it.

    share: the shared memory; the process's end of the socket is filled in here. Raises ChildDiedError when the process
    cannot be started.
    """

    def __init__(self, share: SharedBlock) -> None:
        self._socket, child_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with child_socket:
            arguments = replace(share, control_fd=child_socket.fileno()).to_arguments()
            try:
                self._process = subprocess.Popen(
                    python_command("worker.decode.child", *arguments),
                    pass_fds=(child_socket.fileno(), share.block_fd),
                    env=python_environment(**ONE_THREAD),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
            except OSError as error:
                self._socket.close()
                raise ChildDiedError(f"it does not start: {error}") from error

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, kind: Message, number: int, content: bytes = b"") -> None:
        """Send a message, see worker.decode.protocol. Raises ChildDiedError."""
        try:
            self._socket.send(pack_message(kind, number, content))
        except OSError:
            raise ChildDiedError(self._cause_of_death()) from None

    def receive(self, timeout_s: float) -> tuple[Message, int, bytes]:
        """Wait for the next message: its kind, number and content. Raises ChildDiedError or TimeoutError."""
        self._socket.settimeout(timeout_s)
        try:
            message = self._socket.recv(MESSAGE_BYTES)
        except ConnectionError:
            message = b""
        if not message:
            raise ChildDiedError(self._cause_of_death())
        try:
            return unpack_message(message)
        except ValueError as error:
            raise ChildDiedError(f"it sent something else than a message: {error}") from error

    def kill(self) -> None:
        """Kill the process without waiting. receive() then raises ChildDiedError."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process if it still lives, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _cause_of_death(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(timeout=EXIT_S)
            return signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return "it closed its connection"
