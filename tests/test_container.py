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


def make(*arguments):
    """What make prints for a target."""
    if not shutil.which("make"):
        pytest.skip("no make here")
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_docker_train_hands_all_over(tmp_path):
    weights = tmp_path / "alexnet.caffemodel"
    weights.write_bytes(b"x")
    given = (f"OUT={tmp_path}/run", f"ALEXNET={weights}", "ITERATIONS=100", "NETS_FLAGS=--pool3 --gamma 0.5")
    made = make("docker-train", "DOCKER=echo", "FACES=/data/my faces", *given).splitlines()[-1]
    assert made.startswith("run --rm --gpus all --user ")
    for part in (
        f"--volume {tmp_path}/run:/out ",
        "--volume /data/my faces:/faces:ro ",
        f"--volume {weights}:/alexnet.caffemodel:ro ",
        "siamplex figures OUT=/out ENGINE=caffe DEVICE=cuda FACES=/faces ",
        "ALEXNET=/alexnet.caffemodel",
        "ITERATIONS=100",
        "NETS_FLAGS=--pool3 --gamma 0.5",
    ):
        assert part in made, part
    assert (tmp_path / "run").is_dir()  # made by the caller, so that it is the caller's


def test_docker_train_without_a_gpu_and_with_a_table():
    made = make("-n", "docker-train", "OUT=/tmp/x", "GPUS=", "DEVICE=cpu", "ENGINE=torch", "TARGET=report")
    assert "--gpus" not in made and "report OUT=/out ENGINE=torch DEVICE=cpu" in made


def test_docker_train_takes_a_table_and_any_names(tmp_path):
    made = make("docker-train", "DOCKER=echo", f"OUT={tmp_path}/x", "FACES=corpus/faces.csv")
    assert f"--volume {tmp_path}/x:/out " in made and f"--volume {ROOT}/corpus:/faces:ro " in made
    assert "FACES=/faces/faces.csv" in made
    odd = f"{tmp_path}/mein Versuch \u00e4 'q' (1) #2, & \"d\""
    made = make("docker-train", "DOCKER=printf '[%s]\\n'", f"OUT={odd}", "FACES=its corpus/my faces.csv", "SHOWN=20 40")
    assert f"[{odd}:/out]" in made and f"[{ROOT}/its corpus:/faces:ro]" in made
    assert "[FACES=/faces/my faces.csv]" in made and "[SHOWN=20 40]" in made
    done = subprocess.run(
        ["make", "docker-train", "DOCKER=echo", f"OUT={tmp_path}/a:b"], cwd=ROOT, capture_output=True, text=True
    )
    assert (
        done.returncode == 2 and "OUT: expected a name without a colon" in done.stderr and "run --rm" not in done.stdout
    )


def test_image_takes_the_environment_and_torch_asked_for():
    made = make("-n", "image", "CAFFE_ENV=environments/caffe-cpu.yml", "TORCH=torch", "DOCKER=podman")
    assert "podman build --tag siamplex --build-arg 'CAFFE_ENV=environments/caffe-cpu.yml'" in made
    assert "--build-arg 'TORCH=torch'" in made


def test_processes_are_launched_by_torchrun():
    made = make("-n", "train", "OUT=/tmp/x", "PROCESSES=2").replace("\\\n", "")
    assert "-m torch.distributed.run --nproc-per-node 2 -m siamplex train --engine torch" in made
