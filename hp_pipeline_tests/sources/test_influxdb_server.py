"""The InfluxDB source against a real InfluxDB 1.6 or 1.8, with authentication."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import SecretStr

from hp_pipeline.settings.sources import FilesSource, InfluxdbSource
from hp_pipeline.sources.files import read_file
from hp_pipeline.sources.influxdb import InfluxdbArchive, SourceError
from hp_pipeline.sources.readings import READINGS_SCHEMA, Rejects, concatenated
from hp_pipeline.vocabulary.points import Selector, series_point
from hp_pipeline_tests.sources.influx_server import PASSWORD, USER, InfluxServer, free_port

START = datetime(2024, 10, 13, tzinfo=UTC)
EVERYTHING = [Selector(measurement="/./")]


def source(server: InfluxServer, database: str, **changes: object) -> InfluxdbSource:
    settings = {
        "id": "home_assistant",
        "version": 1,
        "url": server.url,
        "database": database,
        "username": USER,
        "password": SecretStr(PASSWORD),
        **changes,
    }
    return InfluxdbSource.model_validate(settings)


def pulled(
    source: InfluxdbSource, selectors: list[Selector], start: datetime, stop: datetime, **options: int
) -> pl.DataFrame:
    with InfluxdbArchive(source, pause=0.01) as archive:
        return concatenated(archive.pull(selectors, start, stop, **options))


def home_assistant_lines(days: int, seed: int = 1) -> str:
    """Line protocol as Home Assistant writes it: changes only, floats by unit, texts as attributes."""
    chance = random.Random(seed)
    lines = []
    start = int(START.timestamp())
    for entity, unit in (("hp_flow", "°C"), ("hp_return", "°C"), ("hp_power", "W"), ("hp_energy", "kWh")):
        for stamp in range(start, start + days * 86400, 300):
            if chance.random() < 0.7:
                value = round(chance.gauss(35, 3), 1)
                lines.append(
                    f"{unit},domain=sensor,entity_id={entity} "
                    f'value={value},friendly_name_str="HP {entity}, \\"x\\"" {stamp}{chance.randrange(10**9):09d}'
                )
    for stamp in range(start, start + days * 86400, 600):
        mode = chance.choice(["Heating", "Fan Only"])
        lines.append(
            f"sensor.althermasensors,domain=sensor,entity_id=althermasensors "
            f'Operation\\ Mode_str="{mode}",3way\\ valve(On:DHW_Off:Space)_str="OFF",Outdoor\\ air\\ temp.(R1T)=7.5,'
            f"error=f,count=3i {stamp}000000000"
        )
    chance.shuffle(lines)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def written(influx_server: InfluxServer) -> str:
    """The lines in the database `home`."""
    lines = home_assistant_lines(days=5)
    influx_server.create_database("home")
    answer = influx_server.write("home", lines)
    assert answer.status_code == 204, answer.text
    return lines


@pytest.fixture(scope="module")
def expected(written: str, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The same lines as the file source reads them."""
    path = tmp_path_factory.mktemp("lines") / "home.lp"
    path.write_text(written, encoding="utf-8")
    now = START + timedelta(days=100)
    result = read_file(path, FilesSource(id="files"), start=date(2024, 1, 1), now=now)
    frame = result.frame()
    assert not result.rejects
    return frame


def test_what_was_written_is_read_back(influx_server: InfluxServer, written: str, expected: pl.DataFrame) -> None:
    read = pulled(source(influx_server, "home"), EVERYTHING, START, START + timedelta(days=5))
    assert read.schema == READINGS_SCHEMA
    assert_frame_equal(read, expected)


@pytest.mark.parametrize(("before", "least_frames"), [(0, 20), (900, 1)])
def test_pages_change_nothing(
    influx_server: InfluxServer, written: str, expected: pl.DataFrame, before: int, least_frames: int
) -> None:
    start = START - timedelta(days=before)
    with InfluxdbArchive(source(influx_server, "home")) as archive:
        frames = list(archive.pull(EVERYTHING, start, START + timedelta(days=30), page_rows=500))
    assert_frame_equal(concatenated(frames), expected)
    assert len(frames) >= least_frames


def test_selectors_by_any_combination(influx_server: InfluxServer, written: str, expected: pl.DataFrame) -> None:
    flow = series_point("°C", {"domain": "sensor", "entity_id": "hp_flow"}, "value")
    selectors = [
        Selector(point=flow),
        Selector(measurement="W", field="value"),
        Selector(field="Operation Mode_str"),
        Selector(field="/^3way valve\\(On/", tags={"entity_id": "/therma/"}),
        Selector(measurement="°C", tags={"entity_id": "hp_return"}, field="friendly_name_str"),
        Selector(point="a plain name"),
    ]
    read = pulled(source(influx_server, "home"), selectors, START, START + timedelta(days=5))
    points = {point for point in expected["point"].unique() if any(one.matches(point) for one in selectors)}
    assert len(points) == 5
    assert_frame_equal(read, expected.filter(pl.col("point").is_in(list(points))))


def test_stop_is_exclusive_and_start_is_not(influx_server: InfluxServer) -> None:
    influx_server.create_database("edges")
    stamps = [START, START + timedelta(microseconds=1), START + timedelta(hours=1)]
    lines = "\n".join(f"m f={i} {int(t.timestamp() * 1e6)}" for i, t in enumerate(stamps))
    assert influx_server.write("edges", lines, "us").status_code == 204
    read = pulled(source(influx_server, "edges"), EVERYTHING, START, stamps[-1])
    assert read["value"].to_list() == [0.0, 1.0]


def test_a_field_that_changes_its_type_keeps_all_its_readings(influx_server: InfluxServer) -> None:
    influx_server.create_database("types")
    for week, value in enumerate(("1.5", '"fault"', "true", "7i", '"42"')):
        stamp = int((START + timedelta(weeks=week)).timestamp())
        assert influx_server.write("types", f"m,t=a value={value} {stamp}", "s").status_code == 204
    read = pulled(source(influx_server, "types"), EVERYTHING, START, START + timedelta(weeks=9))
    assert read["value"].to_list() == [1.5, None, None, 7.0, 42.0]
    assert read["text"].to_list() == [None, "fault", "true", None, None]


NASTY = [
    """it's "quoted" back\\slash and 'single'""",
    "comma, equals= space",
    "' OR 1=1; DROP DATABASE nasty; --",
    '"; DROP MEASUREMENT m; "',
    "/slash/es",
    "${interpolation}",
    "Größe °C ℃ \U0001f525",
    "tab\tin",
    "trailing back\\\\slash x",
]


@pytest.mark.parametrize("name", NASTY)
def test_no_name_breaks_out_of_its_quotes(influx_server: InfluxServer, name: str) -> None:
    database = "nasty"
    influx_server.create_database(database)
    tags = {"entity": name, "other": "x"}
    field = name.replace('"', "").replace("\\", "")  # this InfluxDB takes neither in the name of a field
    points = [series_point(name, tags, field), series_point(name, {"entity": "x"}, field)]
    lines = "\n".join(f"{point}={index} {int(START.timestamp())}" for index, point in enumerate(points))
    answer = influx_server.write(database, lines, "s")
    assert answer.status_code == 204, answer.text
    selector = Selector(measurement=name, field=field, tags=tags)
    read = pulled(source(influx_server, database), [selector], START, START + timedelta(days=1))
    assert read.rows() == [(points[0], START, 0.0, None)]
    assert "nasty" in influx_server.query("SHOW DATABASES").text


def test_last_reading_of_every_series(influx_server: InfluxServer, written: str, expected: pl.DataFrame) -> None:
    with InfluxdbArchive(source(influx_server, "home")) as archive:
        listed = archive.list_series(START, START + timedelta(days=3))
    within = expected.filter(pl.col("time") < START + timedelta(days=3))
    assert_frame_equal(listed, within.group_by("point", maintain_order=True).last())


def error_of(source: InfluxdbSource) -> SourceError:
    with pytest.raises(SourceError) as caught, InfluxdbArchive(source, pause=0.01) as archive:
        list(archive.pull(EVERYTHING, START, START + timedelta(days=1)))
    assert source.id in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value


def test_unknown_database(influx_server: InfluxServer) -> None:
    error = error_of(source(influx_server, "nope"))
    assert "knows no database 'nope'" in error.what
    assert "SHOW DATABASES" in error.remedy


def test_unknown_retention_policy(influx_server: InfluxServer, written: str) -> None:
    error = error_of(source(influx_server, "home", retention_policy="gone"))
    assert "knows no retention policy 'gone'" in error.what


def test_wrong_password(influx_server: InfluxServer) -> None:
    secret = "wrong-secret-4711"
    error = error_of(source(influx_server, "home", password=SecretStr(secret)))
    assert "refuses the username and password (401" in error.what
    assert secret not in str(error)


def test_no_credentials(influx_server: InfluxServer) -> None:
    error = error_of(source(influx_server, "home", username=None, password=None))
    assert "401" in error.what


def test_version_2_is_not_what_answers_here(influx_server: InfluxServer) -> None:
    settings = InfluxdbSource.model_validate(
        {"id": "x", "version": 2, "url": influx_server.url, "org": "o", "bucket": "b", "token": SecretStr("t0ken")}
    )
    error = error_of(settings)
    assert "no InfluxDB 2" in error.what
    assert "`version:`" in error.remedy


def test_nobody_listens() -> None:
    settings = InfluxdbSource(id="x", version=1, url=f"http://127.0.0.1:{free_port()}", database="home")
    error = error_of(settings)
    assert "no connection to http://127.0.0.1" in error.what
    assert "`url:`" in error.remedy


def test_a_bad_regular_expression_is_told(influx_server: InfluxServer, written: str) -> None:
    selectors = [Selector(measurement="W", tags={"entity_id": "/(?=lookahead)x/"})]
    with pytest.raises(SourceError, match="refuses the query"):
        pulled(source(influx_server, "home"), selectors, START, START + timedelta(days=1))


def test_nothing_asked_for_is_nothing_got(influx_server: InfluxServer, written: str) -> None:
    home = source(influx_server, "home")
    assert pulled(home, [], START, START + timedelta(days=5)).is_empty()
    assert pulled(home, [Selector(measurement="unknown")], START, START + timedelta(days=5)).is_empty()
    assert pulled(home, EVERYTHING, START, START).is_empty()


def test_readings_that_are_not_believed_are_reported(influx_server: InfluxServer) -> None:
    influx_server.create_database("odd")
    stamp = int(START.timestamp())
    assert influx_server.write("odd", f'm f="NaN",g=1 {stamp}', "s").status_code == 204
    rejects = Rejects()
    with InfluxdbArchive(source(influx_server, "odd")) as archive:
        frames = list(archive.pull(EVERYTHING, START, START + timedelta(days=1), rejects=rejects))
    assert concatenated(frames)["point"].to_list() == ["m g"]
    assert rejects.counts == {"not a finite number": 1}


@pytest.mark.parametrize(
    "line",
    [
        "m\\=x,t=a f=1",
        "m\\,x,t=a f=1",
        "m\\ x,t=a\\ b\\,c\\=d f=1",
        "m,t=a\\b f=1",
        "m f\\ g\\,h\\=i=1",
        'm f="a\\"b\\\\c\\d"',
        'm f="a,b c=d"',
        'm f="two\nlines"',
        "m f=1i,g=-2i,h=1e3,i=.5,j=5.",
        "m f=t,g=T,h=true,i=True,j=TRUE,k=f,l=F,m=false,n=False,o=FALSE",
        " m f=1",
        "m,a= f=1",
        "m, f=1",
        ",a=b f=1",
        "m f=",
        "m f=1,",
        "m f=1,g",
        "m =1",
        "m f=x",
        "m f=NaN",
        "m f=1 g=2",
        'm f="open',
        "m,a=b,a=c f=1",
        "m",
    ],
)
def test_line_protocol_is_understood_as_influxdb_does(influx_server: InfluxServer, line: str, tmp_path: Path) -> None:
    database = "grammar"
    influx_server.query(f"DROP DATABASE {database}")
    influx_server.create_database(database)
    stamped = f"{line} {int(START.timestamp())}000000000"
    taken = influx_server.write(database, stamped).status_code == 204
    path = tmp_path / "one.lp"
    path.write_text(stamped, encoding="utf-8")
    result = read_file(path, FilesSource(id="files"), start=date(2024, 1, 1), now=START)
    ours = result.frame()
    assert bool(result.rejects) != taken
    if taken:
        read = pulled(source(influx_server, database), EVERYTHING, START, START + timedelta(days=1))
        assert_frame_equal(ours, read)


def test_the_answer_is_the_same_over_plain_http(influx_server: InfluxServer, written: str) -> None:
    """The server says what the source expects of it: an unknown database answers 200 with an error inside."""
    answer = httpx.get(
        f"{influx_server.url}/query", params={"db": "nope", "q": "SELECT * FROM x"}, auth=(USER, PASSWORD)
    )
    assert answer.status_code == 200
    assert "database not found" in answer.text
