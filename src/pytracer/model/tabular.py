"""The interface that all items share: rows, NumPy, Arrow, pandas, and a representation for people.

An item is seen as a table: ``time`` first, then its columns, all of one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.record import record
from pytracer.text import harmless

Values = Sequence[Any] | Array
_SHOWN_ROWS = 10  # of a representation


@record
class Coded:
    """A column of names: the distinct ones, and which of them each row has (-1: none), shape (n,)."""

    names: Sequence[str]
    codes: Array

    def __len__(self) -> int:
        return len(self.codes)

    def tolist(self) -> list[str | None]:
        """Return one name a row; None where it has none."""
        names = [*self.names, None]
        return [names[code] for code in self.codes.tolist()]


class Tabular:
    """An item as a table. A subclass defines ``table``."""

    def table(self) -> Mapping[str, Values | Coded]:
        """Return the columns by name; ``time`` is the first: ns since the epoch, int64."""
        raise NotImplementedError

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dictionary of plain Python values; ``time`` is a datetime (UTC)."""
        import datetime

        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        for row in rows_of(self.table()):
            nanoseconds = row["time"]
            yield row | {"time": epoch + datetime.timedelta(microseconds=nanoseconds // 1000)}

    def to_numpy(self) -> dict[str, Array]:
        """Return every column as an array of shape (n,).

        ``time`` is datetime64[ns]; numbers are as in C, in a masked array where one may be null; names and
        stacks are objects. Buckets of histograms have the shape (n, 64).
        """
        columns = {name: _as_array(values) for name, values in self.table().items()}
        return columns | {"time": columns["time"].astype("datetime64[ns]")}

    def to_arrow(self) -> Any:
        """Return a pyarrow.Table; names of events are dictionaries. Raises ImportError without pyarrow."""
        import pyarrow

        columns: dict[str, Any] = {}
        for name, values in self.table().items():
            if isinstance(values, Coded):
                codes = pyarrow.array(values.codes.astype("int32"), mask=values.codes < 0)
                names = pyarrow.array(list(values.names), pyarrow.string())
                columns[name] = pyarrow.DictionaryArray.from_arrays(codes, names)
            elif isinstance(values, np.ndarray) and values.ndim == 1:
                missing = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
                columns[name] = pyarrow.array(np.ascontiguousarray(np.ma.getdata(values)), mask=missing)
            else:
                columns[name] = pyarrow.array(list(values))
        columns["time"] = pyarrow.array(columns["time"].to_numpy(), pyarrow.timestamp("ns", "UTC"))
        return pyarrow.table(columns)

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame; names of events are categories, numbers that may be null pandas' own
        integers. Raises ImportError without pandas."""
        import pandas

        columns: dict[str, Any] = {}
        for name, values in self.table().items():
            if isinstance(values, Coded):
                columns[name] = pandas.Categorical.from_codes(values.codes, list(values.names))
                continue
            array = _as_array(values)
            if np.ma.isMaskedArray(array) and array.dtype.kind in "iu":
                columns[name] = pandas.arrays.IntegerArray(array.data.copy(), np.ma.getmaskarray(array))
            else:
                columns[name] = list(array) if array.ndim > 1 else array
        columns["time"] = pandas.to_datetime(columns["time"], utc=True)
        return pandas.DataFrame(columns)

    def describe(self) -> str:
        """Return one line that says what the item is."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{self.describe()}\n{self._format('simple')}"

    def _repr_html_(self) -> str:
        """Return the first rows as an HTML table, for notebooks."""
        import html

        return f"<p>{html.escape(self.describe())}</p>{self._format('html')}"

    def _format(self, form: str) -> str:
        from tabulate import tabulate

        table = self.table()
        first = {
            name: (values.tolist() if isinstance(values, Coded) else values)[:_SHOWN_ROWS]
            for name, values in table.items()
        }
        rows = [
            {name: _text(value) for name, value in row.items() if name != "time"} for row in rows_of(first)
        ]
        omitted = len(table["time"]) - len(rows)
        text = str(tabulate(rows, headers="keys", tablefmt=form, disable_numparse=True))
        if omitted <= 0:
            return text
        return f"{text}<p>and {omitted} more</p>" if form == "html" else f"{text}\nand {omitted} more"


def rows_of(columns: Mapping[str, Values | Coded]) -> Iterator[dict[str, Any]]:
    """Yield rows of plain Python values. Raises ValueError for columns of different lengths."""
    lists = [v.tolist() if isinstance(v, (np.ndarray, Coded)) else list(v) for v in columns.values()]
    for row in zip(*lists, strict=True):
        yield dict(zip(columns, row, strict=True))


def repeat_time(seconds: float, count: int) -> Array:
    """Return the column ``time`` of rows that were all read at one moment."""
    return np.full(count, nanoseconds_of(seconds), dtype=np.int64)


def nanoseconds_of(seconds: float) -> int:
    """Convert a time since the epoch to nanoseconds; a float holds microseconds of it."""
    return round(seconds * 1e6) * 1000


def _as_array(values: Values | Coded) -> Array:
    """Return a column as an array; of numbers of which some are null, a masked one."""
    if isinstance(values, Coded):
        return np.array([*values.names, None], dtype=object)[values.codes]
    if isinstance(values, np.ndarray):
        return values
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, (int, float)) for value in present):
        missing = [value is None for value in values]
        numbers = np.array([0 if value is None else value for value in values])
        return np.ma.masked_array(numbers, missing) if any(missing) else numbers
    objects = np.empty(len(values), dtype=object)
    objects[:] = [tuple(value) if isinstance(value, list) else value for value in values]
    return objects


def _text(value: object) -> str:
    """Return a cell for people: nothing in it can move a terminal's cursor."""
    if value is None:
        return "-"
    if isinstance(value, (tuple, list)):
        value = ";".join(map(str, value))
    return harmless(str(value))
