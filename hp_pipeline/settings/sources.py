"""Where readings come from. Each kind of source is a model of its own, chosen by the key `kind`.

A further kind is a further class with its literal `kind`, added to `Source`: the loader, the messages and the
schema follow from it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from hp_pipeline.settings.durations import Duration, between, read_duration
from hp_pipeline.settings.model import (
    Flag,
    Identifier,
    Inconsistency,
    Secret,
    SettingsModel,
    Text,
    TimeZone,
    mapping,
    mappings,
    nearest_word,
    within,
)
from hp_pipeline.vocabulary.durations import format_duration
from hp_pipeline.vocabulary.json_paths import parse_json_path
from hp_pipeline.vocabulary.registers import shipped_maps
from hp_pipeline.vocabulary.topics import TopicPattern, check_filter

NO_FLAG = BeforeValidator(lambda value: str(value).lower() if isinstance(value, bool) else value)
"""Refuses true and false where one of some numbers is wanted: to Python, true is 1."""


def _url(value: str) -> str:
    """An address without anything secret in it: a URL ends up in logs and pages."""
    allowed = "http:// or https:// with a host and, where it is needed, :port and a path"
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        raise PydanticCustomError(
            "url", "allowed: {allowed}", {"allowed": allowed, "found": "no readable URL"}
        ) from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise PydanticCustomError(
            "url",
            "found {found}, allowed: {allowed}",
            {
                "found": "a URL with a user name, a password or a query in it",
                "allowed": f"{allowed}; credentials have keys of their own",
            },
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine or " " in value:
        guess = f"http://{value}" if re.fullmatch(r"[\w.-]+(:[0-9]+)?/?", value, re.ASCII) else ""
        raise PydanticCustomError("url", "allowed: {allowed}", {"allowed": allowed, "nearest": guess})
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_url)]


def _pattern(value: str) -> str:
    """A text that has to be met exactly, or `/…/` with a regular expression."""
    if not value:
        raise PydanticCustomError("blank", "allowed: {allowed}", {"allowed": "a text or a pattern /…/"})
    if len(value) > 2 and value.startswith("/") and value.endswith("/"):
        try:
            re.compile(value[1:-1])
        except re.error as error:
            raise PydanticCustomError(
                "pattern",
                "allowed: {allowed}",
                {"allowed": f"/…/ with a regular expression that can be read ({error.msg})"},
            ) from None
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]


class SeriesSelector(SettingsModel):
    """Series of a database: all that is given must fit. A text written `/…/` is a regular expression."""

    point: Pattern | None = Field(None, description="The whole point: measurement, tags and field.")
    measurement: Pattern | None = Field(None, description="The measurement.")
    field: Pattern | None = Field(None, description="The field.")
    tags: dict[str, Pattern] = Field(default_factory=dict, description="Tags and their values.")

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """An empty selector would select everything."""
        if not any(written.get(key) for key in ("point", "measurement", "field", "tags")):
            yield Inconsistency((), "at least one of point, measurement, field, tags", "nothing")


_INFLUXDB_KEYS: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    1: (("database",), ("retention_policy", "username", "password")),
    2: (("org", "bucket", "token"), ()),
    3: (("database",), ("retention_policy", "token")),
}
"""By version: the keys that the connection needs, and those that it can have besides."""


class InfluxdbSource(SettingsModel):
    """Series in an InfluxDB 1, 2 or 3, read by time range."""

    id: Identifier = Field(description="Id of the source: a to z, 0 to 9 and _.")
    kind: Literal["influxdb"] = "influxdb"
    version: Annotated[Literal[1, 2, 3], NO_FLAG] = Field(description="Major version of the InfluxDB: 1, 2 or 3.")
    url: Url = Field(description="Address of the InfluxDB, such as http://127.0.0.1:8086.")
    org: Text | None = Field(None, description="Organisation (version 2).")
    bucket: Text | None = Field(None, description="Bucket (version 2).")
    database: Text | None = Field(None, description="Database (versions 1 and 3).")
    retention_policy: Text | None = Field(
        None, description="Retention policy (versions 1 and 3); the database's own one without it."
    )
    token: Secret | None = Field(None, exclude=True, description="Token that may read (versions 2 and 3), as ${NAME}.")
    username: Text | None = Field(None, description="User name (version 1).")
    password: Secret | None = Field(None, exclude=True, description="Password (version 1), as ${NAME}.")
    every: Annotated[Duration, between("1min", "1d")] = Field(
        timedelta(minutes=15), description="How often new readings are asked for."
    )
    overlap: Annotated[Duration, between("0s", "30d")] = Field(
        timedelta(hours=2), description="How much of the past is asked for again, for late readings."
    )
    extra: tuple[SeriesSelector, ...] = Field((), description="Series that are kept although no profile asks for them.")
    timeout: Annotated[Duration, between("1s", "10min")] = Field(
        timedelta(seconds=60), description="How long one request may take."
    )

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """Each version has its own way to connect."""
        for index, selector in enumerate(_list(written, "extra")):
            if isinstance(selector, Mapping):
                for item in SeriesSelector.inconsistencies(selector):
                    yield item.below("extra", index)
        version = written.get("version")
        if type(version) is not int or version not in _INFLUXDB_KEYS:
            return
        needed, possible = _INFLUXDB_KEYS[version]
        fitting = [*needed, *possible]
        for key in sorted({key for keys in _INFLUXDB_KEYS.values() for part in keys for key in part}):
            given = written.get(key) is not None
            if given and key not in fitting:
                yield Inconsistency(
                    (key,), f"with version {version}: {', '.join(fitting)}", f"the key {key!r}", at_key=True
                )
            if not given and key in needed:
                yield Inconsistency((key,), f"{cls.model_fields[key].description}", "nothing", at_key=True)
        credentials = [key for key in ("username", "password") if written.get(key) is not None]
        if version == 1 and len(credentials) == 1:
            (absent,) = {"username", "password"} - set(credentials)
            yield Inconsistency(
                (absent,), f"both username and password, or none; {credentials[0]} is given", "nothing", at_key=True
            )


def _encoding(value: str) -> str:
    try:
        "".encode(value)
    except (LookupError, ValueError):
        known = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "iso-8859-15", "cp1252", "cp850", "cp437")
        raise PydanticCustomError(
            "encoding",
            "allowed: {allowed}",
            {"allowed": f"an encoding such as {', '.join(known)}", "nearest": nearest_word(value, known) or ""},
        ) from None
    return value


def _time_format(value: str) -> str:
    known = ("iso", "unix_s", "unix_ms", "unix_us", "unix_ns")
    if value not in known and "%" not in value:
        raise PydanticCustomError(
            "time_format",
            "allowed: {allowed}",
            {
                "allowed": f"{', '.join(known)} or a pattern such as %d.%m.%Y %H:%M:%S",
                "nearest": nearest_word(value, known) or "",
            },
        )
    return value


def _one_character(value: str) -> str:
    if len(value) != 1 or value in '\r\n"':
        tab = "\\t" if value.casefold() in ("tab", "\\t") else ""
        raise PydanticCustomError(
            "character",
            "allowed: {allowed}",
            {"allowed": 'one character, such as ";" (a tab is "\\t" in double quotes)', "nearest": tab},
        )
    return value


Character = Annotated[str, AfterValidator(_one_character)]


class Columns(SettingsModel):
    """Names of a file's columns. Long files have point, value and text; wide ones a column for each point."""

    time: Text = Field("time", description="Column of the time.")
    point: Text | None = Field(None, description='Column of the point (long; "point" without it).')
    value: Text | None = Field(None, description='Column of the value (long; "value" without it).')
    text: Text | None = Field(None, description="Column of texts such as states, when they have their own (long).")
    points: tuple[Text, ...] | None = Field(
        None, min_length=1, description="Columns that are points (wide); every other one without it."
    )


class FilesSource(SettingsModel):
    """Files that somebody or something lays into a folder: CSV, Parquet or InfluxDB line protocol."""

    id: Identifier = Field(description="Id of the source: a to z, 0 to 9 and _.")
    kind: Literal["files"] = "files"
    drop_folder: Text | None = Field(
        None, description="Folder that is watched, relative to the data folder; drop/<id> without it."
    )
    format: Literal["csv", "parquet", "line_protocol"] | None = Field(
        None, description="Format of the files; by their ending without it."
    )
    layout: Literal["long", "wide"] = Field(
        "long", description="long: a row for each reading; wide: a row for each time, a column for each point."
    )
    columns: Columns = Field(default_factory=Columns, description="Names of the columns.")
    separator: Character = Field(",", description="Between the cells of a CSV file.")
    decimal: Literal[".", ","] = Field(".", description="Decimal sign of numbers.")
    thousands: Literal[".", ",", "'", " ", "_", "\u2019", "\u00a0", "\u202f"] | None = Field(
        None, description="Sign between thousands, if there is one."
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        "utf-8", description="Encoding of CSV files; a byte order mark is always understood."
    )
    time_format: Annotated[str, AfterValidator(_time_format)] = Field(
        "iso", description="iso, unix_s, unix_ms, unix_us, unix_ns or a pattern such as %d.%m.%Y %H:%M:%S."
    )
    time_zone: TimeZone = Field("UTC", description="Time zone of times that name none.")
    time_shift: Annotated[Duration, between("-366d", "366d")] = Field(
        timedelta(0), description="Added to every time; -1h for files that are labelled an hour late."
    )
    missing: tuple[str, ...] = Field(
        ("", "-", "unavailable", "unknown"), description="Cells that mean that there is no reading."
    )
    keep_good_rows: Flag = Field(
        False, description="Take the good rows of a file that has bad ones, which is refused otherwise."
    )

    @property
    def folder(self) -> str:
        """The folder that is watched, relative to the data folder."""
        return self.drop_folder or f"drop/{self.id}"

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """Signs of numbers and cells differ, and columns fit the layout."""
        signs = {
            "separator": written.get("separator") or cls.model_fields["separator"].default,
            "decimal": written.get("decimal") or cls.model_fields["decimal"].default,
            "thousands": written.get("thousands"),
        }
        # Only CSV files have cells; a decimal comma needs another separator, in wide and long ones alike.
        if written.get("format") in (None, "csv"):
            for key, other in (("separator", "decimal"), ("thousands", "decimal"), ("thousands", "separator")):
                if signs[key] and signs[key] == signs[other]:
                    at = key if written.get(key) is not None else other
                    yield Inconsistency(
                        (at,), f"another sign than that of {other if at == key else key}", f"{signs[key]!r}"
                    )
        columns = mapping(written, "columns")
        for key in ("point", "value", "text") if written.get("layout") == "wide" else ("points",):
            if columns.get(key) is not None:
                layout = "wide" if written.get("layout") == "wide" else "long"
                yield Inconsistency(
                    ("columns", key),
                    f"with layout {layout}: {'time, points' if layout == 'wide' else 'time, point, value, text'}",
                    f"the key {key!r}",
                    at_key=True,
                )


class ViessmannSource(SettingsModel):
    """All devices of one account in Viessmann's cloud, which counts every request of the account."""

    id: Identifier = Field(description="Id of the source: a to z, 0 to 9 and _.")
    kind: Literal["viessmann"] = "viessmann"
    client_id: Secret = Field(
        exclude=True, description="Client ID made on app.developer.viessmann-climatesolutions.com, as ${NAME}."
    )
    username: Text | None = Field(None, description="E-mail address of the account.")
    password: Secret | None = Field(None, exclude=True, description="Password of the account, as ${NAME}.")
    refresh_token: Secret | None = Field(
        None, exclude=True, description="Refresh token of a login in the browser instead of a password, as ${NAME}."
    )
    redirect_uri: Text = Field(
        "vicare://oauth-callback/everest", description="Redirect URI that the client ID was made with."
    )
    base_url: Url = Field(
        "https://api.viessmann-climatesolutions.com/iot/v2", description="Address of the cloud's interface."
    )
    login_url: Url = Field(
        "https://iam.viessmann-climatesolutions.com/idp/v3", description="Address of the cloud's login."
    )
    gateway: Text | None = Field(
        None, description="Serial number of the gateway whose points have no prefix; the first one without it."
    )
    whole_gateway: Flag = Field(
        True, description="One request brings all devices of a gateway; false: one request for each device."
    )
    every: Annotated[Duration, between("1min", "1d")] = Field(
        timedelta(minutes=5), description="How often the cloud is asked, 1min to 1d."
    )
    timeout: Annotated[Duration, between("1s", "2min")] = Field(
        timedelta(seconds=60), description="How long one poll may take, with its login."
    )
    calls_per_day: Annotated[int, Field(strict=True), within(1, 1_000_000)] = Field(
        1450, description="Requests that the account may make in 24 hours; 3000 with the Advanced plan."
    )
    calls_per_10min: Annotated[int, Field(strict=True), within(1, 1_000_000)] = Field(
        120, description="Requests that the account may make in 10 minutes."
    )
    reserve: Annotated[int, Field(strict=True), within(0, 1_000_000)] = Field(
        100, description="Requests of the day that are left to others, such as the app."
    )
    time_zone: TimeZone | None = Field(
        None, description="Time zone of the days in the device's energy tables; the site's without it."
    )

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """One way to log in, and a pace that the budget bears."""
        given = {key for key in ("username", "password", "refresh_token") if written.get(key) is not None}
        if not given:
            yield Inconsistency(("username",), "username and password, or refresh_token", "nothing", at_key=True)
        elif len(given & {"username", "password"}) == 1:
            (absent,) = {"username", "password"} - given
            (present,) = {"username", "password"} & given
            yield Inconsistency(
                (absent,),
                f"both username and password, or only refresh_token; {present} is given",
                "nothing",
                at_key=True,
            )

        def number(key: str) -> int:
            value = written.get(key)
            return value if type(value) is int else cls.model_fields[key].default

        left = number("calls_per_day") - number("reserve")
        if left <= _CALLS_BESIDES_POLLS:
            yield Inconsistency(
                ("reserve",),
                f"more than {_CALLS_BESIDES_POLLS} below calls_per_day ({number('calls_per_day')})",
                f"{number('reserve')}",
            )
            return
        every = read_duration(written.get("every", cls.model_fields["every"].default))
        needed = timedelta(days=1) / (left - _CALLS_BESIDES_POLLS)
        if every is not None and every < needed:
            pace = timedelta(seconds=math.ceil(needed.total_seconds()))
            yield Inconsistency(
                ("every",),
                f"{format_duration(pace)} or longer, because of calls_per_day, reserve and the logins",
                format_duration(every),
            )


_CALLS_BESIDES_POLLS = 50
"""Requests of a day for logins: two an hour when nothing can be refreshed."""


def _host(value: str) -> str:
    """A host name or an IP address, without a protocol, a port or a path."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*", value, re.ASCII):
        found = re.fullmatch(r"(?:[a-z]+://)?([A-Za-z0-9][A-Za-z0-9._-]*)(?::[0-9]+)?(?:/.*)?", value, re.ASCII)
        raise PydanticCustomError(
            "host",
            "allowed: {allowed}",
            {
                "allowed": "a host name or an IP address such as 192.168.1.20",
                "nearest": found[1] if found and "@" not in value else "",
            },
        )
    return value


Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(strict=True), within(1, 65535)]


class LuxtronikSource(SettingsModel):
    """A Luxtronik controller in the local network, polled over its own protocol; it is only read."""

    id: Identifier = Field(description="Id of the source: a to z, 0 to 9 and _.")
    kind: Literal["luxtronik"] = "luxtronik"
    host: Host = Field(description="Host name or IP address of the controller.")
    port: Port = Field(8889, description="TCP port: 8889; 8888 with firmware before 1.76.")
    every: Annotated[Duration, between("10s", "1h")] = Field(
        timedelta(seconds=30), description="How often all values are read."
    )
    timeout: Annotated[Duration, between("1s", "60s")] = Field(
        timedelta(seconds=10), description="How long one poll may take in all."
    )


class ShellySource(SettingsModel):
    """A Shelly energy meter of the second or a later generation in the local network."""

    id: Identifier = Field(description="Id of the source: a to z, 0 to 9 and _.")
    kind: Literal["shelly"] = "shelly"
    host: Host = Field(description="Host name or IP address of the meter.")
    port: Port = Field(80, description="TCP port of its HTTP server.")
    password: Secret | None = Field(
        None, exclude=True, description="Password of its user admin, where it asks for one, as ${NAME}."
    )
    every: Annotated[Duration, between("1s", "1h")] = Field(
        timedelta(seconds=10), description="How often the meter is read."
    )
    timeout: Annotated[Duration, between("1s", "60s")] = Field(
        timedelta(seconds=5), description="How long one poll may take in all."
    )


def _list(written: Mapping[str, Any], key: str) -> list[Any]:
    entries = written.get(key)
    return entries if isinstance(entries, list) else []


class ModbusSource(SettingsModel):
    """One unit that speaks Modbus, over TCP or a serial line. Sources at the same address or port share the line."""

    id: Identifier = Field(description="Id of the source: a to z, 0 to 9 and _.")
    kind: Literal["modbus"] = "modbus"
    map: Text = Field(
        description="What its registers mean: a shipped register map, or the path of a YAML file, relative to this "
        "settings file."
    )
    connection: Literal["tcp", "rtu_over_tcp", "rtu"] = Field(
        "tcp", description="tcp; rtu: a serial line; rtu_over_tcp: a serial line behind a network adapter."
    )
    host: Text | None = Field(None, description="Host name or IP address (not for rtu).")
    port: Annotated[int, Field(strict=True), within(1, 65535)] | None = Field(
        None, description="TCP port; the map's own (mostly 502) without it."
    )
    serial_port: Text | None = Field(None, description="Serial port, such as /dev/ttyUSB0 (rtu).")
    baud_rate: Annotated[int, Field(strict=True), within(300, 1_000_000)] = Field(
        9600, description="Bits per second of the serial line (rtu)."
    )
    parity: Literal["none", "even", "odd"] = Field("none", description="Parity of the serial line (rtu).")
    stop_bits: Annotated[Literal[1, 2], NO_FLAG] = Field(1, description="Stop bits of the serial line (rtu).")
    data_bits: Annotated[Literal[7, 8], NO_FLAG] = Field(8, description="Data bits of the serial line (rtu).")
    unit: Annotated[int, Field(strict=True), within(0, 255)] | None = Field(
        None, description="Unit number of the device on the line; the map's own (mostly 1) without it."
    )
    model: Text | None = Field(None, description="Model, one of the map's; without it the device is asked.")
    instance: Annotated[int, Field(strict=True), within(1, 100)] = Field(
        1, description="Which of several heat pumps behind one controller, 1 is the first."
    )
    word_order: Literal["big", "little"] | None = Field(
        None, description="Which word of a long number comes first, where it differs from the map: big is the high one."
    )
    skip: tuple[Text, ...] = Field((), description="Groups and registers of the map that are not read.")
    most_words: Annotated[int, Field(strict=True), within(1, 125)] | None = Field(
        None, description="Registers that one request may ask for, 1 to 125; the map's own limit without it."
    )
    most_gap: Annotated[int, Field(strict=True), within(0, 125)] | None = Field(
        None, description="Unneeded registers read to save a request; the map's own limit without it."
    )
    every: Annotated[Duration, between("2s", "1h")] = Field(
        timedelta(seconds=10), description="How often the fast registers are read."
    )
    slow_every: Annotated[Duration, between("10s", "1d")] = Field(
        timedelta(minutes=5), description="How often the slow registers are read (set-points, hours)."
    )
    timeout: Annotated[Duration, between("1s", "5min")] = Field(
        timedelta(seconds=10), description="How long one poll may take, of all its requests together."
    )
    answer_timeout: Annotated[Duration, between("100ms", "1min")] = Field(
        timedelta(seconds=3), description="How long one answer may take."
    )
    pause: Annotated[Duration, between("0s", "5s")] = Field(
        timedelta(0), description="Silence before each request, for slow gateways."
    )

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """A network has a host, a serial line has a port, and a map that is no file is a shipped one."""
        connection = written.get("connection", "tcp")
        if connection in ("tcp", "rtu_over_tcp", "rtu"):
            serial = ("serial_port", "baud_rate", "parity", "stop_bits", "data_bits")
            network = ("host", "port")
            needed, other = ("serial_port", network) if connection == "rtu" else ("host", serial)
            if written.get(needed) is None:
                yield Inconsistency((needed,), f"{cls.model_fields[needed].description}", "nothing", at_key=True)
            for key in other:
                if written.get(key) is not None:
                    fitting = serial if connection == "rtu" else network
                    yield Inconsistency(
                        (key,), f"with connection {connection}: {', '.join(fitting)}", f"the key {key!r}", at_key=True
                    )
        name = written.get("map")
        if isinstance(name, str) and not name.endswith((".yaml", ".yml")) and name not in shipped_maps():
            yield Inconsistency(
                ("map",),
                f"{', '.join(shipped_maps())}, or the path of a YAML file",
                nearest=nearest_word(name, shipped_maps()),
            )


def _topic_filter(value: str) -> str:
    try:
        check_filter(value)
    except ValueError as error:
        raise PydanticCustomError("topic", "allowed: {allowed}", {"allowed": str(error)}) from None
    return value


def _topic(value: str) -> str:
    if "+" in value or "#" in value:
        raise PydanticCustomError(
            "topic", "allowed: {allowed}", {"allowed": "one topic, without the wildcards + and #"}
        )
    return _topic_filter(value)


def _json_path(value: str) -> str:
    try:
        parse_json_path(value)
    except ValueError as error:
        raise PydanticCustomError("json_path", "allowed: {allowed}", {"allowed": str(error)}) from None
    return value


def _expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        allowed = f"a regular expression that can be read ({error.msg})"
        raise PydanticCustomError("pattern", "allowed: {allowed}", {"allowed": allowed}) from None
    return value


def _message_time_format(value: str) -> str:
    return value if value == "auto" else _time_format(value)


TopicFilter = Annotated[str, AfterValidator(_topic_filter)]
Topic = Annotated[str, AfterValidator(_topic)]
JsonPathText = Annotated[str, AfterValidator(_json_path)]


class MqttTopic(SettingsModel):
    """Topics that are read, and what becomes of them. The first entry that fits a topic takes it."""

    topic: TopicFilter = Field(description="Topics; + stands for one level, # for all that follow.")
    pattern: Annotated[Text, AfterValidator(_expression)] | None = Field(
        None, description="Regular expression that the whole topic must match besides."
    )
    point: Text = Field(
        "{topic}",
        description="Name of the point: {topic}, {path} of a value in JSON, {1} for the first wildcard or group, "
        "{name} for a named group.",
    )
    qos: Literal[0, 1] = Field(1, description="1: what is sent meanwhile waits at the broker; 0: it does not.")
    retained: Flag = Field(True, description="Take retained messages as what holds now.")
    payload: Literal["auto", "number", "text", "json"] = Field(
        "auto", description="What messages must be; auto: numbers, words or JSON, as they come."
    )
    values: tuple[JsonPathText, ...] | None = Field(
        None, min_length=1, description="Paths of the values of a JSON message; every value without it."
    )
    time: JsonPathText | None = Field(None, description="Path of the message's own time; the time of arrival without.")
    time_topic: Text | None = Field(
        None, description="Last level of the topic beside it that says when it was so, such as last_updated."
    )
    time_format: Annotated[str, AfterValidator(_message_time_format)] = Field(
        "auto",
        description="auto (ISO or unix time), iso, unix_s, unix_ms, unix_us, unix_ns or a pattern.",
    )
    time_zone: TimeZone = Field("UTC", description="Time zone of times that name none.")
    missing: tuple[str, ...] = Field(
        ("", "-", "unavailable", "unknown", "None", "null"), description="Words that mean that there is no reading."
    )

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """The point names groups that there are, and there is one way to tell the time."""
        topic, pattern, point = (written.get(key, default) for key, default in _TOPIC_DEFAULTS.items())
        try:
            if isinstance(topic, str) and isinstance(point, str) and (pattern is None or isinstance(pattern, str)):
                check_filter(topic)
                re.compile(pattern or "")
                TopicPattern(topic, pattern, point)
        except re.error:
            pass
        except ValueError as error:
            if written.get("point") is not None:
                yield Inconsistency(("point",), str(error))
        if written.get("time") is not None and written.get("time_topic") is not None:
            yield Inconsistency(("time_topic",), "either time or time_topic", "both", at_key=True)
        beside = written.get("time_topic")
        if isinstance(beside, str) and re.search(r"[+#/]", beside):
            yield Inconsistency(("time_topic",), "one level of a topic, without +, # and /")
        elif beside is not None and isinstance(topic, str) and topic.endswith(("#", f"/{beside}")):
            yield Inconsistency(("topic",), "with time_topic a last level of its own, such as house/+/state")
        if written.get("payload") in ("number", "text"):
            for key in ("values", "time"):
                if written.get(key) is not None:
                    yield Inconsistency((key,), "with payload auto or json", f"the key {key!r}", at_key=True)


_TOPIC_DEFAULTS: dict[str, str | None] = {"topic": None, "pattern": None, "point": "{topic}"}


class MqttAvailability(SettingsModel):
    """The topic in which a device, or the broker in its stead (last will), says whether it is there."""

    topic: Topic = Field(description="The topic.")
    online: Text = Field("online", description="What it says when the device is there.")
    offline: Text = Field("offline", description="What it says when the device is away.")
    covers: tuple[TopicFilter, ...] | None = Field(
        None, min_length=1, description="Topics of this device; all beside and below the topic without it."
    )


class MqttSource(SettingsModel):
    """Messages of an MQTT broker. What is sent while nobody listens waits at the broker (QoS 1, durable session)."""

    id: Identifier = Field(description="Id of the source: a to z, 0 to 9 and _.")
    kind: Literal["mqtt"] = "mqtt"
    host: Host = Field(description="Host name or IP address of the broker.")
    port: Port | None = Field(None, description="TCP port of the broker; 1883, and 8883 with TLS, without it.")
    version: Literal["5", "3.1.1"] = Field("5", description="MQTT version that the broker speaks, in quotes.")
    username: Text | None = Field(None, description="User name.")
    password: Secret | None = Field(None, exclude=True, description="Password, as ${NAME}.")
    tls: Flag = Field(False, description="Encrypt, and let nobody stand in for the broker.")
    ca_file: Text | None = Field(
        None,
        description="Certificate (PEM) of the authority that the broker's certificate is from; the system's without.",
    )
    certificate_file: Text | None = Field(None, description="Certificate (PEM) to show to the broker.")
    key_file: Text | None = Field(None, description="Private key (PEM) of that certificate.")
    client_id: Text | None = Field(
        None, description="Name by which the broker keeps the session, nobody else's; hp_pipeline_<id> without it."
    )
    session_expiry: Annotated[Duration, between("0s", "366d")] = Field(
        timedelta(days=7),
        description="How long the broker keeps what was sent meanwhile (3.1.1: as long as it likes); 0s: not at all.",
    )
    topics: tuple[MqttTopic, ...] = Field(min_length=1, description="Topics that are read.")
    availability: tuple[MqttAvailability, ...] = Field((), description="How devices say whether they are there.")
    gather: Annotated[Duration, between("0s", "1min")] = Field(
        timedelta(seconds=1), description="How long messages are gathered before they are stored together."
    )
    silence: Annotated[Duration, between("1s", "7d")] = Field(
        timedelta(minutes=15), description="How long nothing may come before it counts as a failure."
    )
    keep_alive: Annotated[Duration, between("1s", "1h")] = Field(
        timedelta(seconds=30), description="How often broker and connection are checked."
    )
    timeout: Annotated[Duration, between("1s", "2min")] = Field(
        timedelta(seconds=10), description="How long connecting may take."
    )

    @property
    def client(self) -> str:
        """The name by which the broker keeps the session."""
        return self.client_id or f"hp_pipeline_{self.id}"

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """Credentials and certificates that belong together."""
        for index, entry in mappings(written, "topics"):
            for item in MqttTopic.inconsistencies(entry):
                yield item.below("topics", index)
        if written.get("password") is not None and written.get("username") is None:
            yield Inconsistency(("username",), "username with password", "nothing", at_key=True)
        for key, other in (("certificate_file", "key_file"), ("key_file", "certificate_file")):
            if written.get(key) is not None and written.get(other) is None:
                yield Inconsistency((other,), f"{other} with {key}", "nothing", at_key=True)
        for key in ("ca_file", "certificate_file", "key_file"):
            if written.get(key) is not None and written.get("tls") is not True:
                yield Inconsistency((key,), "only with tls: true", f"the key {key!r}", at_key=True)


Source = Annotated[
    InfluxdbSource | FilesSource | ViessmannSource | LuxtronikSource | ShellySource | ModbusSource | MqttSource,
    Field(discriminator="kind"),
]
"""Any source. Its key `kind` says which one."""

SOURCE_KINDS: dict[str, type[SettingsModel]] = {
    "files": FilesSource,
    "influxdb": InfluxdbSource,
    "luxtronik": LuxtronikSource,
    "modbus": ModbusSource,
    "mqtt": MqttSource,
    "shelly": ShellySource,
    "viessmann": ViessmannSource,
}
"""The models of the kinds of sources."""

SECRET_KEYS = frozenset(
    name for model in SOURCE_KINDS.values() for name, field in model.model_fields.items() if field.exclude
)
"""The keys whose values are secrets: nothing below them is ever shown."""
