"""A server that answers as the Hugging Face hub does for one large file, and can cut a download off."""

import hashlib
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The file it has, where it stops sending it, and what it was asked for."""

    path: str
    content: bytes
    promised: str = ""  # the sha256 that it names; empty: the right one
    stops_at: int | None = None  # bytes, for the first download
    ranges: list[str | None] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(hub: Hub):
    """The hub, on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer(send=False)

        def do_GET(self):
            hub.ranges.append(self.headers.get("Range"))
            self._answer(send=True)

        def _answer(self, send: bool) -> None:
            if self.path.partition("?")[0] != hub.path:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range") or "")
            begin = int(asked[1]) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(hub.content) - begin))
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{len(hub.content) - 1}/{len(hub.content)}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{hub.promised or hashlib.sha256(hub.content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if send:
                stop, hub.stops_at = hub.stops_at, None
                self.wfile.write(hub.content[begin : stop or len(hub.content)])
                if stop:
                    self.connection.close()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
