"""InfluxQL over `/query`: how InfluxDB 1 is read, and InfluxDB 3, which has no Flux.

The answer is asked for as JSON in chunks, one document per line, because it says the type of every value and the
tags of every series; CSV says neither, and answers an unknown database with an empty body.

https://docs.influxdata.com/influxdb/v1/guides/query_data/ , https://docs.influxdata.com/influxdb/v1/tools/api/
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import polars as pl

from hp_pipeline.settings.sources import InfluxdbSource
from hp_pipeline.sources.errors import SourceError
from hp_pipeline.vocabulary.points import Selector, series_point

_CHUNK_ROWS = 10_000
_PART_ROWS = 250_000
_STATEMENTS_PER_REQUEST = 50
_RETRIES = 3
_RETRIED = frozenset({429, 500, 502, 503, 504})
_NUMBERS = ("float", "integer", "unsigned")

Fields = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Measurement → field → the types it has (several when it changed its type in the course of time)."""


class PatientTransport(httpx.HTTPTransport):
    """Asks again, a few times and ever later, when there is no connection or the server is overloaded."""

    def __init__(self, pause: float = 0.5) -> None:
        super().__init__(retries=_RETRIES)
        self.pause = pause

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request, repeated after 429 and 5xx."""
        for attempt in range(_RETRIES):
            response = super().handle_request(request)
            if response.status_code not in _RETRIED:
                return response
            response.close()
            stated = response.headers.get("Retry-After", "")
            time.sleep(min(float(stated), 10.0) if stated.isdecimal() else self.pause * 2**attempt)
        return super().handle_request(request)


def identifier(name: str) -> str:
    """A measurement, field or tag in a statement."""
    return '"' + _escaped(name).replace('"', '\\"') + '"'


def literal(text: str) -> str:
    """A text in a statement."""
    return "'" + _escaped(text).replace("'", "\\'") + "'"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def is_pattern(word: str) -> bool:
    """Whether a selector's word is a regular expression, written `/…/`."""
    return len(word) > 2 and word.startswith("/") and word.endswith("/")


def pattern(word: str) -> str:
    """A regular expression `/…/` with the slashes inside of it escaped."""
    inside = re.sub(r"(\\.)|/", lambda match: match[1] or r"\/", word[1:-1], flags=re.DOTALL)
    return f"/{inside}/"


def rfc3339(moment: datetime) -> str:
    """A time in UTC with microseconds, as both query languages write it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class _Column:
    field: str
    is_number: bool


@dataclass
class _Statement:
    text: str
    columns: list[_Column]


@dataclass
class _Part:
    """Readings that are being collected."""

    points: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)

    def add(self, point: str, stamps: Sequence[int], cells: Sequence[Any], *, is_number: bool) -> None:
        if None in cells:
            present = [(stamp, cell) for stamp, cell in zip(stamps, cells, strict=True) if cell is not None]
            stamps, cells = [stamp for stamp, _ in present], [cell for _, cell in present]
        count = len(cells)
        self.points += [point] * count
        self.times += stamps
        if is_number:
            self.values += map(float, cells)
            self.texts += [None] * count
        else:
            self.values += [None] * count
            self.texts += [str(cell).lower() if isinstance(cell, bool) else str(cell) for cell in cells]

    def __len__(self) -> int:
        return len(self.points)

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "point": self.points,
                "time": pl.Series(self.times, dtype=pl.Int64) // 1000,
                "value": pl.Series(self.values, dtype=pl.Float64),
                "text": pl.Series(self.texts, dtype=pl.String),
            },
            schema_overrides={"point": pl.String},
        ).select(
            "point",
            pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "value",
            "text",
        )


class InfluxQl:
    """A connection to `/query`.

    Args:
        source: version 1 or 3.
        pause: seconds before the first repetition after an overload.
    """

    def __init__(self, source: InfluxdbSource, pause: float = 0.5) -> None:
        self.source = source
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        auth = None
        if source.token is not None:
            headers["Authorization"] = f"Bearer {source.token.get_secret_value()}"
        elif source.username is not None and source.password is not None:
            auth = httpx.BasicAuth(source.username, source.password.get_secret_value())
        self._client = httpx.Client(
            base_url=source.url,
            headers=headers,
            auth=auth,
            timeout=source.timeout.total_seconds(),
            transport=PatientTransport(pause),
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def prepare(self, conditions: Sequence[Selector]) -> Fields:
        """The measurements and fields that can match; asked once for many pages.

        Which fields a selector means is decided here and not by the server, so that a field is asked for with every
        type it ever had: a plain `SELECT` silently drops all but one of them.
        """
        found: dict[str, dict[str, set[str]]] = {}
        for series in self._series("SHOW FIELD KEYS"):
            for name, kind in series.get("values", ()):
                if any(_may_mean(condition, series["name"], name) for condition in conditions):
                    found.setdefault(series["name"], {}).setdefault(name, set()).add(kind)
        return {name: {key: _types(kinds) for key, kinds in fields.items()} for name, fields in found.items()}

    def readings(
        self, conditions: Sequence[Selector], prepared: Fields, begin: datetime, end: datetime
    ) -> Iterator[pl.DataFrame]:
        """Raw readings in [begin, end), in parts of bounded size; possibly of more series than were asked for."""
        statements = [_select(measurement, fields, conditions, begin, end) for measurement, fields in prepared.items()]
        for index in range(0, len(statements), _STATEMENTS_PER_REQUEST):
            yield from self._run(statements[index : index + _STATEMENTS_PER_REQUEST])

    def last_readings(self, begin: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        """The last reading of every series in [begin, end)."""
        prepared = self.prepare([Selector()])
        statements = [
            _last(measurement, name, kind, begin, end)
            for measurement, fields in prepared.items()
            for name, kinds in fields.items()
            for kind in kinds
        ]
        for index in range(0, len(statements), _STATEMENTS_PER_REQUEST):
            yield from self._run(statements[index : index + _STATEMENTS_PER_REQUEST])

    def _run(self, statements: Sequence[_Statement]) -> Iterator[pl.DataFrame]:
        part = _Part()
        for series in self._series("; ".join(statement.text for statement in statements)):
            values = series.get("values")
            if not values:
                continue
            tags = {key: tag for key, tag in (series.get("tags") or {}).items() if tag}
            stamps, *columns = zip(*values, strict=True)
            for column, cells in zip(statements[series["statement"]].columns, columns, strict=True):
                point = series_point(series["name"], tags, column.field)
                part.add(point, stamps, cells, is_number=column.is_number)
            if len(part) >= _PART_ROWS:
                yield part.frame()
                part = _Part()
        if len(part):
            yield part.frame()

    def _series(self, query: str) -> Iterator[dict[str, Any]]:
        """Every piece of a series in the answer, with the number of its statement under `statement`."""
        parameters = {
            "db": self.source.database or "",
            "q": query,
            "epoch": "ns",
            "chunked": "true",
            "chunk_size": str(_CHUNK_ROWS),
        }
        if self.source.retention_policy:
            parameters["rp"] = self.source.retention_policy
        answered = False
        for document in self._documents(parameters):
            answered = True
            if "error" in document:
                raise self._refused(str(document["error"]))
            for result in document.get("results", ()):
                if "error" in result:
                    raise self._refused(str(result["error"]))
                for series in result.get("series", ()):
                    series["statement"] = result.get("statement_id", 0)
                    yield series
        if not answered:
            raise self._error(
                f"{self.source.url} gave an empty answer for the database {self.source.database!r}",
                "Check that the database exists (`SHOW DATABASES`)",
            )

    def _documents(self, parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        try:
            with self._client.stream("POST", "/query", data=parameters) as response:
                self._check_status(response)
                for line in _lines(response.iter_bytes()):
                    document = json.loads(line)
                    if not isinstance(document, dict) or not {"results", "error"} & document.keys():
                        raise self._not_an_influxdb()
                    yield document
        except ValueError as error:
            raise self._not_an_influxdb() from error
        except httpx.ConnectTimeout as error:
            raise self._timeout() from error
        except httpx.ConnectError as error:
            raise self._error(
                f"no connection to {self.source.url} ({_reason(error)})",
                "Check `url:`, whether the InfluxDB runs, and the network between here and there",
            ) from error
        except httpx.TimeoutException as error:
            raise self._timeout() from error
        except httpx.HTTPError as error:
            raise self._error(
                f"the connection to {self.source.url} broke off ({_reason(error)})",
                "It is tried again at the next beat; check the network if it happens often",
            ) from error

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        message = _message(response.read())
        if status in (401, 403):
            key = "token" if self.source.token is not None else "username and password"
            raise self._error(
                f"{self.source.url} refuses the {key} ({status}{message})",
                f"Check the environment variable of the {key.rsplit(maxsplit=1)[-1]}, and that it may read "
                f"the database {self.source.database!r}",
            )
        if "not found" in message and "database" in message:
            raise self._refused(message.removeprefix(": "))
        if status in (404, 405):
            raise self._not_an_influxdb()
        if status in _RETRIED:
            raise self._error(
                f"{self.source.url} cannot answer now ({status}{message})",
                "It is tried again at the next beat; look into the log of the InfluxDB if it stays so",
            )
        raise self._refused(f"{status}{message}")

    def _refused(self, message: str) -> SourceError:
        if "database not found" in message or "retention policy not found" in message:
            kind = "database" if "database" in message else "retention_policy"
            name = getattr(self.source, kind)
            return self._error(
                f"{self.source.url} knows no {kind.replace('_', ' ')} {name!r}",
                f"Check `{kind}:` (`SHOW DATABASES`, `SHOW RETENTION POLICIES` list what there is)",
            )
        return self._error(
            f"{self.source.url} refuses the query ({message})", "Check `version:` and the regular expressions"
        )

    def _not_an_influxdb(self) -> SourceError:
        return self._error(
            f"what answers at {self.source.url} is no InfluxDB {self.source.version}", "Check `url:` and `version:`"
        )

    def _timeout(self) -> SourceError:
        return self._error(
            f"{self.source.url} did not answer within {self.source.timeout.total_seconds():g} s",
            "Check whether the InfluxDB is overloaded; raise `timeout:`",
        )

    def _error(self, what: str, remedy: str) -> SourceError:
        for secret in (self.source.token, self.source.password):
            if secret is not None and secret.get_secret_value():
                what = what.replace(secret.get_secret_value(), "…")
        return SourceError(self.source.id, what, remedy)


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n") if b"\n" in block else [rest + block]
        yield from (line for line in lines if line.strip())
    if rest.strip():
        yield rest


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _message(body: bytes) -> str:
    """`: <what the server says>`, shortened; empty when it says nothing."""
    text = body.decode("utf-8", errors="replace").strip()
    try:
        document = json.loads(text)
        text = str(document.get("error") or document.get("message") or text)
    except (ValueError, AttributeError):
        text = text.partition("\n")[0]
    return f": {text[:200]}" if text else ""


def _may_mean(condition: Selector, measurement: str, name: str) -> bool:
    if condition.measurement is None and condition.field is None:
        return True
    without_tags = Selector(measurement=condition.measurement, field=condition.field)
    return without_tags.matches(series_point(measurement, {}, name))


def _types(kinds: set[str]) -> tuple[str, ...]:
    """The types to ask for: integers are cast to float where a field was both."""
    numbers = [kind for kind in _NUMBERS if kind in kinds][:1]
    return (*numbers, *sorted(kinds - set(_NUMBERS)))


def _select(
    measurement: str,
    fields: Mapping[str, tuple[str, ...]],
    conditions: Sequence[Selector],
    begin: datetime,
    end: datetime,
) -> _Statement:
    columns = [(name, kind, len(kinds) > 1) for name, kinds in fields.items() for kind in kinds]
    selected = ", ".join(
        f'{identifier(name)}{f"::{kind}" if cast else ""} AS "c{index}"'
        for index, (name, kind, cast) in enumerate(columns)
    )
    applying = [
        condition for condition in conditions if any(_may_mean(condition, measurement, name) for name in fields)
    ]
    tags = {_tag_condition(condition) for condition in applying}
    where = f"{_range(begin, end)}" + (f" AND ({' OR '.join(sorted(tags))})" if "" not in tags else "")
    text = f"SELECT {selected} FROM {identifier(measurement)} WHERE {where} GROUP BY *"
    return _Statement(text, [_Column(name, kind in _NUMBERS) for name, kind, _ in columns])


def _last(measurement: str, name: str, kind: str, begin: datetime, end: datetime) -> _Statement:
    selected = f'last({identifier(name)}::{kind}) AS "c0"'
    text = f"SELECT {selected} FROM {identifier(measurement)} WHERE {_range(begin, end)} GROUP BY *"
    return _Statement(text, [_Column(name, kind in _NUMBERS)])


def _range(begin: datetime, end: datetime) -> str:
    return f"time >= '{rfc3339(begin)}' AND time < '{rfc3339(end)}'"


def _tag_condition(condition: Selector) -> str:
    parts = [
        f"{identifier(tag)} =~ {pattern(word)}" if is_pattern(word) else f"{identifier(tag)} = {literal(word)}"
        for tag, word in sorted(condition.tags.items())
    ]
    return f"({' AND '.join(parts)})" if parts else ""
