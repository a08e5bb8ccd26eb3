"""The partition files: each partition rests in exactly one file, which is replaced whole or not at all.

Readers need no lock: they see one version or the other. The footer of each file holds the *receipts* of its partitions:
the identity of the content, and the fingerprint of the inputs from which it was made.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import chain, groupby
from pathlib import Path
from types import MappingProxyType

import polars as pl

from hp_pipeline.lake.content import HASHED_BY, contents_in, contents_of
from hp_pipeline.lake.encoding import UNREADABLE, decode, encode, footer_in, known_columns
from hp_pipeline.lake.errors import DamagedPartitionError, StorageError
from hp_pipeline.lake.files import Identity, identity, is_alive, put_file, sync_directories
from hp_pipeline.lake.months import Month, MonthFolders, closed_name, is_months, is_over, month_of, utc_today
from hp_pipeline.lake.reading import DATE, Piece, chosen, read_file, read_pieces, rows_of_days
from hp_pipeline.lake.receipts import Receipt, Receipts, footer_of_many, footer_of_one, places_of, receipts_in
from hp_pipeline.lake.recent import RecentPartitions
from hp_pipeline.lake.sound import SMALL, SoundFiles

log = logging.getLogger(__name__)

_FILE = "data.parquet"
_LOCKS = 64
SCHEMA = "_schema"
"""The asset of each table that has no rows, only all its columns, for the catalogue."""
_OTHER_RECEIPTS = "its receipts are not those of its rows"
_WRITERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lake")


def _never(table: str) -> bool:
    return False


class Lake:
    """Tables under one root.

    An asset is a path such as `frames/daikin`: the table's name, then whose rows they are. A partition key is a date
    `YYYY-MM-DD`; the empty key is for an asset of one file. A partition is `<root>/<asset>/date=<key>/data.parquet`;
    those of tables that are kept by month rest in the months' folders (see `lake.months`).

    Args:
        root: the folder.
        schema_of: the columns of a table by its name, None for one that is not known. Where they are known, many files
            are read without looking into each of them first for what it holds.
        by_month: whether a table, by its name, is kept by month.
        today: the day that tells which months are over (UTC).
    """

    def __init__(
        self,
        root: Path | str,
        schema_of: Callable[[str], pl.Schema | None] = lambda table: None,
        by_month: Callable[[str], bool] = _never,
        today: Callable[[], date] = utc_today,
    ) -> None:
        self.root = Path(root).absolute()
        self._schema_of = schema_of
        self._by_month = by_month
        self._today = today
        self._months = MonthFolders(self.root)
        self._sound = SoundFiles()
        self._recent = RecentPartitions()
        self._receipts = Receipts()
        self._last_checked: tuple[Path, Identity, pl.DataFrame, bool] | None = None

    def is_by_month(self, asset: str) -> bool:
        """Whether the partitions of an asset are kept by month."""
        return self._by_month(asset.partition("/")[0])

    def path(self, asset: str, key: str) -> Path:
        """The file that holds the partition (or would)."""
        if not self.is_by_month(asset):
            return self.root / asset / f"date={key}" / _FILE if key else self.root / asset / _FILE
        there = self._files(asset, [key])
        return there[key] if there else self.root / asset / month_of(key) / f"{key}.parquet"

    def _files(self, asset: str, keys: Iterable[str]) -> dict[str, Path]:
        """The files that hold the partitions: of an asset that is kept by month where there are any, else where they
        would be."""
        if not self.is_by_month(asset):
            return {key: self.path(asset, key) for key in keys}
        found: dict[str, Path] = {}
        for name, wanted in groupby(keys, month_of):
            with contextlib.suppress(OSError):
                if (month := self._months.look(asset, name)) is not None:
                    found |= {key: month.files[key] for key in wanted if key in month.files}
        return found

    def keys(self, asset: str) -> list[str]:
        """The keys of the stored partitions, ascending."""
        try:
            with os.scandir(self.root / asset) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        keys = sorted(name.removeprefix("date=") for name in names if name.startswith("date="))
        if not self.is_by_month(asset):
            return ["", *keys] if _FILE in names else keys
        if keys:
            self._adopt(asset, keys)
        keys, merged = self._months.keys(asset)
        for month in merged:
            with _noted(f"{asset} {month} has files beside those that count"), self._month_locked(asset, month):
                self._put_aside(asset, month)
        return keys

    def assets(self) -> list[str]:
        """Every asset that has a directory, as paths below the root."""
        found = []
        for folder, folders, files in os.walk(self.root):  # what is taken away meanwhile is passed over
            below = [name for name in folders if not _is_of_asset(name)]
            if len(below) < len(folders) or _FILE in files:
                found.append(Path(folder))
            folders[:] = below
        assets = (path.relative_to(self.root).as_posix() for path in found)
        return sorted(asset for asset in assets if not asset.endswith(f"/{SCHEMA}"))

    def receipt(self, asset: str, key: str) -> Receipt | None:
        """The receipt of a stored partition; None when there is none or its footer is unreadable."""
        return self.receipts(asset, [key]).get(key)

    def receipts(self, asset: str, keys: Iterable[str]) -> dict[str, Receipt]:
        """The receipts of those of the partitions that are stored and have a readable footer; of many at once, which
        looks at the file of a month once."""
        files = self._files(asset, keys)
        told = {path: self._receipts.of(path) for path in dict.fromkeys(files.values())}
        found = ((key, told[path].get(key) or told[path].get("")) for key, path in files.items())
        return {key: receipt for key, receipt in found if receipt is not None}

    def read(
        self, asset: str, keys: Iterable[str], columns: Sequence[str] | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame | None:
        """The rows of the partitions that are stored, in the order of the keys; None when none is.

        A column that knows nothing is not stored: one of `columns` that a file lacks is null.

        Raises:
            DamagedPartitionError: a file cannot be read.
        """
        frames: list[pl.DataFrame] = []
        unread: list[Piece] = []
        schema = self._schema_of(asset.partition("/")[0])
        for piece in self._pieces(asset, keys):
            recent = self._recent.get(piece.path, columns)
            if recent is None and not piece.whole:
                recent = self._look_into(piece.path, columns)
            if recent is None:
                unread.append(piece)
                continue
            frames += read_pieces(self._sound, unread, schema, columns, where)
            unread = []
            frame = chosen(recent if piece.whole else self._rows_of(recent, piece), columns)
            frames.append(frame if where is None else frame.filter(where))
        frames += read_pieces(self._sound, unread, schema, columns, where)
        return pl.concat(frames, how="diagonal_relaxed") if frames else None

    def _look_into(self, path: Path, columns: Sequence[str] | None) -> pl.DataFrame | None:
        """A small file of which some partitions are wanted, kept for those that will be next: to read it whole takes
        no longer. None when it is not there, or large."""
        try:
            status = path.stat()
            if status.st_size > SMALL:
                return None
            frame = read_file(self._sound, path, columns)
        except FileNotFoundError:
            return None
        except DamagedPartitionError:
            raise
        except OSError as error:
            raise DamagedPartitionError(path, error) from error
        self._recent.put(path, identity(status), frame, len(self._receipts.of(path)), columns)
        return frame

    def _rows_of(self, frame: pl.DataFrame, piece: Piece) -> pl.DataFrame:
        """The rows of some partitions of a file, which lie in it one after the other."""
        places = places_of(self._receipts.of(piece.path))
        if not places.keys() >= set(piece.keys) or sum(rows for _, rows in places.values()) != frame.height:
            raise DamagedPartitionError(piece.path, _OTHER_RECEIPTS)
        parts = [places[key] for key in piece.keys]
        begin, end = parts[0][0], sum(parts[-1])
        if sum(rows for _, rows in parts) == end - begin:
            return frame.slice(begin, end - begin)
        return pl.concat([frame.slice(*part) for part in parts])

    def _pieces(self, asset: str, keys: Iterable[str]) -> Iterator[Piece]:
        """The files that hold the partitions, in the order of the keys."""
        if not self.is_by_month(asset):
            for key in keys:
                yield Piece(self.path(asset, key), (key,))
            return
        for name, wanted in groupby(keys, month_of):
            try:
                month = self._months.look(asset, name)
            except OSError as error:
                raise DamagedPartitionError(self.root / asset / name, error) from error
            if month is None:
                continue
            there = [key for key in wanted if key in month.files]
            if month.closed is not None and there == sorted(set(there)):
                yield from [Piece(month.closed, tuple(there), len(there) == len(month.files))] if there else ()
            else:
                for key in there:
                    yield Piece(month.files[key], (key,), month.closed is None or len(month.files) == 1)

    def write(self, asset: str, key: str, frame: pl.DataFrame, inputs: str = "") -> Receipt:
        """Store a partition whole, durably. Returns its receipt.

        Raises:
            StorageError: it cannot be stored.
        """
        return self.write_many(asset, {key: frame}, {key: inputs})[key]

    def write_many(
        self, asset: str, frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]
    ) -> dict[str, Receipt]:
        """Store several partitions of an asset; each is atomic by itself, and all are durable when it returns.

        Raises:
            StorageError: one cannot be stored.
        """
        if not self.is_by_month(asset):
            known = {key: known_columns(frame) for key, frame in frames.items()}
            receipts = _receipts_of(known, inputs)
            self._write_files({key: self.path(asset, key) for key in known}, known, receipts)
            return receipts
        receipts = {}
        for month, keys in groupby(sorted(frames), month_of):
            with self._month_locked(asset, month):
                receipts |= self._write_month(asset, month, {key: frames[key] for key in keys}, inputs)
        return receipts

    def _write_files(
        self, paths: Mapping[str, Path], frames: Mapping[str, pl.DataFrame], receipts: Mapping[str, Receipt]
    ) -> None:
        """Store partitions, each in a file of its own."""

        def write(key: str) -> list[Path]:
            path, frame = paths[key], frames[key]
            written, changed = put_file(path, encode(frame, footer_of_one(receipts[key])))
            self._recent.put(path, written, frame)
            self._receipts.put(path, written, {"": receipts[key]})
            return changed

        done = list(map(write, frames) if len(frames) == 1 else _WRITERS.map(write, frames))
        # A folder in which many partitions are new is synced once, not once for each of them.
        sync_directories(dict.fromkeys(directory for changed in done for directory in changed))

    def _write_month(
        self, asset: str, month: str, frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]
    ) -> dict[str, Receipt]:
        """Store partitions of a month. As one file once it is over; but where that is there and few of its days come
        anew, they may well come again soon, so it is opened until it is closed by `close_months`."""
        there = self._months.look(asset, month)
        is_few = there is not None and 2 * len(frames) < len(frames.keys() | there.files.keys())
        closes = is_over(month, self._today()) and not is_few
        told = {key: inputs.get(key, "") for key in frames}
        if there is not None and there.closed is None and not closes:
            return self._write_days(there.folder, frames, told)
        stored, stored_inputs = self._stored_in(there, _known_types(frames)) if there is not None else ({}, {})
        put = self._close if closes else self._open
        receipts = put(asset, month, {**stored, **frames}, {**stored_inputs, **told})
        return {key: receipts[key] for key in frames}

    def _write_days(
        self, folder: Path, frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]
    ) -> dict[str, Receipt]:
        """Store partitions in an open month's folder."""
        receipts = _receipts_of(frames, inputs)
        paths = {key: folder / f"{key}.parquet" for key in frames}
        self._write_files(paths, {key: _dated({key: frame}) for key, frame in frames.items()}, receipts)
        return receipts

    def _open(
        self, asset: str, month: str, frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]
    ) -> dict[str, Receipt]:
        """Store a month whole, a file for each of its partitions."""
        folder, changed = self._months.new_folder(asset, month)
        receipts = self._write_days(folder, frames, inputs)
        sync_directories(changed)
        self._months.put(asset, month, folder)
        return receipts

    def _close(
        self, asset: str, month: str, frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]
    ) -> dict[str, Receipt]:
        """Store a month whole, as one file."""
        frames = dict(sorted(frames.items()))
        rows = _dated(frames)
        heights = {key: frame.height for key, frame in frames.items()}
        contents = contents_in(rows.drop(DATE), heights)
        receipts = {key: Receipt(contents[key], inputs.get(key, ""), heights[key]) for key in frames}
        folder, changed = self._months.new_folder(asset, month)
        path = folder / closed_name(month, list(frames))
        written, beside = put_file(path, encode(rows, footer_of_many(receipts), len(frames)))
        sync_directories([*changed, *beside])
        self._months.put(asset, month, folder)
        self._recent.put(path, written, rows, len(frames))
        self._receipts.put(path, written, receipts)
        return receipts

    def _stored_in(
        self, month: Month | None, types: Mapping[str, pl.DataType] = MappingProxyType({})
    ) -> tuple[dict[str, pl.DataFrame], dict[str, str]]:
        """The partitions of a month and what they were made from; without those that cannot be read, or brought to the
        types that are written now, which are thus due to be made again. All is compared with its checksums: it will be
        written again as if it were new.

        Raises:
            StorageError: the disk does not give a file; it may do so later.
        """
        frames: dict[str, pl.DataFrame] = {}
        inputs: dict[str, str] = {}
        files = month.files if month else {}
        for path in dict.fromkeys(files.values()):
            try:
                rows, receipts = self._whole(path)
            except (FileNotFoundError, DamagedPartitionError) as error:
                log.warning("%s, and is made anew", error)
                continue
            held = [key for key, file in files.items() if file == path]
            height = sum(receipt.rows for receipt in receipts.values())
            if [name or path.stem for name in receipts] != held or rows.height != height:
                log.warning("%s, and is made anew", DamagedPartitionError(path, _OTHER_RECEIPTS))
                continue
            others = {
                name: dtype for name, dtype in rows.schema.items() if types.get(name, dtype) not in (dtype, pl.Null)
            }
            for name, place in places_of(receipts).items():
                key = name or path.stem
                frame = chosen(rows.slice(*place), None)
                try:
                    frames[key] = _brought(frame, others, types) if others else frame
                except pl.exceptions.PolarsError as error:
                    log.warning("%s of %s is of another type than what is written now: %s", key, path, error)
                    continue
                inputs[key] = receipts[name].inputs
        return frames, inputs

    def _whole(self, path: Path) -> tuple[pl.DataFrame, dict[str, Receipt]]:
        """A file's rows and receipts, compared with its checksums.

        Raises:
            FileNotFoundError: there is none.
            StorageError: the disk does not give them.
            DamagedPartitionError: it does, but they are damaged.
        """
        rows, receipts = self._recent.get(path), self._receipts.of(path)
        if rows is not None and receipts:
            return rows, receipts
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(path, error) from error
        try:
            return decode(data), receipts_in(footer_in(data))
        except UNREADABLE as error:
            raise DamagedPartitionError(path, error) from error

    def _adopt(self, asset: str, keys: Sequence[str]) -> None:
        """Bring partitions that a former version kept one by one into the months' folders."""
        with self.locked(asset, ""):
            for name, month in groupby(keys, month_of):
                files = {key: self.root / asset / f"date={key}" / _FILE for key in month}
                frames, inputs = {}, {}
                with self._month_locked(asset, name):
                    there = self._months.look(asset, name)
                    for key, path in files.items():
                        if there and key in there.files:
                            continue  # it has been made anew since
                        with contextlib.suppress(FileNotFoundError, DamagedPartitionError):  # it is due to be
                            rows, receipts = self._whole(path)
                            if "" in receipts:
                                frames[key], inputs[key] = rows, receipts[""].inputs
                    if frames:
                        self._write_month(asset, name, frames, inputs)
                for path in files.values():
                    path.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):
                        path.parent.rmdir()

    def _put_aside(self, asset: str, name: str) -> None:
        """Take out of a month what a merged copy has left there: SQL would count its rows, too."""
        month = self._months.look(asset, name)
        if month is not None and month.beside:
            names = ", ".join(path.name for path in month.beside)
            log.warning("%s holds other files beside those written last, of a merged copy: %s", month.folder, names)
            self._months.put_aside(asset, name, month.beside)

    def remove(self, asset: str, key: str) -> None:
        """Take a partition away, its folder too: a folder stands for a partition."""
        if not self.is_by_month(asset):
            path = self.path(asset, key)
            path.unlink(missing_ok=True)
            if key:
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
            return
        name = month_of(key)
        with self._month_locked(asset, name):
            month = self._months.look(asset, name)
            if month is None or key not in month.files:
                return
            if month.closed is None:
                month.files[key].unlink(missing_ok=True)
                return
            frames, inputs = self._stored_in(month)
            frames.pop(key, None)
            if frames:
                self._close(asset, name, frames, inputs)
            else:
                self._months.drop(asset, name)

    def close_months(self) -> int:
        """Make one file of each month that is over. One with a file that cannot be read, or with days of types that
        cannot be one, is left as it is, for the file to be looked at; so is one that the disk does not give or take,
        until the next time. Returns how many were closed."""
        closed = 0
        for asset in filter(self.is_by_month, self.assets()):
            with _noted(asset):
                for name in self._months.months(asset):
                    if is_over(name, self._today()):
                        with _noted(f"{asset} {name} stays a file for each day"):
                            closed += self._close_month(asset, name)
        return closed

    def _close_month(self, asset: str, name: str) -> bool:
        """Make one file of a month; returns whether that was done."""
        with self._month_locked(asset, name):
            month = self._months.look(asset, name)
            self._put_aside(asset, name)
            if month is None or month.closed is not None or not month.files:
                return False
            frames, inputs = self._stored_in(month)
            if len(frames) < len(month.files):
                return False
            self._close(asset, name, frames, inputs)
            return True

    @contextlib.contextmanager
    def locked(self, asset: str, key: str) -> Iterator[None]:
        """Hold off other processes that would read, change and write the same partition.

        The lock ends with the process that holds it, however that ends.

        Raises:
            StorageError: the lock's file cannot be made.
        """
        with self._locked("", f"{asset} {key}"):
            yield

    @contextlib.contextmanager
    def _month_locked(self, asset: str, month: str) -> Iterator[None]:
        """Hold off other processes that would write the same month, and name it where the disk fails.

        Raises:
            StorageError: the disk does not give what there is of the month, or not take what is to be.
        """
        try:
            with self._locked("months", f"{asset} {month}"):
                yield
        except (StorageError, DamagedPartitionError):
            raise
        except OSError as error:
            raise StorageError(self.root / asset / month, error) from error

    @contextlib.contextmanager
    def _locked(self, kind: str, what: str) -> Iterator[None]:
        # A bounded number of lock files, away from the partitions; two things that share one merely wait.
        path = self.root / ".locks" / kind / str(zlib.crc32(what.encode()) % _LOCKS)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StorageError(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def verify(self, asset: str, key: str) -> Receipt:
        """Read a partition whole and compare it with its receipt.

        Of a file that was written with another version of polars only the checksums of its pages and the number of
        rows are compared: its contents' identities are that version's.

        Raises:
            DamagedPartitionError: unreadable, a wrong page checksum, or another content than the receipt says.
        """
        path = self.path(asset, key)
        receipt = self.receipt(asset, key)
        if receipt is None:
            raise DamagedPartitionError(path, "it has no readable receipt")
        frame, is_ours = self._checked(path)
        if self.is_by_month(asset):
            frame = chosen(rows_of_days(path, frame, [key]), None)
        content = contents_of({key: frame})[key] if is_ours else receipt.content
        if content != receipt.content or frame.height != receipt.rows:
            raise DamagedPartitionError(path, f"content {content}, receipt says {receipt.content}")
        return receipt

    def _checked(self, path: Path) -> tuple[pl.DataFrame, bool]:
        """A file's rows, as they are on the disk, and whether the identities in its footer are of this version of
        polars. The last one is remembered: the partitions of a month are verified one after the other."""
        try:
            file = identity(path.stat())
            last = self._last_checked  # another thread may verify another file
            if last is None or last[:2] != (path, file):
                data = path.read_bytes()
                is_ours = footer_in(data).get("hp.hashed_by") == HASHED_BY
                self._last_checked = last = path, file, decode(data), is_ours
        except UNREADABLE as error:
            raise DamagedPartitionError(path, error) from error
        return last[2:]

    def clean(self) -> int:
        """Remove what killed writers left beside their files, and the months that were replaced an hour ago or longer.
        Returns how many that were."""
        replaced = 0
        for asset in filter(self.is_by_month, self.assets()):
            with _noted(asset):
                replaced += self._months.retire(asset)
        names = ((folder, name) for folder, *names in os.walk(self.root) for name in chain(*names))
        temporary = (Path(folder, name) for folder, name in names if name.startswith(".") and name.endswith(".tmp"))
        left = [path for path in temporary if not is_alive(path)]
        for path in left:
            path.unlink(missing_ok=True)
            if path.parent.name.startswith("date="):
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
        return len(left) + replaced


@contextlib.contextmanager
def _noted(what: str) -> Iterator[None]:
    """What fails in here is only told: it is tried again the next time, and nothing is lost until then."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        log.warning("%s: %s", what, error)


def _is_of_asset(folder: str) -> bool:
    """Whether a folder of this name is an asset's: there are no others below it."""
    return folder.startswith("date=") or is_months(folder)


def _receipts_of(frames: Mapping[str, pl.DataFrame], inputs: Mapping[str, str]) -> dict[str, Receipt]:
    contents = contents_of(frames)
    return {key: Receipt(contents[key], inputs.get(key, ""), frame.height) for key, frame in frames.items()}


def _known_types(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataType]:
    """The types of the columns that files of these partitions hold."""
    return {name: dtype for frame in frames.values() for name, dtype in known_columns(frame).schema.items()}


def _brought(frame: pl.DataFrame, types: Mapping[str, pl.DataType], wanted: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A partition with its columns of some types in the wanted ones, as it is if it would lose something.

    Raises:
        PolarsError: it cannot be in these types.
    """
    brought = frame.cast(pl.Schema({name: wanted[name] for name in types}))
    return brought if brought.cast(pl.Schema(types)).equals(frame) else frame


def _dated(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The rows of partitions one after the other, each with the date that is its key."""
    dated = []
    for key, frame in frames.items():
        days = pl.Series(DATE, [date.fromisoformat(key)]).new_from_index(0, frame.height)
        # First: it stays where there is no row, and `known_columns` leaves one column.
        dated.append(frame.clone().insert_column(0, days))
    return known_columns(pl.concat(dated, how="diagonal_relaxed"))
