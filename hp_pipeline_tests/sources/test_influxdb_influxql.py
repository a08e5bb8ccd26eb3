"""InfluxQL against a stand-in: what a real InfluxDB 1 does not do on demand, and InfluxDB 3."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from hp_pipeline.settings.sources import InfluxdbSource
from hp_pipeline.sources.influxdb import InfluxdbArchive, SourceError
from hp_pipeline.sources.influxql import identifier, literal, pattern
from hp_pipeline.vocabulary.points import Selector

START = datetime(2024, 10, 13, tzinfo=UTC)
STOP = START + timedelta(days=1)
FIELDS = {
    "results": [
        {
            "statement_id": 0,
            "series": [{"name": "W", "columns": ["fieldKey", "fieldType"], "values": [["value", "float"]]}],
        }
    ]
}
READINGS = {
    "results": [
        {
            "statement_id": 0,
            "series": [
                {
                    "name": "W",
                    "tags": {"entity_id": "p\u0085\u2028", "empty": ""},
                    "columns": ["time", "c0"],
                    "values": [[1728777600000000999, 5], [1728777601000000000, None]],
                }
            ],
        }
    ]
}


@dataclass
class Stub:
    """Answers (status, body); the last one stays. Remembers what it was asked."""

    url: str
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    stall: threading.Event | None = None


@pytest.fixture
def stub() -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {key: words[0] for key, words in parse_qs(body).items()}
            server.asked.append({**form, "authorization": self.headers.get("Authorization", ""), "path": self.path})
            if server.stall is not None:
                server.stall.wait(10)
            status, answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Stub(f"http://127.0.0.1:{listener.server_port}/influx")
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    if server.stall is not None:
        server.stall.set()
    listener.shutdown()
    listener.server_close()
    thread.join()


def document(content: object) -> tuple[int, bytes]:
    return 200, json.dumps(content, ensure_ascii=False).encode()


def source(stub: Stub, **changes: object) -> InfluxdbSource:
    settings = {"id": "home", "version": 1, "url": stub.url, "database": "ha", **changes}
    return InfluxdbSource.model_validate(settings)


def pulled(source: InfluxdbSource) -> list[tuple]:
    with InfluxdbArchive(source, pause=0.001) as archive:
        return [row for frame in archive.pull([Selector(measurement="W")], START, STOP) for row in frame.rows()]


EXPECTED = [("W,entity_id=p\u0085\u2028 value", START, 5.0, None)]


def test_influxdb_3_is_asked_in_influxql_with_a_bearer(stub: Stub) -> None:
    stub.answers = [document(FIELDS), document(READINGS)]
    settings = source(stub, version=3, token=SecretStr("apiv3_secret"), retention_policy="rp")
    assert pulled(settings) == EXPECTED
    first, second = stub.asked
    assert first["path"] == "/influx/query"
    assert first["authorization"] == "Bearer apiv3_secret"
    assert (first["db"], first["rp"], first["epoch"]) == ("ha", "rp", "ns")
    assert second["q"] == (
        'SELECT "value" AS "c0" FROM "W" WHERE time >= \'2024-10-13T00:00:00.000000Z\''
        " AND time < '2024-10-14T00:00:00.000000Z' GROUP BY *"
    )


def test_an_overloaded_server_is_asked_again(stub: Stub) -> None:
    stub.answers = [(503, b'{"error":"busy"}'), document(FIELDS), (429, b""), (502, b""), document(READINGS)]
    assert pulled(source(stub)) == EXPECTED


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ((200, b""), "empty answer for the database 'ha'"),
        ((200, b"<html>a router</html>"), "is no InfluxDB 1"),
        ((200, b'{"jsonrpc": 2}'), "is no InfluxDB 1"),
        ((200, b"[1]"), "is no InfluxDB 1"),
        ((404, b"404 page not found"), "is no InfluxDB 1"),
        ((404, b'{"error":"database not found: ha"}'), "knows no database 'ha'"),
        ((403, b'{"error":"\\"u\\" user is not authorized to read"}'), "refuses the username and password (403"),
        ((500, b'{"error":"disk full"}'), "cannot answer now (500: disk full)"),
        ((200, b'{"results":[{"error":"query killed"}]}'), "query killed"),
        ((200, b'{"error":"timeout"}'), "timeout"),
        ((413, b""), "refuses the query (413)"),
    ],
)
def test_errors_say_what(stub: Stub, answer: tuple[int, bytes], what: str) -> None:
    stub.answers = [answer]
    with pytest.raises(SourceError) as caught:
        pulled(source(stub))
    assert what in caught.value.what
    assert caught.value.remedy


def test_no_secret_is_echoed(stub: Stub) -> None:
    stub.answers = [(400, b'{"error":"bad header apiv3_secret"}')]
    with pytest.raises(SourceError) as caught:
        pulled(source(stub, version=3, token=SecretStr("apiv3_secret")))
    assert "apiv3_secret" not in str(caught.value)


def test_a_server_that_stalls(stub: Stub) -> None:
    stub.stall = threading.Event()
    stub.answers = [document(FIELDS)]
    with pytest.raises(SourceError, match="did not answer within 1 s"):
        pulled(source(stub, timeout=timedelta(seconds=1)))


@given(st.text())
def test_no_text_breaks_out_of_its_quotes(text: str) -> None:
    for written, quote in ((identifier(text), '"'), (literal(text), "'")):
        inside = written[1:-1].replace("\\\\", "").replace(f"\\{quote}", "")
        assert written[0] == written[-1] == quote
        assert quote not in inside
        assert "\n" not in written


@pytest.mark.parametrize(("word", "written"), [("/a/b/", r"/a\/b/"), (r"/a\/b/", r"/a\/b/"), (r"/a\\/b/", r"/a\\\/b/")])
def test_slashes_in_patterns(word: str, written: str) -> None:
    assert pattern(word) == written
