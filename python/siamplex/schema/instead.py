"""Error words for a wrong file: what was found, and how to use it: ``a caffemodel; --weights starts from it``."""

from __future__ import annotations

from pathlib import Path

from siamplex.run.output_names import ending, without
from siamplex.schema import file_kinds as kinds
from siamplex.schema.file_kinds import FileKind, kind_of

_SIMPLE = {
    (kinds.CAFFEMODEL, kinds.NPZ): "siamplex weights --alexnet takes AlexNet's from one",
    (kinds.CAFFEMODEL, kinds.ONNX): "siamplex weights --alexnet takes AlexNet's from one",
    (kinds.CAFFEMODEL, kinds.MEAN): "transform_param's mean_file names one",
    (kinds.CAFFEMODEL, kinds.SOLVER): "--solver takes it",
    (kinds.SOLVERSTATE, kinds.SOLVER): "--solver takes it",
    (kinds.SOLVER, kinds.NET): "a solver names its net",
    (kinds.SOLVER, kinds.TRAIN_VAL): "give the solver that names it as its net",
    (kinds.SOLVER, kinds.DEPLOY): "a solver names its train_val net; --deploy takes this one",
    (kinds.NET, kinds.SOLVER): "give the net that it names",
    (kinds.DEPLOY, kinds.SOLVER): "--solver takes it",
    (kinds.DEPLOY, kinds.TRAIN_VAL): "give the deploy net, one tower with an Input layer",
    (kinds.TRAIN_VAL, kinds.DEPLOY): "training needs a net with data layers and a loss",
    (kinds.STORE, kinds.EMBEDDING): "its pair store is the folder that siamplex pairs wrote",
    (kinds.STORE, kinds.LMDB): "the pair store is the folder around it",
    (kinds.EMBEDDING, kinds.CAFFEMODEL): "siamplex extract makes an embedding with it",
    (kinds.LMDB, kinds.LMDB_DATA): "",
    (kinds.LMDB, kinds.LEVELDB): "backend: LEVELDB reads it",
    (kinds.LEVELDB, kinds.LMDB): "backend: LMDB reads it",
}


def instead(path: str | Path, wanted: str, otherwise: str = "something else") -> str:
    """What lies at ``path`` where a ``wanted`` (a constant of :mod:`~siamplex.schema.file_kinds`) was expected.

    ``otherwise`` is the answer for a file of unknown kind, or of the wanted kind (whose fault is then another).  Raises
    nothing.
    """
    path = Path(path)
    found = kind_of(path)
    if found is None or found.name == wanted:
        return f"{found.words} ({otherwise})" if found and "breaks off" in found.words else otherwise
    advice = _advice(path, wanted, found)
    return f"{found.words}; {advice}" if advice else found.words


def _advice(path: Path, wanted: str, found: FileKind) -> str:
    if found.name == kinds.RUN:
        return _in_run(path, wanted)
    if found.name == kinds.STORE and wanted == kinds.RUN:
        return f"the run's folder is {path.parent if path.name else path.resolve().parent}"
    if found.name == kinds.FOLDER and wanted in (kinds.STORE, kinds.LMDB):
        inner = next((p for p in _entries(path) if (k := kind_of(p)) and k.name == wanted), None)
        return f"{inner} is one" if inner else ""
    if found.name in (kinds.CAFFEMODEL, kinds.SOLVERSTATE, kinds.MANIFEST):
        own = _of_snapshot(path, wanted, found.name)
        if own:
            return own
    return _SIMPLE.get((wanted, found.name), "")


def _of_snapshot(path: Path, wanted: str, found: str) -> str:
    """The other file of a snapshot, and the option for this one."""
    stem = without(path, *(f".{kind}{h5}" for kind in ("caffemodel", "solverstate") for h5 in (".h5", "")), ".json")
    names = {kinds.CAFFEMODEL: "caffemodel", kinds.SOLVERSTATE: "solverstate"}
    there = [ending(stem, f".{names[wanted]}{h5}") for h5 in ("", ".h5")] if wanted in names else []
    other = next((str(one) for one in there if one != path and one.is_file()), "")
    if wanted == kinds.SOLVERSTATE and found == kinds.CAFFEMODEL:
        return "--weights starts from it" + (f", --snapshot {other} goes on from it" if other else "")
    if wanted == kinds.CAFFEMODEL and found == kinds.SOLVERSTATE:
        return f"--snapshot goes on from it{f', its weights are {other}' if other else ''}"
    if found == kinds.MANIFEST and other:
        return f"give {other}"
    return ""


def _in_run(run: Path, wanted: str) -> str:
    """Where a run has what is wanted."""
    if wanted == kinds.STORE and (run / "pairs" / "pairs.json").is_file():
        return f"its pair store is {run / 'pairs'}"
    patterns = {
        kinds.CAFFEMODEL: ["stage2/*.caffemodel", "stage1/*.caffemodel", "weights/*.caffemodel"],
        kinds.SOLVERSTATE: ["stage2/*.solverstate", "stage1/*.solverstate"],
        kinds.SOLVER: ["solvers/*.prototxt"],
        kinds.NET: ["prototxt/*.prototxt"],
        kinds.DEPLOY: ["prototxt/deploy.prototxt"],
        kinds.EMBEDDING: ["features/stage2.npz", "features/*.npz"],
        kinds.LMDB: ["pairs/*_lmdb"],
    }
    for pattern in patterns.get(wanted, []):
        there = sorted(run.glob(pattern), key=lambda p: p.stat().st_mtime)
        if there:
            return f"{there[-1]} is one in it"
    return ""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:100]
    except OSError:
        return []
