"""Files that claim what they do not hold."""

from __future__ import annotations

import ast
import struct
from pathlib import Path

import lmdb
import numpy as np
import pytest
from tests.parsers.targets import _write_lmdb

import siamplex
from siamplex.engine.net.net import Net
from siamplex.engine.training.solver_file import SolverFile
from siamplex.errors import InputError, PrototxtError
from siamplex.pairs.build import open_store
from siamplex.schema import prototxt
from siamplex.schema.array_files import read_arrays
from siamplex.schema.lmdb_files import check
from siamplex.schema.weights import read_caffemodel, read_solverstate
from siamplex.schema.wire import key, prefix, varint


def blob(dims, values=b""):
    packed = b"".join(map(varint, dims))
    shape = prefix(7, len(packed) + len(prefix(1, len(packed)))) + prefix(1, len(packed)) + packed
    return shape + prefix(5, len(values)) + values


def test_two_gigabytes_claimed_by_a_kilobyte_are_refused(tmp_path):
    inner = prefix(1, 2) + b"fc" + prefix(7, len(blob([1 << 29]))) + blob([1 << 29])
    (tmp_path / "m.caffemodel").write_bytes(prefix(100, len(inner)) + inner + b"\x0a" + varint(900) + b"n" * 900)
    with pytest.raises(InputError, match=r"a blob of shape \(536870912,\) with 0 values"):
        read_caffemodel(tmp_path / "m.caffemodel")
    (tmp_path / "s.solverstate").write_bytes(prefix(3, 1 << 31) + b"\0" * 900)
    with pytest.raises(InputError, match="field 3 claims 2147483648 bytes, 900 are left"):
        read_solverstate(tmp_path / "s.solverstate")


@pytest.mark.parametrize("dims", [[0, 2**63], [2**64 - 1, 0], [0] * 33, [0] * 40])
def test_shapes_beyond_any_array_are_refused(tmp_path, dims):
    inner = prefix(1, 2) + b"fc" + prefix(7, len(blob(dims))) + blob(dims)
    (tmp_path / "m.caffemodel").write_bytes(prefix(100, len(inner)) + inner)
    with pytest.raises(InputError, match="expected a whole caffemodel"):
        read_caffemodel(tmp_path / "m.caffemodel")


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        ('type: "InnerProduct" inner_product_param { num_output: 4000000000 }', "asks for more than the"),
        ('type: "Convolution" convolution_param { num_output: 4000000000 kernel_size: 3 }', "asks for more than the"),
        ('type: "Embed" embed_param { num_output: 4000000000 input_dim: 4000000000 }', "asks for more than the"),
    ],
)
def test_a_net_larger_than_the_machine_is_refused_by_line(layer, what):
    text = f"""input: "d" input_shape {{ dim: 2 dim: 3 dim: 9 dim: 9 }}
layer {{ name: "big" bottom: "d" top: "t" {layer} }}"""
    with pytest.raises(PrototxtError, match=rf"net.prototxt:2: layer 'big' .*{what}"):
        Net(prototxt.parse(text, "NetParameter", "net.prototxt"), "TRAIN")


def test_an_input_larger_than_the_machine_is_refused():
    text = 'input: "d" input_shape { dim: 2000000000 dim: 2000000000 }'
    with pytest.raises(PrototxtError, match=r"layer 'input' .*top 'd': shape .* asks for more"):
        Net(prototxt.parse(text, "NetParameter", "net.prototxt"), "TRAIN")


def test_compressed_arrays_and_objects_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1 << 20))
    with pytest.raises(InputError, match=r"x\.npy is compressed"):
        read_arrays(tmp_path / "a.npz", "arrays")
    np.savez(tmp_path / "b.npz", x=np.array([{}], object))
    with pytest.raises(InputError, match=r"x\.npy claims \(1,\) of object"):
        read_arrays(tmp_path / "b.npz", "arrays")


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back(tmp_path, order):
    given = {"a": np.asarray(np.arange(6.0).reshape(2, 3), order=order), "b": np.array(["x", "yz"]), "c": np.array(3)}
    np.savez(tmp_path / "a.npz", **given)
    for name, array in read_arrays(tmp_path / "a.npz", "arrays").items():
        np.testing.assert_array_equal(array, given[name])


# --- LMDB: each of these crashes or misleads the library itself


def page(folder, number, size=4096):
    data = bytearray((folder / "data.mdb").read_bytes())
    return data, memoryview(data)[number * size : (number + 1) * size]


def root_of(data):
    metas = [struct.unpack_from("<Q", data, n * 4096 + 16 + 24 + 48 + 40)[0] for n in (0, 1)]
    newest = max((0, 1), key=lambda n: struct.unpack_from("<Q", data, n * 4096 + 16 + 24 + 96 + 8)[0])
    return metas[newest]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda p: struct.pack_into("<H", p, 16, 4094), "a node outside"),
        (lambda p: struct.pack_into("<H", p, 16, 17), "a node outside"),
        (lambda p: struct.pack_into("<H", p, 12, 5000), "no room for its nodes"),
        (lambda p: struct.pack_into("<H", p, 12, 16), "no room for its nodes"),
        (lambda p: struct.pack_into("<H", p, 10, 1), "not what it should be"),
        (lambda p: struct.pack_into("<Q", p, 0, 77), "not what it should be"),
        (lambda p: struct.pack_into("<H", p, struct.unpack_from("<H", p, 16)[0] + 6, 65000), "a value outside"),
        (lambda p: struct.pack_into("<H", p, struct.unpack_from("<H", p, 16)[0] + 2, 9), "a value outside"),
        (lambda p: struct.pack_into("<H", p, struct.unpack_from("<H", p, 16)[0] + 4, 2), "a node of another kind"),
    ],
)
def test_a_crafted_leaf_is_refused(tmp_path, change, what):
    _write_lmdb(tmp_path / "l")
    check(tmp_path / "l")
    data = bytearray((tmp_path / "l/data.mdb").read_bytes())
    root = root_of(data)
    change(memoryview(data)[root * 4096 : (root + 1) * 4096])
    (tmp_path / "l/data.mdb").write_bytes(data)
    with pytest.raises(InputError, match=f"expected an LMDB whose pages make a tree, found .*{what}"):
        check(tmp_path / "l")


@pytest.mark.parametrize(("at", "value"), [(24, 32768), (28, 0x0B), (24 + 48 + 4, 4)])
def test_metas_that_disagree_or_ask_for_more_are_refused(tmp_path, at, value):
    """Page size, flags of the free pages' database, flags of the records'."""
    _write_lmdb(tmp_path / "l")
    data = bytearray((tmp_path / "l/data.mdb").read_bytes())
    struct.pack_into("<H", data, 4096 + 16 + at, value)
    (tmp_path / "l/data.mdb").write_bytes(data)
    with pytest.raises(InputError, match="expected an LMDB"):
        check(tmp_path / "l")


def test_branches_in_a_circle_and_far_values_are_refused(tmp_path):
    _write_lmdb(tmp_path / "l", 400, 3)
    data = bytearray((tmp_path / "l/data.mdb").read_bytes())
    root = root_of(data) * 4096
    assert struct.unpack_from("<H", data, root + 10)[0] & 1  # a branch
    node = root + struct.unpack_from("<H", data, root + 18)[0]
    first = root + struct.unpack_from("<H", data, root + 16)[0]
    data[node : node + 6] = data[first : first + 6]
    (tmp_path / "l/data.mdb").write_bytes(data)
    with pytest.raises(InputError, match="or twice"):
        check(tmp_path / "l")
    _write_lmdb(tmp_path / "m", 2, 60)
    data = bytearray((tmp_path / "m/data.mdb").read_bytes())
    root = root_of(data) * 4096
    node = root + struct.unpack_from("<H", data, root + 16)[0]
    assert struct.unpack_from("<H", data, node + 4)[0] == 1  # on pages of its own
    struct.pack_into("<H", data, node + 2, 0x7FFF)
    (tmp_path / "m/data.mdb").write_bytes(data)
    with pytest.raises(InputError, match="a value outside the file"):
        check(tmp_path / "m")


def test_an_empty_store_is_a_tree(tmp_path):
    with lmdb.open(str(tmp_path / "e"), map_size=1 << 20):
        pass
    check(tmp_path / "e")


# --- paths


def solver(folder, net='"net.prototxt"', prefix='"snap"'):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "s.prototxt"
    path.write_text(f'net: {net} snapshot_prefix: {prefix} base_lr: 1 lr_policy: "fixed" max_iter: 1')
    (folder / "net.prototxt").write_text('name: "n"')
    return path


@pytest.mark.parametrize("prefix", ['"../../out/snap"', '"/tmp/elsewhere/snap"', '"a/../../../snap"'])
def test_a_prefix_outside_is_refused_unless_asked(tmp_path, monkeypatch, prefix):
    monkeypatch.chdir(tmp_path)
    path = solver(tmp_path / "a/b/c", prefix=prefix)
    monkeypatch.chdir(tmp_path / "a/b/c")
    with pytest.raises(InputError, match=r"expected paths within .* \(--allow-outside lifts this\), found"):
        _ = SolverFile(path).prefix
    assert SolverFile(path, outside=True).prefix == prefix.strip('"')


def test_nets_sources_and_means_outside_are_refused(tmp_path, monkeypatch):
    own = tmp_path / "run/solvers"
    other = tmp_path / "other"
    other.mkdir()
    (other / "net.prototxt").write_text('name: "n"')
    path = solver(own, net=f'"{other}/net.prototxt"')
    monkeypatch.chdir(own)
    with pytest.raises(InputError, match="expected paths within"):
        list(SolverFile(path).nets())
    list(SolverFile(path, outside=True).nets())
    (own / "link").symlink_to(other)
    with pytest.raises(InputError, match="expected paths within"):
        list(SolverFile(solver(own, net='"link/net.prototxt"')).nets())
    _write_lmdb(other / "l")
    (own / "net.prototxt").write_text(
        f'layer {{ name: "d" type: "Data" top: "d" data_param {{ source: "{other}/l" batch_size: 1 backend: LMDB }} }}'
    )
    file = SolverFile(path := solver(own))
    (own / "net.prototxt").write_text(
        f'layer {{ name: "d" type: "Data" top: "d" data_param {{ source: "{other}/l" batch_size: 1 backend: LMDB }} }}'
    )
    with pytest.raises(InputError, match="expected paths within"):
        Net(next(iter(file.nets())).source, "TRAIN")
    Net(next(iter(SolverFile(path, outside=True).nets())).source, "TRAIN")


def test_a_runs_solver_may_name_all_of_the_run(tmp_path, monkeypatch):
    path = solver(tmp_path / "run/solvers", prefix=f'"{tmp_path}/run/stage1/snap"')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert SolverFile(path).prefix.endswith("run/stage1/snap")


def test_a_pair_store_names_only_its_own_files(tmp_path):
    (tmp_path / "pairs.json").write_text(
        '{"options": {"layout": "indexed", "size": 9, "mean": [1, 2, 3]}, "images": 2, "synthetic": false, '
        '"lmdbs": {"train": {"path": "../../etc"}}, "table": null, "format": 1}'
    )
    with pytest.raises(InputError, match=r"path '\.\./\.\./etc', not a name in its folder"):
        open_store(tmp_path)


# --- nothing that could run code


def test_nothing_unpickles_or_evaluates():
    forbidden = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
    root = Path(siamplex.__file__).parent
    files = [*root.rglob("*.py"), *(root.parents[1] / "tools").glob("*.py")]
    assert len(files) > 100
    workers = root / "multiverse" / "workers.py"  # joblib hands jobs to its own processes, and reads no file
    for file in files:
        banned = forbidden - {"joblib"} if file == workers else forbidden
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not banned & {alias.name.split(".")[0] for alias in node.names}, file
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, file
            elif isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                assert name not in ("eval", "exec", "compile", "__import__"), file
                if isinstance(node.func, ast.Attribute):
                    full = ast.unparse(node.func)
                    assert full not in ("torch.load", "torch.save", "np.load", "os.system"), file
                for keyword in node.keywords:
                    is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                    assert not (keyword.arg in ("allow_pickle", "shell") and is_true), file


def test_keys_are_what_the_helpers_make():
    assert key(1, 0) == b"\x08"
