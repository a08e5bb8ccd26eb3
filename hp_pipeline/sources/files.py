"""Files of readings: CSV, Parquet and InfluxDB line protocol, long and wide, to frames of readings.

A file is read in batches of bounded size, so that a year of readings does not have to fit into memory. What cannot be
read as a whole is a `FileError` that names the file, the line, the reason and the remedy; single rows that are not
believed are counted in `Rejects`, with line and reason.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import IO, Literal, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from hp_pipeline.settings.sources import FilesSource
from hp_pipeline.sources import line_protocol
from hp_pipeline.sources.file_times import NOT_UNDERSTOOD, TimeReader, guess_format
from hp_pipeline.sources.readings import (
    Rejects,
    concatenated,
    normalise,
)

Format = Literal["csv", "parquet", "line_protocol"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".lp": "line_protocol",
    ".line": "line_protocol",
    ".influx": "line_protocol",
}
_PRECISIONS: dict[str, line_protocol.Precision] = {
    "iso": "ns",
    "unix_ns": "ns",
    "unix_us": "us",
    "unix_ms": "ms",
    "unix_s": "s",
}
_YEAR_1990 = 631_152_000_000_000
_SEPARATORS = (";", ",", "\t", "|")
_BLOCK_CHARACTERS = 8 << 20
_CELLS_PER_BATCH = 1_000_000
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

OTHER_NOTATION = "a number in another notation than the settings say (decimal, thousands)"
NO_NUMBER = "not a number"
_THOUSANDS = r"[.,' _\x{2019}\x{a0}\x{202f}]"
_LOOKS_LIKE_A_NUMBER = (
    rf"^[+-]?(?:[0-9]{{1,3}}(?:{_THOUSANDS}[0-9]{{3}})*[.,][0-9]+|[0-9]+[.,][0-9]+|[0-9][0-9.]*,[0-9.,]*[0-9])$"
)
"""Digits with signs between them; 1.2.3 and 192.168.0.1 are names, not numbers."""


class FileError(ValueError):
    """A file that cannot be taken as it is.

    Attributes:
        path: the file.
        line: where, None when it is the file as a whole.
        reason: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, path: Path, line: int | None, reason: str, remedy: str) -> None:
        where = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{where}: {reason}. {remedy}")
        self.path = path
        self.line = line
        self.reason = reason
        self.remedy = remedy


@dataclass
class FileResult:
    """What is in a file. The figures are complete once all `chunks` have been taken.

    Attributes:
        path: the file.
        format: how it was read.
        chunks: frames of readings, bounded in size, each sorted and unique by itself.
        rejects: what was turned away.
        rows: rows (or lines) that say something, good and bad.
        readings: readings in the chunks.
        first: time of the first reading.
        last: time of the last one.
    """

    path: Path
    format: Format
    chunks: Iterator[pl.DataFrame]
    rejects: Rejects = field(default_factory=Rejects)
    rows: int = 0
    readings: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def frame(self) -> pl.DataFrame:
        """All readings at once, for files that are known to be small."""
        return concatenated(self.chunks)


def format_of(path: Path, source: FilesSource) -> Format:
    """The format that the settings say, or else the one of the file's ending (`.gz` may follow it).

    Raises:
        FileError: neither says one.
    """
    if source.format is not None:
        return source.format
    endings = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    known = _FORMATS.get(endings[-1]) if endings else None
    if known is None:
        raise FileError(
            path,
            None,
            f"its ending says no format (known: {', '.join(_FORMATS)})",
            f"Set `format:` of source {source.id} to csv, parquet or line_protocol, or rename the file",
        )
    return known


def read_file(
    path: Path,
    source: FilesSource,
    *,
    start: date,
    now: datetime,
    wanted: Callable[[str], bool] | None = None,
) -> FileResult:
    """Open a file of readings. What is wrong with its content is raised while the chunks are taken.

    Args:
        path: the file; `.gz` is unpacked on the way (CSV and line protocol).
        source: how files of this source are written.
        start: the first UTC day that may hold readings.
        now: the present.
        wanted: whether a point is of interest, every point without it.

    Raises:
        FileError: no such file, an empty file, an unknown format; from the chunks: anything about its content.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        remedy = "Check the path and the permissions"
        raise FileError(path, None, f"cannot be read ({error.strerror})", remedy) from error
    if size == 0:
        raise FileError(path, None, "the file is empty", "Export it again")
    result = FileResult(path, format_of(path, source), iter(()))
    result.chunks = _chunks(result, source, start=start, now=now, wanted=wanted)
    return result


def _chunks(
    result: FileResult,
    source: FilesSource,
    *,
    start: date,
    now: datetime,
    wanted: Callable[[str], bool] | None,
) -> Iterator[pl.DataFrame]:
    read = {"csv": _read_csv, "parquet": _read_parquet, "line_protocol": _read_line_protocol}[result.format]
    try:
        for raw in read(result, source):
            readings = normalise(raw, result.rejects, start=start, now=now)
            if wanted is not None:
                points = [point for point in readings["point"].unique() if wanted(point)]
                readings = readings.filter(pl.col("point").is_in(points))
            if readings.is_empty():
                continue
            earliest, latest = cast("tuple[datetime, datetime]", (readings["time"].min(), readings["time"].max()))
            result.first = min(result.first or earliest, earliest)
            result.last = max(result.last or latest, latest)
            result.readings += readings.height
            yield readings
    except (gzip.BadGzipFile, EOFError) as error:
        raise FileError(
            result.path, None, "the gzip file is damaged or not complete", "Export or copy it again"
        ) from error
    except OSError as error:
        raise FileError(
            result.path, None, f"cannot be read ({error.strerror or error})", "Check the permissions and the disk"
        ) from error
    if result.rows == 0:
        raise FileError(result.path, None, "there is no row of data in it", "Export it again")


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


# Line protocol ---------------------------------------------------------------------------------------------------


def _read_line_protocol(result: FileResult, source: FilesSource) -> Iterator[pl.DataFrame]:
    precision = _PRECISIONS.get(source.time_format)
    if precision is None:
        raise FileError(
            result.path,
            None,
            f"line protocol has no times written as {source.time_format}",
            f"Set `time_format:` of source {source.id} to unix_ns, unix_us, unix_ms or unix_s",
        )
    unparsable = Rejects()
    with _opened(result.path) as stream:
        try:
            for raw in line_protocol.parse(stream, unparsable, precision=precision):
                if result.rows == 0:
                    _check_precision(result.path, source, raw, precision)
                result.rows += raw["line"].n_unique()
                yield raw.with_columns(pl.col("time") + source.time_shift)
        except line_protocol.NotLineProtocolError as error:
            raise FileError(
                result.path, None, f"this is no line protocol: {error}", f"Set `format:` of source {source.id}"
            ) from error
    result.rows += len(unparsable)
    result.rejects.extend(unparsable)


def _check_precision(path: Path, source: FilesSource, raw: pl.DataFrame, precision: line_protocol.Precision) -> None:
    """When a whole batch lies in the seventies, the timestamps are coarser than the settings say."""
    latest = raw["time"].dt.epoch("us").max()
    if not isinstance(latest, int) or not 0 < latest < _YEAR_1990:
        return
    written = {"ns": latest * 1000, "us": latest, "ms": latest // 1000, "s": latest // 1_000_000}[precision]
    guess = guess_format(str(written))
    if guess in _PRECISIONS and _PRECISIONS[guess] != precision:
        raise FileError(
            path,
            int(raw["line"][0]),
            f"all times lie before 1990: the timestamps are not in {precision}",
            f"Set `time_format: {guess}` of source {source.id}",
        )


# CSV -------------------------------------------------------------------------------------------------------------


def _read_csv(result: FileResult, source: FilesSource) -> Iterator[pl.DataFrame]:
    path = result.path
    lines = _Lines(path, source)
    header_line, header = lines.header()
    names = [name.strip() for name in next(csv.reader([header], delimiter=source.separator))]
    _check_separator(path, source, header_line, header, names)
    table = _Table(result, source, names, header_line)
    # A quoted cell may hold separators and line breaks, so a file with quotes is read record by record.
    read = lines.records if lines.has_quotes() else lines.cells
    for batch in read(len(names), result):
        yield table.readings(batch)


def _check_separator(path: Path, source: FilesSource, line: int, header: str, names: Sequence[str]) -> None:
    if len(names) > 1:
        return
    counts = {sign: header.count(sign) for sign in _SEPARATORS if sign != source.separator}
    likely = max(counts, key=lambda sign: counts[sign])
    if counts[likely]:
        shown = "\\t" if likely == "\t" else likely
        raise FileError(
            path,
            line,
            f"one column found ({names[0]!r}) with the separator {source.separator!r}",
            f'Set `separator: "{shown}"` of source {source.id}',
        )


class _Lines:
    """The text of a CSV file, decoded and cut into blocks of whole lines."""

    def __init__(self, path: Path, source: FilesSource) -> None:
        self.path = path
        self.source = source
        self.encoding = self._encoding()
        self.separator = source.separator
        self._header_line = 0

    def _encoding(self) -> str:
        with _opened(self.path) as stream:
            start = stream.read(4)
        return next((name for mark, name in _BYTE_ORDER_MARKS if start.startswith(mark)), self.source.encoding)

    def blocks(self) -> Iterator[tuple[int, str]]:
        """Number of the first line, and text that ends with a line (the last may lack its line break)."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        number, rest, at_start = 1, "", True
        with _opened(self.path) as stream:
            while True:
                raw = stream.read(_BLOCK_CHARACTERS)
                try:
                    text = decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as error:
                    line = number + rest.count("\n") + raw[: error.start].count(b"\n")
                    raise self._wrong_encoding(line) from error
                if at_start:
                    text, at_start = text.removeprefix("\ufeff"), False
                if "\0" in text:
                    line = number + rest.count("\n") + text[: text.index("\0")].count("\n")
                    raise self._wrong_encoding(line)
                text = rest + text
                end = text.rfind("\n") + 1 if raw else len(text)
                block, rest = text[:end], text[end:]
                if block:
                    yield number, block
                    number += block.count("\n")
                if not raw:
                    return

    def _wrong_encoding(self, line: int) -> FileError:
        others = [name for name in ("utf-8", "cp1252", "utf-16") if name != self.encoding]
        return FileError(
            self.path,
            line,
            f"this is not text in {self.encoding}",
            f"Set `encoding:` of source {self.source.id}, for example to {' or '.join(others)}",
        )

    def header(self) -> tuple[int, str]:
        """Number and text of the first line that says something; Excel's `sep=;` says nothing about the data."""
        for first, block in self.blocks():
            for number, line in enumerate(block.split("\n"), start=first):
                if line.strip() and not re.fullmatch(r"sep=.\r?", line):
                    self._header_line = number
                    return number, line.rstrip("\r")
        raise FileError(self.path, None, "there is no text in it", "Export it again")

    def has_quotes(self) -> bool:
        """Whether there is a quote anywhere (in an encoding of several bytes: perhaps)."""
        with _opened(self.path) as stream:
            return any(b'"' in block for block in iter(lambda: stream.read(_BLOCK_CHARACTERS), b""))

    def cells(self, width: int, result: FileResult) -> Iterator[pl.DataFrame]:
        """Frames of text cells `0`, `1`, … and `line`, of a file without quotes."""
        rows = max(_CELLS_PER_BATCH // width, 1000)
        for first, block in self.blocks():
            lines = (
                pl.read_lines(block.encode(), name="text")
                .with_columns(pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias("line"))
                .filter((pl.col("line") > self._header_line) & (pl.col("text").str.strip_chars() != ""))
            )
            for part in lines.iter_slices(rows):
                split = part.with_columns(cell=pl.col("text").str.split(self.separator))
                fits = pl.col("cell").list.len() == width
                _reject_ragged(result, split.filter(~fits).select("line", found="text"), width)
                whole = split.filter(fits)
                yield whole.select(
                    "line", *(pl.col("cell").list.get(index).alias(str(index)) for index in range(width))
                )

    def records(self, width: int, result: FileResult) -> Iterator[pl.DataFrame]:
        """The same for a file with quotes, whose cells may hold separators and line breaks."""
        size = max(_CELLS_PER_BATCH // width, 1000)
        lines = itertools.chain.from_iterable(
            (f"{line}\n" for line in block.removesuffix("\n").split("\n")) for _, block in self.blocks()
        )
        reader = csv.reader(itertools.islice(lines, self._header_line, None), delimiter=self.separator, strict=True)
        numbers: list[int] = []
        rows: list[list[str]] = []
        ragged: list[tuple[int, str]] = []
        number = self._header_line + 1

        def batch() -> pl.DataFrame:
            _reject_ragged(result, pl.DataFrame(ragged, schema=_RAGGED_SCHEMA, orient="row"), width)
            cells = {str(index): [row[index] for row in rows] for index in range(width)}
            frame = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String()))
            return frame.with_columns(line=pl.Series(numbers, dtype=pl.Int64))

        try:
            for row in reader:
                if len(row) == width:
                    rows.append(row)
                    numbers.append(number)
                elif any(cell.strip() for cell in row):
                    ragged.append((number, self.separator.join(row)))
                number = self._header_line + reader.line_num + 1
                if len(rows) + len(ragged) >= size:
                    yield batch()
                    numbers, rows, ragged = [], [], []
        except csv.Error as error:
            raise FileError(
                self.path, number, f"this is no CSV: {error}", "Look for a quote that is not closed there"
            ) from error
        yield batch()


_RAGGED_SCHEMA = pl.Schema({"line": pl.Int64(), "found": pl.String()})


def _reject_ragged(result: FileResult, rows: pl.DataFrame, width: int) -> None:
    result.rows += rows.height
    result.rejects.add_rows(rows, f"not {width} cells as in the header", "found")


# Parquet ---------------------------------------------------------------------------------------------------------


def _read_parquet(result: FileResult, source: FilesSource) -> Iterator[pl.DataFrame]:
    path = result.path
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise FileError(
            path, None, "this is no complete Parquet file", "Export or copy it again (a copy may have been cut short)"
        ) from error
    with parquet:
        names = list(parquet.schema_arrow.names)
        table = _Table(result, source, names, None)
        size = max(_CELLS_PER_BATCH // len(table.needed), 1000)
        line = 1
        batches = parquet.iter_batches(batch_size=size, columns=[names[index] for index in table.needed])
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise FileError(
                    path, line, "the Parquet file is damaged from this row on", "Export or copy it again"
                ) from error
            if batch is None:
                return
            frame = cast("pl.DataFrame", pl.from_arrow(batch))
            frame = frame.rename({names[index]: str(index) for index in table.needed})
            yield table.readings(frame.with_columns(pl.int_range(line, line + pl.len(), dtype=pl.Int64).alias("line")))
            line += frame.height


# Tables: what CSV and Parquet have in common ------------------------------------------------------------------------


class _Table:
    """Finds the columns of a long or wide table and turns its rows into raw readings.

    Columns are called by their place (`0`, `1`, …), since a header may repeat a name.
    """

    def __init__(self, result: FileResult, source: FilesSource, names: Sequence[str], header_line: int | None) -> None:
        self.result = result
        self.source = source
        self.names = names
        self.header_line = header_line
        self.time_reader = TimeReader(source.time_format, source.time_zone, source.time_shift)
        self._understood_any = False
        self._missing = [word.strip().casefold() for word in source.missing]
        columns = source.columns
        self.time = self._index("time", columns.time)
        if source.layout == "long":
            self.point = self._index("point", columns.point or "point")
            self.value = self._index("value", columns.value or "value")
            self.text = self._text_column()
            self.needed = [self.time, self.point, self.value, *([] if self.text is None else [self.text])]
        else:
            self.points = self._point_columns()
            self.needed = [self.time, *self.points]

    def _text_column(self) -> int | None:
        name = self.source.columns.text
        if name is None:
            named = (self.source.columns.point, self.source.columns.value)
            return self._index("text", "text") if "text" in self.names and "text" not in named else None
        return self._index("text", name)

    def _point_columns(self) -> list[int]:
        if self.source.columns.points is not None:
            return [self._index("points", name) for name in self.source.columns.points]
        others = [index for index, name in enumerate(self.names) if index != self.time and name]
        repeated = [name for name, count in Counter(self.names[index] for index in others).items() if count > 1]
        if repeated:
            raise self._error(
                f"several columns are called {repeated[0]!r}", "Give each column a name of its own, or list `points`"
            )
        if not others:
            raise self._error("there is no column besides the time", "Check `layout:` and `separator:`")
        return others

    def _error(self, reason: str, remedy: str) -> FileError:
        return FileError(self.result.path, self.header_line, reason, remedy)

    def _index(self, key: str, name: str) -> int:
        places = [index for index, found in enumerate(self.names) if found == name]
        if len(places) == 1:
            return places[0]
        if places:
            raise self._error(f"several columns are called {name!r}", "Give each column a name of its own")
        by_lower_case = {found.casefold(): found for found in self.names}
        near = difflib.get_close_matches(name.casefold(), by_lower_case, n=1, cutoff=0.5)
        shown = ", ".join(repr(found) for found in self.names[:20]) + (", …" if len(self.names) > 20 else "")
        value = (
            f"[{by_lower_case[near[0]]}, …]" if key == "points" and near else by_lower_case[near[0]] if near else "…"
        )
        raise self._error(
            f"no column {name!r} for the {key}; columns found: {shown}",
            f"Set `columns: {{{key}: {value}}}` of source {self.source.id}",
        )

    def readings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Raw readings (columns `line`, `point`, `time`, `value`, `text`) of a batch of rows."""
        self.result.rows += rows.height
        long = self.source.layout == "long"
        time_cell = self._present(rows[str(self.time)])
        try:
            points = rows[str(self.point)].cast(pl.String).str.strip_chars() if long else None
            times, problem = self.time_reader.read(time_cell, points)
        except pl.exceptions.PolarsError as error:
            shown = ", ".join(f"{self.names[index]}: {rows.schema[str(index)]}" for index in self.needed[:5])
            raise self._error(
                f"times or points cannot be read ({str(error).splitlines()[0]}); columns: {shown}",
                f"Check `columns:` and `time_format:` of source {self.source.id}",
            ) from error
        self._check_understood(rows, time_cell, times, problem)
        cells = rows.with_columns(
            time=times,
            problem=problem.zip_with(time_cell.is_not_null(), pl.Series(["no time"])),
            found=time_cell.cast(pl.String),
        )
        return self._long(cells, cast("pl.Series", points)) if long else self._wide(cells)

    def _check_understood(self, rows: pl.DataFrame, cells: pl.Series, times: pl.Series, problem: pl.Series) -> None:
        """When the first batch has times and none of them is understood, the format is wrong, not the rows."""
        misread = problem == NOT_UNDERSTOOD
        self._understood_any = self._understood_any or times.is_not_null().any()
        present = cells.is_not_null()
        if self._understood_any or not (misread & present).any():
            return
        place = (misread & present).arg_max() or 0
        sample = str(cells[place])
        guess = guess_format(sample) or "…"
        line = int(rows["line"][place])
        raise FileError(
            self.result.path,
            line,
            f"the time {sample!r} is not written as {self.source.time_format!r} says",
            f'Set `time_format: "{guess}"` of source {self.source.id}',
        )

    def _present(self, cells: pl.Series) -> pl.Series:
        """Cells without those that stand for no reading."""
        if cells.dtype in (pl.Categorical, pl.Enum):
            cells = cells.cast(pl.String)
        if cells.dtype != pl.String:
            return cells
        text = cells.str.strip_chars()
        missing = text.str.to_lowercase().is_in(self._missing) | (text == "")
        return text.set(missing, None)

    def _long(self, cells: pl.DataFrame, points: pl.Series) -> pl.DataFrame:
        number, word = self._value(cells[str(self.value)])
        text = None if self.text is None else self._present(cells[str(self.text)]).cast(pl.String)
        raw = cells.select("line", "time", "problem", "found").with_columns(
            point=points, value=number, text=word if text is None else text, word=word
        )
        raw = raw.filter(pl.any_horizontal(pl.col("value", "text", "word").is_not_null()))
        if text is not None:
            # With a column for texts of its own, the value's column holds numbers only.
            other = pl.col("word").is_not_null() & ~pl.col("word").str.contains(_LOOKS_LIKE_A_NUMBER)
            raw = self._without(raw, other, NO_NUMBER, "word")
        return self._believed(raw)

    def _wide(self, cells: pl.DataFrame) -> pl.DataFrame:
        columns = {self.names[index]: self._value(cells[str(index)]) for index in self.points}
        rows = cells.select("line", "time", "problem", "found")
        says_something = pl.any_horizontal(
            *(number.is_not_null() | word.is_not_null() for number, word in columns.values())
        )
        timeless = rows.filter(says_something & pl.col("time").is_null())
        for (why,), bad in timeless.group_by("problem", maintain_order=True):
            self.result.rejects.add_rows(bad.drop("time"), str(why), "found")
        raw = pl.concat(
            rows.with_columns(point=pl.lit(point), value=number, text=word, word=word).filter(
                pl.col("time").is_not_null() & (pl.col("value").is_not_null() | pl.col("text").is_not_null())
            )
            for point, (number, word) in columns.items()
        )
        return self._believed(raw)

    def _believed(self, raw: pl.DataFrame) -> pl.DataFrame:
        raw = self._without(raw, pl.col("word").str.contains(_LOOKS_LIKE_A_NUMBER), OTHER_NOTATION, "word")
        timeless = raw.filter(pl.col("time").is_null())
        for (why,), bad in timeless.group_by("problem", maintain_order=True):
            self.result.rejects.add_rows(bad.drop("time"), str(why), "found")
        return raw.filter(pl.col("time").is_not_null()).select(line_protocol.RAW_SCHEMA.names())

    def _without(self, raw: pl.DataFrame, bad: pl.Expr, reason: str, found: str) -> pl.DataFrame:
        refused = bad.fill_null(False)
        self.result.rejects.add_rows(raw.filter(refused), reason, found)
        return raw.filter(~refused)

    def _value(self, cells: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Numbers, and the words of the cells that are none."""
        cells = self._present(cells)
        if cells.dtype == pl.Boolean:
            words = cells.cast(pl.String)
            return pl.repeat(None, len(cells), dtype=pl.Float64, eager=True), words
        if cells.dtype.is_numeric():
            return cells.cast(pl.Float64), pl.repeat(None, len(cells), dtype=pl.String, eager=True)
        text = pl.col("text")
        decimal, thousands = self.source.decimal, self.source.thousands
        plain = text.str.contains(rf"^[+-]?(?:[0-9]+(?:[{decimal}][0-9]*)?|[{decimal}][0-9]+)(?:[eE][+-]?[0-9]+)?$")
        grouped = (
            text.str.contains(rf"^[+-]?[0-9]{{1,3}}(?:[{thousands}][0-9]{{3}})+(?:[{decimal}][0-9]*)?$")
            if thousands
            else pl.lit(False)
        )
        digits = text.str.replace_all(thousands, "", literal=True) if thousands else text
        number = pl.when(plain | grouped).then(digits.str.replace(decimal, ".", literal=True))
        frame = pl.DataFrame({"text": cells.cast(pl.String)}).select(
            number.cast(pl.Float64, strict=False).alias("number"),
            pl.when(~(plain | grouped)).then(text).alias("word"),
        )
        return frame["number"], frame["word"]
