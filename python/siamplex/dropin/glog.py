"""Log lines in glog's format, so that scripts that parse Caffe's log can parse this one."""

from __future__ import annotations

import os
import sys
from datetime import datetime


def info(text: str, where: str = "caffe.cpp:0") -> None:
    """A message at level I on standard error: level and day, time, process, where, text, which may have more lines."""
    now = datetime.now()
    print(f"I{now:%m%d %H:%M:%S.%f} {os.getpid():5d} {where}] {text}", file=sys.stderr, flush=True)


def number(value: float) -> str:
    """A number as C++ streams print it: six significant digits."""
    return f"{value:.6g}"
