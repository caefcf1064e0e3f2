"""A server that answers as the Hugging Face hub does for one large file. It can cut a download off."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"  # The commit that the server says the file is of.


@dataclass
class Hub:
    """The file that the server has, when it stops sending it, and what it was asked for."""

    path: str  # Of the file, as it stands in the address.
    content: bytes
    promised: str = ""  # The SHA-256 that the server names; empty: the file's own.
    stops_at: int | None = None  # Bytes after which the first download is cut off.
    ranges: list[str | None] = field(default_factory=list)  # The Range header of each download so far.
    address: str = ""  # Set while the server runs.


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Runs the server on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(HubHandler, hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class HubHandler(BaseHTTPRequestHandler):
    """Answers one client: with the file or a part of it, or that there is no such file."""

    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *arguments):
        self._hub = hub
        super().__init__(*arguments)  # Handles the requests.

    def do_HEAD(self):
        self._answer(send=False)

    def do_GET(self):
        self._hub.ranges.append(self.headers.get("Range"))
        self._answer(send=True)

    def _answer(self, send: bool) -> None:
        if self.path.partition("?")[0] != self._hub.path:
            self._refuse()
            return
        content = self._hub.content
        requested = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range") or "")
        begin = int(requested[1]) if requested else 0
        self.send_response(206 if requested else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        if requested:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{self._hub.promised or hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if send:
            self._send(begin)

    def _refuse(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, begin: int) -> None:
        """Send the file from this byte on; the first download ends where the test wants it."""
        stop, self._hub.stops_at = self._hub.stops_at, None
        self.wfile.write(self._hub.content[begin : stop or len(self._hub.content)])
        if stop:
            self.connection.close()

    def log_message(self, *_arguments):
        """Prints nothing, in place of a line for each request."""
