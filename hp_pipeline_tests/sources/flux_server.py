"""A stand-in for InfluxDB 2 on loopback: prepared answers in annotated CSV, and a memory for requests."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "s3cret-t0ken"


@dataclass
class Answer:
    """What the server says: `body` with `status`; `headers` besides the length."""

    body: bytes = b"\r\n"
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/csv; charset=utf-8"})

    @staticmethod
    def error(status: int, code: str, message: str) -> Answer:
        """An error as InfluxDB 2 writes it."""
        body = json.dumps({"code": code, "message": message}).encode()
        return Answer(body, status, {"Content-Type": "application/json; charset=utf-8"})


@dataclass
class Request:
    """What the server was asked."""

    path: str
    org: str
    script: str
    accept_encoding: str


@dataclass
class FluxServer:
    """The server's address, its answers (the last one stays) and what it was asked."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    delay: threading.Event = field(default_factory=threading.Event)
    stalls: bool = False

    def next_answer(self) -> Answer:
        """The answer that is due."""
        return self.answers.pop(0) if len(self.answers) > 1 else (self.answers or [Answer()])[0]


@contextlib.contextmanager
def running_flux_server() -> Iterator[FluxServer]:
    """Start it on a free port and end it again."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if server.stalls:
                server.delay.wait(10)
            query = parse_qs(urlsplit(self.path).query)
            if self.headers.get("Authorization") != f"Token {TOKEN}":
                answer = Answer.error(401, "unauthorized", "unauthorized access")
            else:
                document = json.loads(body)
                server.requests.append(
                    Request(
                        urlsplit(self.path).path,
                        query.get("org", [""])[0],
                        document["query"],
                        self.headers.get("Accept-Encoding", ""),
                    )
                )
                assert document["dialect"]["annotations"] == ["datatype", "group", "default"]
                answer = server.next_answer()
            self.send_response(answer.status)
            for key, word in answer.headers.items():
                self.send_header(key, word)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a client may have waited long enough
                self.wfile.write(answer.body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = FluxServer(f"http://127.0.0.1:{listener.server_port}")
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.delay.set()
        listener.shutdown()
        listener.server_close()
        thread.join()
