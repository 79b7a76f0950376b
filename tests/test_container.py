"""The container and the conda environments, as far as they can be held without an engine that builds them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()


def instructions(name):
    return [line.split(None, 1)[1] for line in LINES if line.startswith(f"{name} ")]


def dependencies(path):
    """Name and pin of each conda dependency."""
    text = (ROOT / path).read_text()
    found = re.findall(r"^  - ([a-z0-9-]+)([<>=][^\s]*)?$", text.split("dependencies:")[1], re.MULTILINE)
    return dict(found)


def test_conda_environments_are_those_of_the_builds_named():
    gpu, cpu, tools = (
        dependencies(p) for p in ("environment.yml", "environments/caffe-cpu.yml", "environments/tools.yml")
    )
    assert gpu == {"python": "=3.6", "caffe-gpu": "=1.0=py36h550cbc0_5", "cudatoolkit": "=9.0", "cudnn": ">=7.3.1"}
    assert cpu == {"python": "=3.7", "caffe": "=1.0=py37h2a89de5_5"}
    assert tools["python"] == "=3.11" and "caffe" not in tools
    for path in ("environment.yml", "environments/caffe-cpu.yml"):
        assert re.search(r"channels:\n  - defaults\n", (ROOT / path).read_text())
    assert "py37hbab4207_5" in (ROOT / "environments/caffe-cpu.yml").read_text()


def test_bases_are_pinned_and_public():
    bases = dict(part.split("=", 1) for part in instructions("ARG") if part.startswith(("MICROMAMBA=", "BASE=")))
    assert set(bases) == {"MICROMAMBA", "BASE"}
    for image in bases.values():
        assert re.fullmatch(r"[a-z0-9/]+:\d+\.\d+[\w.-]*", image), image
    for base in instructions("FROM"):
        assert base.split()[0] in ("${MICROMAMBA}", "${BASE}", "tools")


def test_what_is_copied_exists_and_reaches_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for line in instructions("COPY"):
        *sources, _ = [word for word in line.split() if not word.startswith("--chown")]
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            source = source.replace("${CAFFE_ENV}", "environment.yml").removeprefix("./")
            assert (ROOT / source).exists(), source
            assert any(f"!{part}" in ignored for part in (source, source.split("/")[0])), source


def test_it_runs_as_nobody_in_particular():
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instructions("USER")[-1])
    assert "1777 /out" in " ".join(instructions("RUN")) and instructions("VOLUME") == ["/out"]


def test_nothing_of_others_is_built():
    for step in instructions("RUN"):
        assert not re.search(r"git clone|cmake|\bgcc\b|\bg\+\+|make -j|curl|wget", step)


@pytest.mark.skipif(not shutil.which("hadolint"), reason="no hadolint here")
def test_hadolint_finds_nothing():
    done = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_docker_train_hands_all_over(tmp_path):
    weights = tmp_path / "alexnet.caffemodel"
    weights.write_bytes(b"x")
    made = subprocess.run(
        ["make", "--no-print-directory", "docker-train", "DOCKER=echo", "FACES=/data/my faces", f"OUT={tmp_path}/run", f"ALEXNET={weights}",
         "ITERATIONS=100", "NETS_FLAGS=--pool3 --gamma 0.5"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()[-1]  # fmt: skip
    assert made.startswith("run --rm --gpus all --user ")
    for part in (f"--volume {tmp_path}/run:/out ", "--volume /data/my faces:/faces:ro ",
                 f"--volume {weights}:/alexnet.caffemodel:ro ", "ITERATIONS=100",
                 "siamplex figures OUT=/out ENGINE=caffe DEVICE=cuda FACES=/faces ", "NETS_FLAGS=--pool3 --gamma 0.5",
                 "ALEXNET=/alexnet.caffemodel"):  # fmt: skip
        assert part in made, part
    assert (tmp_path / "run").is_dir()  # made by the caller, so that it is the caller's


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_docker_train_without_a_gpu():
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "docker-train", "DOCKER=echo", "OUT=/tmp/x", "GPUS=", "DEVICE=cpu", "ENGINE=torch",
         "TARGET=report"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "--gpus" not in made and "report OUT=/out ENGINE=torch DEVICE=cpu" in made
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "docker-train", "OUT=x", "FACES=corpus/faces.csv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f'--volume "{ROOT}/x:/out"' in made and f'--volume "{ROOT}/corpus/:/faces:ro"' in made
    assert "FACES=/faces/faces.csv" in made


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_processes_are_launched_by_torchrun():
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "train", "OUT=/tmp/x", "PROCESSES=2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "-m torch.distributed.run --nproc-per-node 2 -m siamplex train --engine torch" in made.replace("\\\n", "")
