"""The subcommands, in the order of the pipeline.

Each module has NAME, HELP, add_arguments(parser) and run(args), which may return a Told.  A command that works on a run
also has files(args) -> (inputs, outputs), and run_folder(args) if the outputs do not show which run it is.  SKIPS says
that a stamp may let the command skip unchanged work.
"""

from types import ModuleType

from siamplex.commands import (
    audit,
    caffe,
    contact,
    doctor,
    extract,
    faces,
    figures,
    geometry,
    index,
    mds,
    multiverse,
    net,
    pairs,
    plan,
    prototxt,
    report,
    seeds,
    similarity,
    train,
    weights,
)

ALL: tuple[ModuleType, ...] = (
    plan,
    faces,
    index,
    contact,
    pairs,
    prototxt,
    weights,
    train,
    extract,
    geometry,
    figures,
    similarity,
    mds,
    seeds,
    multiverse,
    audit,
    report,
    doctor,
    net,
    caffe,
)
