"""A run whose snapshots are in HDF5: trained, continued, extracted from and audited as any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siamplex.cli import main
from siamplex.embedding import read_embedding
from siamplex.schema.weights import read_caffemodel
from tests.audit.test_audit import look, only_new


def test_a_run_in_hdf5(own_run, capsys):
    before = look(own_run)
    for stage in (1, 2):
        solver = own_run / f"solvers/stage{stage}_indexed.prototxt"
        solver.write_text(solver.read_text() + "\nsnapshot_format: HDF5\n")
        start = "run/weights/init.caffemodel" if stage == 1 else "run/stage1/snap_iter_6.caffemodel.h5"
        lean = " --lean-snapshots --keep-states 1" if stage == 2 else ""
        command = f"train --solver {solver} --overwrite --weights {start},run/pairs/images.caffemodel{lean}"
        assert main(command.split()) == 0
        assert not list((own_run / f"stage{stage}").glob("*.caffemodel"))
    last = own_run / "stage2/snap_iter_6.caffemodel.h5"
    assert len(list((own_run / "stage2").glob("*.solverstate.h5"))) == 1
    tables = set(read_caffemodel(own_run / "pairs/images.caffemodel"))
    assert tables and not tables & set(read_caffemodel(last))
    for name in ("h", "stage2"):
        command = f"extract --weights {last} --deploy run/prototxt/deploy.prototxt --out run/features/{name}.npz"
        ours, theirs = run_and_read(command, own_run / f"features/{name}.npz", own_run / "features/stage2.npz")
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    after = look(own_run)
    assert set(after) == set(before) and not only_new(before, after)
    capsys.readouterr()
    assert main("train --solver run/solvers/stage2_indexed.prototxt --resume".split()) == 0
    assert capsys.readouterr().err.count("error") == 0


def run_and_read(command: str, written: Path, other: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points of the embedding that a command writes, and of another as it was before."""
    before = read_embedding(other).points
    assert main(command.split()) == 0
    return read_embedding(written).points, before
