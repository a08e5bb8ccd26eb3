"""Where readings come from. Each kind of source is a model of its own, chosen by the key `kind`.

A further kind is a further class with its literal `kind`, added to `Source`: the loader, the messages and the
schema follow from it.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from hp_pipeline.settings.durations import Duration, between
from hp_pipeline.settings.model import (
    Flag,
    Identifier,
    Inconsistency,
    Secret,
    SettingsModel,
    Text,
    TimeZone,
    mapping,
    nearest_word,
)


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
    version: Literal[1, 2, 3] = Field(description="Major version of the InfluxDB: 1, 2 or 3.")
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


def _list(written: Mapping[str, Any], key: str) -> list[Any]:
    entries = written.get(key)
    return entries if isinstance(entries, list) else []


Source = Annotated[InfluxdbSource | FilesSource, Field(discriminator="kind")]
"""Any source. Its key `kind` says which one."""

SOURCE_KINDS: dict[str, type[SettingsModel]] = {"files": FilesSource, "influxdb": InfluxdbSource}
"""The models of the kinds of sources."""

SECRET_KEYS = frozenset(
    name for model in SOURCE_KINDS.values() for name, field in model.model_fields.items() if field.exclude
)
"""The keys whose values are secrets: nothing below them is ever shown."""
