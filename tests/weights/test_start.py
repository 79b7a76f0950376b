"""A substitute only where that was said, or where the faces are drawn."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from tests.conftest import ROOT
from tests.weights.conftest import as_npz

from siamplex.cli import main
from siamplex.errors import InputError, UsageError
from siamplex.weights.start import drawn, start_from


@pytest.fixture
def own_faces(small_run, tmp_path):
    """A pair store whose index says that one face was not drawn."""
    shutil.copytree(small_run / "indexed", tmp_path / "pairs")
    index = tmp_path / "pairs" / "index.csv"
    head, first, *rest = index.read_text().splitlines()
    changed = first.split(",")
    assert changed[4] == "1"
    changed[4] = "0"
    index.write_text("\n".join([head, ",".join(changed), *rest]) + "\n")
    return tmp_path / "pairs"


def test_drawn_faces_start_from_the_substitute_unasked(small_run, tmp_path):
    assert drawn(small_run / "indexed")
    assert start_from(None, None, False, small_run / "indexed") is None
    assert start_from(None, tmp_path / "none", False, small_run / "indexed") is None


def test_a_file_named_must_be_there(small_run, tmp_path):
    for substitute in (False, True):
        with pytest.raises(InputError, match="none: expected AlexNet's weights, as named, found nothing there"):
            start_from(tmp_path / "none", None, substitute, small_run / "indexed")
    (tmp_path / "some").write_bytes(b"x")
    for named, if_there in ((tmp_path / "some", None), (None, tmp_path / "some")):
        assert start_from(named, if_there, False, tmp_path / "nowhere") == tmp_path / "some"


def test_own_faces_need_a_word(own_faces, tmp_path):
    assert not drawn(own_faces)
    with pytest.raises(UsageError, match=r"no AlexNet weights at .*none, and the faces of .*pairs are not drawn ones"):
        start_from(None, tmp_path / "none", False, own_faces)
    assert start_from(None, tmp_path / "none", True, own_faces) is None


def test_where_it_cannot_be_told_a_word_is_needed(tmp_path):
    with pytest.raises(UsageError, match="whether faces are drawn cannot be told"):
        start_from(None, None, False, tmp_path)


def test_the_command(own_run, made_up, capsys):
    deploy = ["--deploy", "run/prototxt/deploy.prototxt"]
    assert main(["weights", *deploy, "--out", "run/weights/new.caffemodel"]) == 0
    index = own_run / "pairs/index.csv"
    index.write_text(index.read_text().replace(",1,", ",0,"))
    before = (own_run / "weights/new.caffemodel").read_bytes()
    assert main(["weights", *deploy, "--out", "run/weights/new.caffemodel", "--seed", "2"]) == 2
    assert "SUBSTITUTE=1" in capsys.readouterr().err
    assert (own_run / "weights/new.caffemodel").read_bytes() == before
    assert main(["weights", *deploy, "--or-substitute", "--alexnet", "none"]) == 2
    assert "none: expected AlexNet's weights" in capsys.readouterr().err
    assert main(["weights", *deploy, "--or-substitute", "--out", "run/weights/new.caffemodel"]) == 0
    assert json.loads((own_run / "weights/new.json").read_text())["conv1-3"] == {"kind": "substitute"}
    as_npz(own_run / "other.npz", made_up)
    assert main(["weights", *deploy, "--alexnet", "run/other.npz"]) == 2
    assert "--accept-other-weights takes others" in capsys.readouterr().err
    assert main(["seeds", "run", "--seeds", "1"]) == 2
    assert "--or-substitute (SUBSTITUTE=1)" in capsys.readouterr().err


# --- make


def make(*arguments, environment=None):
    if not shutil.which("make"):
        pytest.skip("no make here")
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("target", ["train", "finetune", "figures", "report", "seeds"])
def test_make_stops_before_anything_else(target, tmp_path):
    """VENV is nowhere: nothing but the check can have run."""
    (tmp_path / "faces").mkdir()
    common = [target, f"OUT={tmp_path}/out", f"VENV={tmp_path}/venv", "PYTHON=false"]
    done = make(*common, f"FACES={tmp_path}/faces", "ALEXNET=")
    assert done.returncode == 2
    for word in ("make weights", "ALEXNET=FILE", "SUBSTITUTE=1"):
        assert word in done.stderr
    done = make(*common, f"FACES={tmp_path}/faces", "SUBSTITUTE=1", "ALEXNET=/no/such file")
    assert done.returncode == 2 and "ALEXNET=/no/such file: expected AlexNet's weights" in done.stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ((), True),
        (("FACES=/data/nim", "SUBSTITUTE=1"), True),
        (("FACES=/data/nim", f"ALEXNET={ROOT}/README.md"), True),
        (("FACES=/data/nim", "ALEXNET="), False),
        (("ALEXNET=/no/such/file",), False),
    ],
)
def test_make_start(given, passes):
    assert (make("start", *given).returncode == 0) == passes


def test_a_folder_of_drawn_faces_needs_no_word(faces):
    assert make("start", f"FACES={faces}", "ALEXNET=").returncode == 0


def test_a_file_named_by_the_environment_must_be_there():
    done = make("start", environment={"PATH": "/usr/bin:/bin", "ALEXNET": "/no/such/file"})
    assert done.returncode == 2 and "/no/such/file" in done.stderr
    for target in ("docker-train",):
        done = make(target, "OUT=/tmp", "DOCKER=false", "ALEXNET=/no/such/file")
        assert done.returncode == 2 and "/no/such/file: expected AlexNet's weights" in done.stderr


def test_make_hands_on_where_to_start_from(tmp_path):
    text = make("-n", "seeds", "OUT=x", f"ALEXNET={tmp_path}", "OTHER_WEIGHTS=1").stdout
    assert text.count(f"--alexnet '{tmp_path}'") == 2 and text.count("--accept-other-weights") == 2
    text = make("-n", "seeds", "OUT=x", "SUBSTITUTE=1").stdout
    assert text.count("--alexnet-if-there 'weights/bvlc_alexnet.caffemodel'") == 2
    assert text.count("--or-substitute") == 2
    assert "--or-substitute" not in make("-n", "train", "OUT=x").stdout
    text = make("-n", "docker-train", "OUT=/tmp", f"ALEXNET={ROOT}/README.md", "SUBSTITUTE=1").stdout
    assert f"'{ROOT}/README.md:/alexnet.caffemodel:ro'" in text and "'SUBSTITUTE=1'" in text
    text = make("-n", "weights", "URLS=http://a/b http://c/d").stdout
    assert "--url 'http://a/b' --url 'http://c/d'" in text
