"""Times as files write them, to UTC.

Local times are the hard part: in autumn an hour happens twice, in spring one does not happen. The second time round is
recognised by the order of the rows, within a point or, where the file as a whole is in order, within the file; where
the order says nothing, the earlier one is taken. An hour that does not happen is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

UTC_TIME = pl.Datetime("us", "UTC")

NOT_UNDERSTOOD = "time not understood"
SKIPPED_BY_CLOCK = "local time that does not exist (the clock is put forward)"

_UNIX_MICROSECONDS = {"unix_s": 1_000_000.0, "unix_ms": 1_000.0, "unix_us": 1.0, "unix_ns": 0.001}
_OFFSET = r"[T ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)? ?(Z|z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)$"
_ISO_PATTERNS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_LIMIT_MICROSECONDS = 2**62

_UNIX_DIGITS = {
    **dict.fromkeys((9, 10), "unix_s"),
    **dict.fromkeys((12, 13), "unix_ms"),
    **dict.fromkeys((15, 16), "unix_us"),
    **dict.fromkeys((18, 19), "unix_ns"),
}
"""How many digits a time of the last and the next decades has."""

_USUAL_PATTERNS = (
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y, %H:%M:%S",
    "%d.%m.%y %H:%M:%S",
    "%d.%m.%y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y%m%d%H%M%S",
    "%Y%m%dT%H%M%S",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
)


def guess_format(sample: str) -> str | None:
    """The `time_format` that would understand a time, None when none of the usual ones does."""
    text = sample.strip()
    whole = text.partition(".")[0]
    if whole.isdecimal() and len(whole) in _UNIX_DIGITS:
        return _UNIX_DIGITS[len(whole)]
    one = pl.Series([text])
    if _iso(one)[0].is_not_null().item():
        return "iso"
    for pattern in _USUAL_PATTERNS:
        if one.str.to_datetime(pattern, strict=False, time_unit="us").is_not_null().item():
            return pattern
    return None


def _iso(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Wall-clock time and the offset from UTC in minutes (null where none is written)."""
    frame = pl.DataFrame({"text": text})
    offset = pl.col("text").str.extract(_OFFSET)
    frame = frame.with_columns(offset=offset).with_columns(
        wall=pl.col("text")
        .str.slice(0, pl.col("text").str.len_chars() - pl.col("offset").str.len_chars().fill_null(0))
        .str.strip_chars()
        .str.replace("T", " ", literal=True)
        .str.replace(",", ".", literal=True)
    )
    wall = frame["wall"].str.to_datetime(_ISO_PATTERNS[0], strict=False, time_unit="us")
    for pattern in _ISO_PATTERNS[1:]:
        if wall.null_count() == frame["wall"].null_count():
            break
        missing = wall.is_null()
        other = frame["wall"].str.to_datetime(pattern, strict=False, time_unit="us")
        wall = other.zip_with(missing, wall)
    digits = pl.col("offset").str.replace_all(r"[+:-]", "")
    hours = digits.str.head(2).cast(pl.Int64, strict=False)
    minutes = digits.str.slice(2, 2).cast(pl.Int64, strict=False).fill_null(0)
    sign = pl.when(pl.col("offset").str.starts_with("-")).then(-1).otherwise(1)
    written = pl.when(pl.col("offset").str.contains("^[Zz]|UTC")).then(0).otherwise(sign * (hours * 60 + minutes))
    shift = frame.select(pl.when(pl.col("offset").is_not_null()).then(written).cast(pl.Int64)).to_series()
    return wall, shift


@dataclass
class _Order:
    """How the rows of a file follow each other."""

    descending: bool
    by_point: bool


class TimeReader:
    """Reads the times of one file, batch by batch, in the order of its rows.

    Args:
        time_format: `iso`, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, or a pattern such as `%d.%m.%Y %H:%M:%S`.
        time_zone: zone of the times that name none.
        shift: added to every time.
    """

    def __init__(self, time_format: str, time_zone: str, shift: timedelta) -> None:
        self.time_format = time_format
        self.time_zone = time_zone
        self.shift = shift
        self._order: _Order | None = None
        self._latest: dict[str, int] = {}

    def read(self, times: pl.Series, points: pl.Series | None) -> tuple[pl.Series, pl.Series]:
        """UTC times, null where there is none, and beside each null the reason.

        Args:
            times: text, numbers or datetimes as the file has them; null where the file says nothing.
            points: the point of each row, None when a row is for all points.
        """
        wall, offset_or_utc = self._wall_clock(times)
        if wall is None:
            utc = offset_or_utc
            skipped = pl.repeat(False, len(utc), eager=True)
        else:
            utc, skipped = self._to_utc(wall, offset_or_utc, points)
        utc = (utc + self.shift).cast(UTC_TIME)
        frame = pl.DataFrame({"utc": utc, "skipped": skipped})
        reason = frame.select(
            pl.when(pl.col("skipped"))
            .then(pl.lit(SKIPPED_BY_CLOCK))
            .when(pl.col("utc").is_null())
            .then(pl.lit(NOT_UNDERSTOOD))
        ).to_series()
        return utc, reason

    def _wall_clock(self, times: pl.Series) -> tuple[pl.Series | None, pl.Series]:
        """Wall-clock times with their offsets in minutes (null: local); or None with UTC times."""
        dtype = times.dtype
        if isinstance(dtype, pl.Datetime):
            if dtype.time_zone is not None:
                return None, times.dt.convert_time_zone("UTC").cast(UTC_TIME)
            wall = times.cast(pl.Datetime("us"))
            return wall, pl.repeat(None, len(times), dtype=pl.Int64, eager=True)
        if dtype == pl.Date:
            return times.cast(pl.Datetime("us")), pl.repeat(None, len(times), dtype=pl.Int64, eager=True)
        if self.time_format in _UNIX_MICROSECONDS:
            return None, self._unix(times)
        text = times.cast(pl.String).str.strip_chars()
        if self.time_format == "iso":
            return _iso(text)
        pattern = self.time_format.replace(".%f", "%.f")
        if "%z" in pattern:
            return None, text.str.to_datetime(pattern, strict=False, time_unit="us", time_zone="UTC")
        wall = text.str.to_datetime(pattern, strict=False, time_unit="us")
        return wall, pl.repeat(None, len(times), dtype=pl.Int64, eager=True)

    def _unix(self, times: pl.Series) -> pl.Series:
        if times.dtype == pl.String:
            times = times.str.strip_chars()
        factor = _UNIX_MICROSECONDS[self.time_format]
        whole = times.cast(pl.Int64, strict=False)
        if times.dtype.is_integer() or (times.dtype == pl.String and whole.null_count() == times.null_count()):
            fits = whole.is_between(-_LIMIT_MICROSECONDS // 1_000_000, _LIMIT_MICROSECONDS // 1_000_000)
            whole = whole if factor <= 1 else whole.zip_with(fits, pl.Series([None], dtype=pl.Int64))
            microseconds = whole // 1000 if factor < 1 else whole * int(factor)
        else:
            exact = times.cast(pl.Float64, strict=False) * factor
            sound = (exact.abs() < float(_LIMIT_MICROSECONDS)).fill_null(False)
            microseconds = exact.zip_with(sound, pl.Series([None], dtype=pl.Float64)).round().cast(pl.Int64)
        return microseconds.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    def _to_utc(self, wall: pl.Series, offset: pl.Series, points: pl.Series | None) -> tuple[pl.Series, pl.Series]:
        """UTC times, and which rows name an hour that the clock skipped."""
        local = offset.is_null()
        frame = pl.DataFrame({"wall": wall, "offset": offset})
        stated = frame.select(
            (pl.col("wall") - pl.duration(minutes=pl.col("offset"))).dt.replace_time_zone("UTC").cast(UTC_TIME)
        ).to_series()
        if not local.any():
            return stated, pl.repeat(False, len(wall), eager=True)
        earliest, latest = (
            wall.dt.replace_time_zone(self.time_zone, ambiguous=which, non_existent="null").dt.convert_time_zone("UTC")
            for which in ("earliest", "latest")
        )
        skipped = local & wall.is_not_null() & earliest.is_null()
        resolved = self._resolved(earliest, latest, points)
        return resolved.zip_with(local, stated), skipped

    def _resolved(self, earliest: pl.Series, latest: pl.Series, points: pl.Series | None) -> pl.Series:
        """Of two possible times the one that fits the order of the rows."""
        frame = pl.DataFrame(
            {
                "row": pl.int_range(len(earliest), eager=True),
                "point": points if points is not None else pl.repeat("", len(earliest), eager=True),
                "earliest": earliest.dt.epoch("us"),
                "latest": latest.dt.epoch("us"),
            }
        )
        if self._order is None:
            self._order = _order_of(frame)
        if not self._order.by_point:
            frame = frame.with_columns(point=pl.lit(""))
        ambiguous = pl.col("earliest") != pl.col("latest")
        twice = frame.filter(ambiguous)
        if not twice.is_empty():
            chosen = self._choose(frame, twice, descending=self._order.descending)
            frame = frame.update(chosen, on="row")
        known = frame.filter(pl.col("earliest").is_not_null())
        self._latest.update(known.group_by("point", maintain_order=True).agg(pl.col("earliest").last()).iter_rows())
        return frame["earliest"].cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    def _choose(self, frame: pl.DataFrame, twice: pl.DataFrame, *, descending: bool) -> pl.DataFrame:
        """Columns `row` and `earliest` (the time chosen) of the ambiguous rows."""
        certain = pl.col("earliest") == pl.col("latest")
        before = frame.select(
            "row",
            certain_row=pl.when(certain).then("row").forward_fill().over("point"),
            certain_time=pl.when(certain).then("earliest").forward_fill().over("point"),
        )
        last = {point: (-1, time) for point, time in self._latest.items()}
        chosen: list[int] = []
        for row, point, early, late, certain_row, certain_time in (
            twice.join(before, on="row", maintain_order="left")
            .select("row", "point", "earliest", "latest", "certain_row", "certain_time")
            .iter_rows()
        ):
            previous_row, previous = last.get(point, (-1, None))
            if certain_row is not None and certain_row > previous_row:
                previous = certain_time
            if previous is None:
                time = early
            elif descending:
                time = late if late <= previous else early
            else:
                time = late if early < previous <= late else early
            last[point] = (row, time)
            chosen.append(time)
        return twice.select("row", earliest=pl.Series(chosen, dtype=pl.Int64))


def _order_of(frame: pl.DataFrame) -> _Order:
    """Whether the rows go back in time, and whether only the rows of a point are in order."""
    certain = frame.filter(pl.col("earliest") == pl.col("latest"))
    step = certain.select("point", step=pl.col("earliest").diff()).drop_nulls()
    forward, back = int((step["step"] > 0).sum()), int((step["step"] < 0).sum())
    if not forward or not back:
        return _Order(descending=back > forward, by_point=False)
    within = certain.select(step=pl.col("earliest").diff().over("point")).drop_nulls()["step"]
    return _Order(descending=int((within < 0).sum()) > int((within > 0).sum()), by_point=True)
