"""Reading CSV files without trusting them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from siamplex.errors import InputError

MAX_BYTES = 256 << 20


def read_lines(path: str | Path, what: str = "a readable CSV") -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each row of a CSV in UTF-8 of at most MAX_BYTES.  Raises InputError."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(path, f"{what} of at most {MAX_BYTES} bytes", "a larger file")
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle)
            for row in reader:
                if any("\0" in cell for cell in row):
                    raise InputError(f"{path} line {reader.line_num}", "text", "a zero byte")
                yield reader.line_num, row
    except OSError as error:
        raise InputError(path, what, error.strerror or str(error)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, "a CSV in UTF-8", str(error)) from None


def read_rows(
    path: str | Path, columns: Sequence[str], what: str = "a readable CSV"
) -> Iterator[tuple[str, dict[str, str]]]:
    """(``path line N``, values by column) of each row under a header that has at least ``columns``.

    Empty lines are passed over.  Raises InputError.
    """
    header: list[str] | None = None
    for number, row in read_lines(path, what):
        if not row:
            continue
        if header is None:
            header = [name.strip() for name in row]
            missing = [column for column in columns if column not in header]
            if missing:
                raise InputError(path, f"columns {', '.join(columns)}", f"no column {missing[0]}")
            continue
        if len(row) < len(header):
            raise InputError(f"{path} line {number}", f"{len(header)} values", f"{len(row)}")
        yield f"{path} line {number}", dict(zip(header, row, strict=False))
    if header is None:
        raise InputError(path, f"columns {', '.join(columns)}", "an empty file")
