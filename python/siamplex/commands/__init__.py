"""The subcommands, in the order of the pipeline.

Each module has NAME, HELP, add_arguments(parser) and run(args), which may return a Told.  One that
works on a run has files(args) -> (inputs, outputs), and run_folder(args) where the run is not to be
seen from the outputs; SKIPS says that a stamp may let it skip what has not changed.
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
