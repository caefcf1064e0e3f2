"""One decode child, as its parent sees it: start it, ask, wait for the answer, end it."""

import contextlib
import signal
import socket
import subprocess
from dataclasses import replace

from worker.decode.protocol import HEADER, MESSAGE_BYTES, SharedBlock
from worker.python_process import ONE_THREAD, python_command, python_environment


class ChildDiedError(Exception):
    """The child is gone; the message says of what."""


class Child:
    """One decode child and the parent's end of its socket; raises ChildDiedError when it cannot be started."""

    def __init__(self, share: SharedBlock):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            arguments = replace(share, control=theirs.fileno()).arguments()
            command = python_command("worker.decode.child", *arguments)
            files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            try:
                passed = (theirs.fileno(), share.block)
                self._process = subprocess.Popen(
                    command, pass_fds=passed, env=python_environment(**ONE_THREAD), **files
                )
            except OSError as error:
                self._socket.close()
                raise ChildDiedError(f"it does not start: {error}") from error

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def ask(self, kind: bytes, slot: int, order: bytes = b"") -> None:
        """Send a message; raises ChildDiedError."""
        try:
            self._socket.send(HEADER.pack(kind, slot) + order)
        except OSError:
            raise ChildDiedError(self._epitaph()) from None

    def answer(self, timeout_s: float) -> tuple[bytes, int, bytes]:
        """The next message: kind, number of windows, and what follows; raises ChildDiedError or TimeoutError."""
        self._socket.settimeout(timeout_s)
        try:
            message = self._socket.recv(MESSAGE_BYTES)
        except ConnectionError:
            message = b""
        if not message:
            raise ChildDiedError(self._epitaph())
        return *HEADER.unpack_from(message), message[HEADER.size :]

    def kill(self) -> None:
        """Kill the process without waiting; answer() then raises ChildDiedError."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process, if it still lives, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _epitaph(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(timeout=5)
            return signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return "it closed its connection"
