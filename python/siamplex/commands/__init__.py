"""The subcommands, in the order of the pipeline.

Each module has NAME, HELP, add_arguments(parser) and run(args); one whose result can be skipped
when nothing changed has files(args) -> (inputs, outputs).
"""

from types import ModuleType

from siamplex.commands import (
    extract,
    faces,
    figures,
    geometry,
    index,
    pairs,
    prototxt,
    train,
    weights,
)

ALL: tuple[ModuleType, ...] = (
    faces,
    index,
    pairs,
    prototxt,
    weights,
    train,
    extract,
    geometry,
    figures,
)
