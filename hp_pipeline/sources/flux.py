"""Flux through `influxdb-client`: how InfluxDB 2 is read.

The answer is annotated CSV: sections of tables with equal columns, each with the types above its header, and rows that
repeat the tags. https://docs.influxdata.com/influxdb/cloud/reference/syntax/annotated-csv/
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException

from hp_pipeline.settings.sources import InfluxdbSource
from hp_pipeline.sources.errors import SourceError
from hp_pipeline.sources.influxql import is_pattern, pattern, rfc3339
from hp_pipeline.vocabulary.points import Selector, series_point

_BLOCK_BYTES = 4 << 20
_RETRIES = 3
_RETRIED = (429, 500, 502, 503, 504)
_NUMBERS = ("double", "long", "unsignedLong")
_OWN_COLUMNS = frozenset({"", "result", "table", "_start", "_stop", "_time", "_value", "_measurement", "_field"})


def literal(text: str) -> str:
    """A text in a Flux script; `${` would be evaluated."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


class TableError(Exception):
    """An error that the server reports in the middle of its answer."""


@dataclass
class _Section:
    """Columns of the tables that follow."""

    names: list[str]
    types: list[str]
    defaults: list[str]


def parse_annotated_csv(blocks: Iterable[bytes]) -> Iterator[pl.DataFrame]:
    """Raw readings (`point`, `time`, `value`, `text`) of annotated CSV, a frame for each piece of a section.

    Args:
        blocks: the bytes in any pieces.

    Raises:
        TableError: the server put an error into its answer.
        ValueError: this is no annotated CSV.
    """
    section: _Section | None = None
    rest = b""
    for block, is_last in _with_last(blocks):
        rest += block
        end = len(rest) if is_last else _end_of_records(rest)
        whole, rest = rest[:end], rest[end:]
        pieces = _sections(whole)
        for index, piece in enumerate(pieces):
            if piece.startswith(b"#"):
                header = _header(piece)
                if header is None:
                    if not is_last and index == len(pieces) - 1:
                        rest = piece + rest
                        break
                    raise ValueError("a section without a header")
                section, piece = header  # noqa: PLW2901 - what is left of it are its rows
            elif section is None:
                section, piece = _plain_error(piece)  # noqa: PLW2901
            if piece.strip():
                yield _readings(section, piece)


def _with_last(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for block in blocks:
        yield block, False
    yield b"", True


def _end_of_records(text: bytes) -> int:
    """Behind the last line break that is not inside of quotes."""
    end = text.rfind(b"\n") + 1
    while end and text.count(b'"', 0, end) % 2:
        end = text.rfind(b"\n", 0, end - 1) + 1
    return end


def _sections(text: bytes) -> list[bytes]:
    """The text cut at the empty lines that are not inside of quotes."""
    pieces = []
    begin = at = quotes = 0
    for gap in re.finditer(rb"(?:^|(?<=\n))\r?\n", text):
        quotes += text.count(b'"', at, gap.start())
        at = gap.start()
        if quotes % 2 == 0:
            pieces.append(text[begin : gap.start()])
            begin = gap.end()
    pieces.append(text[begin:])
    return [piece for piece in pieces if piece.strip()]


def _header(piece: bytes) -> tuple[_Section, bytes] | None:
    """The section that annotations and header describe, and the rows behind them; None when they are not complete."""
    annotations: dict[str, list[str]] = {}
    while True:
        line, line_break, piece = piece.partition(b"\n")
        if not line_break:
            return None
        cells = next(csv.reader([line.decode("utf-8").rstrip("\r")]))
        if not cells[0].startswith("#"):
            break
        annotations[cells[0]] = cells
    if "#datatype" not in annotations:
        raise ValueError("no types above a header")
    _raise_if_error(cells, piece)
    types = annotations["#datatype"]
    if not len(types) == len(cells):
        raise ValueError("types and header differ in length")
    defaults = annotations.get("#default", [""] * len(cells))
    return _Section(cells, types, [value if index else "" for index, value in enumerate(defaults)]), piece


def _raise_if_error(names: Sequence[str], rows: bytes) -> None:
    if "error" in names and "_value" not in names:
        row = next(csv.reader([rows.decode("utf-8", errors="replace").strip()]), [])
        place = list(names).index("error")
        raise TableError(row[place] if len(row) > place else "an error without words")


def _plain_error(piece: bytes) -> tuple[_Section, bytes]:
    """An error may come without annotations."""
    header, _, rows = piece.partition(b"\n")
    _raise_if_error(next(csv.reader([header.decode("utf-8", errors="replace").rstrip("\r")]), []), rows)
    raise ValueError("no annotated CSV")


def _readings(section: _Section, rows: bytes) -> pl.DataFrame:
    names = section.names
    if not {"_time", "_value", "_field", "_measurement"} <= set(names):
        raise ValueError(f"columns of no series: {', '.join(names)}")
    cells = pl.read_csv(rows, has_header=False, infer_schema=False, new_columns=[f"c{i}" for i in range(len(names))])
    if cells.width != len(names):
        raise ValueError("a row of another length than its header")
    defaults = [pl.col(f"c{index}").fill_null(default) for index, default in enumerate(section.defaults) if default]
    cells = cells.with_columns(defaults)
    column = {name: f"c{index}" for index, name in enumerate(names)}
    tags = {name: place for name, place in column.items() if name not in _OWN_COLUMNS}
    identity = [column["_measurement"], column["_field"], *tags.values()]
    series = cells.select(identity).unique()
    points = [
        series_point(measurement or "", {tag: word for tag, word in zip(tags, words, strict=True) if word}, name or "")
        for measurement, name, *words in series.iter_rows()
    ]
    is_number = section.types[names.index("_value")] in _NUMBERS
    time = pl.col(column["_time"]).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us")
    value = pl.col(column["_value"])
    # What says that it is a number and cannot be read as one is not a number: it is turned away with a report.
    number = pl.when(value.is_not_null()).then(value.cast(pl.Float64, strict=False).fill_null(float("nan")))
    return (
        cells.join(series.with_columns(point=pl.Series(points)), on=identity, nulls_equal=True, maintain_order="left")
        .with_columns(
            time=time.dt.replace_time_zone("UTC"),
            value=number if is_number else pl.lit(None, pl.Float64),
            text=pl.lit(None, pl.String) if is_number else value,
        )
        .select("point", "time", "value", "text")
    )


class Flux:
    """A connection to `/api/v2/query`.

    Args:
        source: version 2.
        pause: seconds before the first repetition after an overload.
    """

    def __init__(self, source: InfluxdbSource, pause: float = 0.5) -> None:
        self.source = source
        retry = urllib3.Retry(
            total=_RETRIES,
            status_forcelist=_RETRIED,
            allowed_methods=None,
            backoff_factor=pause,
            backoff_max=10,
            raise_on_status=False,
            read=0,
            redirect=3,
        )
        self._client = InfluxDBClient(
            url=source.url,
            token=source.token.get_secret_value() if source.token is not None else "",
            org=source.org or "",
            timeout=int(source.timeout.total_seconds() * 1000),
            enable_gzip=True,
            retries=retry,
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()  # type: ignore[no-untyped-call]

    def prepare(self, conditions: Sequence[Selector]) -> str:
        """The filter for these conditions."""
        tests = sorted({_test(condition) for condition in conditions})
        return f"  |> filter(fn: (r) => {' or '.join(tests)})\n" if "(true)" not in tests else ""

    def readings(
        self, conditions: Sequence[Selector], prepared: str, begin: datetime, end: datetime
    ) -> Iterator[pl.DataFrame]:
        """Raw readings in [begin, end), in parts of bounded size."""
        yield from self._run(self._script(begin, end) + prepared + _WITHOUT_RANGE)

    def last_readings(self, begin: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        """The last reading of every series in [begin, end)."""
        yield from self._run(self._script(begin, end) + "  |> last()\n" + _WITHOUT_RANGE)

    def _script(self, begin: datetime, end: datetime) -> str:
        bucket = literal(self.source.bucket or "")
        return f"from(bucket: {bucket})\n  |> range(start: {rfc3339(begin)}, stop: {rfc3339(end)})\n"

    def _run(self, script: str) -> Iterator[pl.DataFrame]:
        try:
            response = self._client.query_api().query_raw(script)
            try:
                yield from parse_annotated_csv(response.stream(_BLOCK_BYTES))
            finally:
                response.release_conn()
        except ApiException as error:
            raise self._refused(error) from None
        except TableError as error:
            raise self._error(
                f"{self.source.url} broke off its answer ({error})", "It is tried again at the next beat"
            ) from error
        except (ValueError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
            raise self._not_an_influxdb() from error
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> SourceError:
        cause: object = getattr(error, "reason", None) or error
        # A refused connection is one kind of timeout to urllib3, so it comes first.
        if isinstance(cause, urllib3.exceptions.NewConnectionError):
            return self._error(
                f"no connection to {self.source.url} ({str(cause).rpartition(': ')[2]})",
                "Check `url:`, whether the InfluxDB runs, and the network between here and there",
            )
        if isinstance(cause, urllib3.exceptions.TimeoutError):
            return self._error(
                f"{self.source.url} did not answer within {self.source.timeout.total_seconds():g} s",
                "Check whether the InfluxDB is overloaded; raise `timeout:`",
            )
        return self._error(
            f"the connection to {self.source.url} broke off ({type(cause).__name__})",
            "It is tried again at the next beat; check the network if it happens often",
        )

    def _refused(self, error: ApiException) -> SourceError:
        status, (code, message) = error.status, _code_and_message(error.body)
        said = f"{status}: {message}" if message else str(status)
        if status == 403 and "flux" in message.lower() and "disabled" in message.lower():
            return self._error(
                f"Flux is switched off at {self.source.url}",
                "Set `flux-enabled = true` in its configuration, or use `version: 1`",
            )
        if status in (401, 403):
            return self._error(
                f"{self.source.url} refuses the token ({said})",
                f"Check the token's environment variable, and that the token may read the bucket "
                f"{self.source.bucket!r} of {self.source.org!r}",
            )
        if "could not find bucket" in message:
            return self._error(
                f"{self.source.url} knows no bucket {self.source.bucket!r}", "Check `bucket:` (and `org:`)"
            )
        if status == 404 and "organization" in message:
            return self._error(f"{self.source.url} knows no organisation {self.source.org!r}", "Check `org:`")
        if status in (404, 405) or not code:
            if status in _RETRIED:
                return self._overloaded(said)
            return self._error(
                f"what answers at {self.source.url} is no InfluxDB 2 ({status})",
                "Check `url:` and `version:` (InfluxDB 1 and 3 have no Flux)",
            )
        if status in _RETRIED:
            return self._overloaded(said)
        return self._error(
            f"{self.source.url} refuses the query ({said})", "Check `version:` and the regular expressions"
        )

    def _overloaded(self, said: str) -> SourceError:
        return self._error(
            f"{self.source.url} cannot answer now ({said})",
            "It is tried again at the next beat; look into the log of the InfluxDB if it stays so",
        )

    def _not_an_influxdb(self) -> SourceError:
        return self._error(f"what answers at {self.source.url} is no InfluxDB 2", "Check `url:` and `version:`")

    def _error(self, what: str, remedy: str) -> SourceError:
        if self.source.token is not None and self.source.token.get_secret_value():
            what = what.replace(self.source.token.get_secret_value(), "…")
        return SourceError(self.source.id, what, remedy)


_WITHOUT_RANGE = '  |> drop(columns: ["_start", "_stop"])\n'
"""Every row would repeat the range that was asked for."""


def _code_and_message(body: Any) -> tuple[str, str]:
    text = body.decode("utf-8", errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        document = json.loads(text)
    except ValueError:
        return "", text.partition("\n")[0][:200]
    if not isinstance(document, dict):
        return "", text[:200]
    return str(document.get("code", "")), str(document.get("message") or document.get("error") or "")[:200]


def _test(condition: Selector) -> str:
    tests = []
    if condition.measurement is not None:
        tests.append(_comparison("_measurement", condition.measurement))
    if condition.field is not None:
        tests.append(_comparison("_field", condition.field))
    tests += [_comparison(tag, word) for tag, word in sorted(condition.tags.items())]
    return f"({' and '.join(tests) or 'true'})"


def _comparison(column: str, word: str) -> str:
    operator = f"=~ {pattern(word)}" if is_pattern(word) else f"== {literal(word)}"
    return f"r[{literal(column)}] {operator}"
