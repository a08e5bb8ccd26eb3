"""The InfluxDB source in Flux: what it asks, and how it reads annotated CSV, tables of several shapes and errors."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from hp_pipeline.settings.sources import InfluxdbSource
from hp_pipeline.sources.flux import TableError, literal, parse_annotated_csv
from hp_pipeline.sources.influxdb import InfluxdbArchive, SourceError
from hp_pipeline.sources.readings import Rejects, concatenated
from hp_pipeline.vocabulary.points import Selector
from hp_pipeline_tests.sources.flux_server import TOKEN, Answer, FluxServer, running_flux_server

START = datetime(2024, 10, 13, tzinfo=UTC)
STOP = START + timedelta(days=1)
EVERYTHING = [Selector(measurement="/./")]

DOUBLES = (
    "#datatype,string,long,dateTime:RFC3339,double,string,string,string,string\r\n"
    "#group,false,false,false,false,true,true,true,true\r\n"
    "#default,_result,,,,,,,\r\n"
    ",result,table,_time,_value,_field,_measurement,domain,entity_id\r\n"
    ",,0,2024-10-13T05:38:00Z,35.2,value,°C,sensor,hp flow\r\n"
    ",,0,2024-10-13T05:38:30.123456789Z,-1e-3,value,°C,sensor,hp flow\r\n"
    ",,1,2024-10-13T05:38:00Z,NaN,value,W,sensor,hp_power\r\n"
    ",,1,2024-10-13T05:39:00Z,+Inf,value,W,sensor,hp_power\r\n"
    ",,1,2024-10-13T05:40:00Z,1200,value,W,sensor,hp_power\r\n"
    "\r\n"
)
STRINGS = (
    "#datatype,string,long,dateTime:RFC3339,string,string,string,string\r\n"
    "#group,false,false,false,false,true,true,true\r\n"
    "#default,_result,,,,,,\r\n"
    ",result,table,_time,_value,_field,_measurement,entity_id\r\n"
    ',,2,2024-10-13T05:38:00Z,"say ""hi"", you\r\n\r\n#datatype,x",Operation Mode_str,sensor.althermasensors,a\r\n'
    ",,2,2024-10-13T05:39:00Z,42,Operation Mode_str,sensor.althermasensors,a\r\n"
    ",,3,2024-10-13T05:38:00Z,ON,state,sensor.althermasensors,\r\n"
    "\r\n"
)
OTHERS = (
    "#datatype,string,long,dateTime:RFC3339,boolean,string,string\r\n"
    "#group,false,false,false,false,true,true\r\n"
    "#default,_result,,,,,\r\n"
    ",result,table,_time,_value,_field,_measurement\r\n"
    ",,4,2024-10-13T05:38:00Z,true,b,m\r\n"
    "\r\n"
    "#datatype,string,long,dateTime:RFC3339,long,string,string\r\n"
    "#group,false,false,false,false,true,true\r\n"
    "#default,_result,,,,,\r\n"
    ",result,table,_time,_value,_field,_measurement\r\n"
    ",,5,2024-10-13T05:38:00Z,7,i,m\r\n"
    "\r\n"
)
READ = [
    ("m b", "05:38:00.000000", None, "true"),
    ("m i", "05:38:00.000000", 7.0, None),
    ("sensor.althermasensors state", "05:38:00.000000", None, "ON"),
    (
        "sensor.althermasensors,entity_id=a Operation\\ Mode_str",
        "05:38:00.000000",
        None,
        'say "hi", you\r\n\r\n#datatype,x',
    ),
    ("sensor.althermasensors,entity_id=a Operation\\ Mode_str", "05:39:00.000000", 42.0, None),
    ("W,domain=sensor,entity_id=hp_power value", "05:40:00.000000", 1200.0, None),
    ("°C,domain=sensor,entity_id=hp\\ flow value", "05:38:00.000000", 35.2, None),
    ("°C,domain=sensor,entity_id=hp\\ flow value", "05:38:30.123456", -0.001, None),
]

ERROR_TABLE = (
    "\r\n#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n"
    ",engine: query timed out,897\r\n"
)


@pytest.fixture
def server() -> Iterator[FluxServer]:
    with running_flux_server() as running:
        yield running


def source(server: FluxServer, **changes: object) -> InfluxdbSource:
    return InfluxdbSource.model_validate(
        {
            "id": "influx2",
            "version": 2,
            "url": server.url,
            "org": "home",
            "bucket": 'the "bucket" ${x}',
            "token": SecretStr(TOKEN),
            **changes,
        }
    )


def pulled(source: InfluxdbSource, selectors: list[Selector] = EVERYTHING, **options: object) -> pl.DataFrame:
    with InfluxdbArchive(source, pause=0.001) as archive:
        return concatenated(archive.pull(selectors, START, STOP, **options))  # type: ignore[arg-type]


def rows(frame: pl.DataFrame) -> list[tuple]:
    return sorted(frame.with_columns(pl.col("time").dt.strftime("%H:%M:%S.%6f")).rows())


def test_tables_of_every_type_are_read(server: FluxServer) -> None:
    server.answers = [Answer((DOUBLES + STRINGS + OTHERS).encode())]
    rejects = Rejects()
    assert rows(pulled(source(server), rejects=rejects)) == sorted(READ)
    assert rejects.counts == {"not a finite number": 2}


def test_a_packed_answer_is_read(server: FluxServer) -> None:
    headers = {"Content-Type": "text/csv; charset=utf-8", "Content-Encoding": "gzip"}
    server.answers = [Answer(gzip.compress((DOUBLES + STRINGS + OTHERS).encode()), headers=headers)]
    assert rows(pulled(source(server))) == sorted(READ)
    assert "gzip" in server.requests[0].accept_encoding


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_the_pieces_that_arrive_change_nothing(sizes: list[int]) -> None:
    content = (DOUBLES + STRINGS + OTHERS).encode()

    def pieces() -> Iterator[bytes]:
        at = index = 0
        while at < len(content):
            size = sizes[index % len(sizes)]
            yield content[at : at + size]
            at, index = at + size, index + 1

    frame = pl.concat(parse_annotated_csv(pieces()))
    finite = frame.filter(pl.col("value").is_null() | pl.col("value").is_finite())
    was_number = pl.col("text") == "42"  # text that is a number becomes one later, when readings are made regular
    finite = finite.with_columns(
        text=pl.when(~was_number).then("text"), value=pl.when(was_number).then(42.0).otherwise("value")
    )
    assert rows(finite) == sorted(READ)


def test_the_request(server: FluxServer) -> None:
    selectors = [
        Selector(measurement="W", field="value", tags={"friendly_name": 'Heat "Pump" \\ ${x}'}),
        Selector(field="/^Operation/x/"),
        Selector(point="°C,entity_id=a\\ b value"),
        Selector(point="a plain name"),
    ]
    east = timezone(timedelta(hours=2))
    with InfluxdbArchive(source(server)) as archive:
        list(archive.pull(selectors, START.astimezone(east), STOP.astimezone(east)))
    (request,) = server.requests
    assert (request.path, request.org) == ("/api/v2/query", "home")
    assert request.script == (
        'from(bucket: "the \\"bucket\\" \\${x}")\n'
        "  |> range(start: 2024-10-13T00:00:00.000000Z, stop: 2024-10-14T00:00:00.000000Z)\n"
        '  |> filter(fn: (r) => (r["_field"] =~ /^Operation\\/x/)'
        ' or (r["_measurement"] == "W" and r["_field"] == "value"'
        ' and r["friendly_name"] == "Heat \\"Pump\\" \\\\ \\${x}")'
        ' or (r["_measurement"] == "°C" and r["_field"] == "value" and r["entity_id"] == "a b"))\n'
        '  |> drop(columns: ["_start", "_stop"])\n'
    )


@given(st.text())
def test_no_text_breaks_out_of_its_quotes(text: str) -> None:
    written = literal(text)
    inside = written[1:-1]
    unescaped = inside.replace("\\\\", "").replace('\\"', "").replace("\\${", "")
    assert written.startswith('"')
    assert written.endswith('"')
    assert '"' not in unescaped
    assert "${" not in unescaped
    assert "\n" not in written


def test_pages_cover_the_range_once(server: FluxServer) -> None:
    start, stop = START + timedelta(hours=5), START + timedelta(days=40)
    with InfluxdbArchive(source(server)) as archive:
        assert list(archive.pull(EVERYTHING, start, stop)) == []
    ranges = [request.script.split("range(start: ")[1].split(")")[0].split(", stop: ") for request in server.requests]
    assert ranges[0][0] == "2024-10-13T05:00:00.000000Z"
    assert ranges[0][1] == "2024-10-14T00:00:00.000000Z"
    assert ranges[-1][1] == "2024-11-22T00:00:00.000000Z"
    assert [begin for begin, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
    assert 3 < len(ranges) < 12


def test_series_are_listed_with_their_last_reading(server: FluxServer) -> None:
    server.answers = [Answer((DOUBLES + STRINGS).encode())]
    with InfluxdbArchive(source(server)) as archive:
        listed = archive.list_series(START, STOP)
    assert listed.height == listed["point"].n_unique()
    assert "  |> last()\n" in server.requests[0].script


def error_of(source: InfluxdbSource) -> SourceError:
    with pytest.raises(SourceError) as caught:
        pulled(source)
    assert source.id in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "what", "remedy"),
    [
        (
            Answer.error(404, "not found", 'failed to initialize execute state: could not find bucket "x"'),
            "knows no bucket",
            "`bucket:`",
        ),
        (Answer.error(404, "not found", 'organization name "home" not found'), "knows no organisation", "`org:`"),
        (
            Answer.error(403, "forbidden", "Flux query service disabled. Verify flux-enabled=true"),
            "Flux is switched off",
            "version: 1",
        ),
        (Answer.error(403, "forbidden", f"insufficient permissions for {TOKEN}"), "refuses the token", "token"),
        (Answer.error(400, "invalid", "compilation failed: loc 1:2"), "refuses the query", "regular expressions"),
        (Answer(b"<html>a router</html>", 200, {"Content-Type": "text/html"}), "no InfluxDB 2", "`url:`"),
        (Answer(b"404 page not found\n", 404, {"Content-Type": "text/plain"}), "no InfluxDB 2", "`version:`"),
        (Answer(ERROR_TABLE.encode()), "engine: query timed out", "next beat"),
        (Answer((DOUBLES + ERROR_TABLE).encode()), "engine: query timed out", "next beat"),
        (Answer.error(503, "unavailable", "queue is full"), "cannot answer now (503: queue is full)", "log"),
        (Answer(b"upstream gone", 502, {}), "cannot answer now (502: upstream gone)", "log"),
    ],
)
def test_errors_say_what_and_what_to_do(server: FluxServer, answer: Answer, what: str, remedy: str) -> None:
    server.answers = [answer]
    error = error_of(source(server))
    assert what in error.what
    assert remedy in error.remedy


def test_a_wrong_token(server: FluxServer) -> None:
    error = error_of(source(server, token=SecretStr("wrong-4711")))
    assert "refuses the token (401: unauthorized access)" in error.what
    assert "wrong-4711" not in str(error)


def test_an_overloaded_server_is_asked_again(server: FluxServer) -> None:
    server.answers = [
        Answer.error(429, "too many requests", "slow down"),
        Answer.error(503, "unavailable", "busy"),
        Answer(DOUBLES.encode()),
    ]
    assert pulled(source(server)).height == 3
    assert len(server.requests) == 3


def test_nobody_listens() -> None:
    with running_flux_server() as server:
        settings_of_it = source(server)
    error = error_of(settings_of_it)
    assert "no connection to" in error.what
    assert "Connection refused" in error.what


def test_a_server_that_stalls(server: FluxServer) -> None:
    server.stalls = True
    error = error_of(source(server, timeout=timedelta(seconds=1)))
    assert "did not answer within 1 s" in error.what


def test_an_answer_that_breaks_off() -> None:
    with pytest.raises(TableError, match="query timed out"):
        list(parse_annotated_csv([DOUBLES.encode(), ERROR_TABLE.encode()]))
    with pytest.raises(ValueError, match="without a header"):
        list(parse_annotated_csv([DOUBLES[:150].encode()]))
