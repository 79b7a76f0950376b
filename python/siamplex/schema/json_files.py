"""Reading JSON files without trusting them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from siamplex.errors import InputError
from siamplex.schema.file_kinds import JSON, MANIFEST, TEXT, kind_of, words_for

MAX_BYTES = 256 << 20


def parse_object(text: str, path: str | Path, what: str) -> dict[str, Any]:
    """The object in ``text``; raises InputError saying that ``what`` was expected at ``path``."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(path, what, f"no JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(path, what, f"a JSON {type(content).__name__}")
    return content


def read_object(path: str | Path, what: str) -> dict[str, Any]:
    """The JSON object in a file of at most MAX_BYTES.  Raises InputError."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(path, f"{what} of at most {MAX_BYTES} bytes", "a larger file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(path, what, words_for(path, error.strerror or str(error))) from None
    except UnicodeDecodeError as error:
        raise InputError(path, what, words_for(path, str(error))) from None
    try:
        return parse_object(text, path, what)
    except InputError:
        kind = kind_of(path)
        if kind is None or kind.name in (JSON, MANIFEST, TEXT):
            raise
        raise InputError(path, what, kind.words) from None
