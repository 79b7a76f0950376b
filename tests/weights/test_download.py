"""Addresses that fail in each way they fail in, on a server of this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.conftest import ROOT
from tests.weights.conftest import as_onnx

from siamplex.errors import InputError, StorageError
from siamplex.weights import download


@pytest.fixture
def server():
    """Serves what a test puts into ``files``: a path's bytes, and the length to claim if another."""
    files: dict[str, tuple[bytes, int | None]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in files:
                self.send_error(404)
                return
            data, claimed = files[self.path]
            self.send_response(200)
            if claimed != 0:
                self.send_header("Content-Length", str(claimed or len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}", files
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def dead():
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/a"


@pytest.fixture
def right(passing, tmp_path):
    return as_onnx(tmp_path / "right", passing).read_bytes()


def test_each_address_is_told_of_until_one_is_right(server, dead, right, tmp_path):
    base, files = server
    files["/page"] = (b"<!DOCTYPE html><html>gone</html>", None)
    files["/pointer"] = (b"version https://git-lfs.github.com/spec/v1\noid sha256:6b\n", None)
    files["/short"] = (right[:-1000], len(right))
    files["/right"] = (right, None)
    files["/never"] = (right, None)
    told = []
    names = ("/nowhere", "/page", "/pointer", "/short", "/right", "/never")
    target = tmp_path / "weights" / "a.caffemodel"
    found = download.fetch(target, [dead, "no address", *(base + n for n in names)], False, told.append)
    assert found.kind == "fingerprint" and target.read_bytes() == right
    assert [p.name for p in target.parent.iterdir()] == ["a.caffemodel"]
    assert told == [
        f"{dead}: not reached, Connection refused",
        "no address: not reached, unknown url type: 'no address'",
        f"{base}/nowhere: HTTP 404 Not Found",
        f"{base}/page: dropped, a page of HTML or XML, as a failed download leaves it",
        f"{base}/pointer: dropped, a Git LFS pointer, which only names the file (git lfs pull fetches it)",
        f"{base}/short: broke off after {len(right) - 1000} of {len(right)} bytes",
        f"{base}/right: {found.words}",
    ]


def test_an_answer_without_a_length_is_judged_by_content(server, right, tmp_path):
    base, files = server
    files["/cut"], files["/whole"] = (right[:-1000], 0), (right, 0)
    told = []
    download.fetch(tmp_path / "a", [f"{base}/cut", f"{base}/whole"], False, told.append)
    assert "/cut: dropped, " in told[0] and len(told) == 2


def test_other_weights_are_dropped_unless_accepted(server, made_up, tmp_path):
    base, files = server
    files["/other"] = (as_onnx(tmp_path / "other", made_up).read_bytes(), None)
    told = []
    with pytest.raises(StorageError):
        download.fetch(tmp_path / "a", [f"{base}/other"], False, told.append)
    assert "dropped, other weights, SHA-256 " in told[0] and not (tmp_path / "a").exists()
    assert download.fetch(tmp_path / "a", [f"{base}/other"], True, told.append).kind == "other"


def test_more_than_a_file_can_have_is_dropped(server, right, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_MAX_BYTES", 1 << 20)
    base, files = server
    files["/a"], files["/b"] = (right, None), (right, 0)
    told = []
    with pytest.raises(StorageError, match="2 addresses tried"):
        download.fetch(tmp_path / "got" / "a", [f"{base}/a", f"{base}/b"], False, told.append)
    assert all("more than 1048576" in line for line in told) and not list((tmp_path / "got").iterdir())


def test_where_none_works_it_says_what_to_do(server, tmp_path):
    base, _ = server
    target = tmp_path / "w" / "bvlc_alexnet.caffemodel"
    command = [sys.executable, str(ROOT / "tools/fetch_alexnet.py"), "--out", str(target)]
    done = subprocess.run(
        [*command, "--url", f"{base}/one", "--url", f"{base}/two"], capture_output=True, text=True, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "python")},
    )  # fmt: skip
    assert done.returncode == 2 and not target.exists()
    one, two, error = done.stderr.splitlines()
    assert one == f"{base}/one: HTTP 404 Not Found" and two == f"{base}/two: HTTP 404 Not Found"
    for word in (
        "9116a64c0fbe4459d18f4bb6b56d647b63920377", "bvlcalexnet-12.onnx",
        "6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945", f"--out {target} --file FILE",
        "ALEXNET=FILE",
    ):  # fmt: skip
        assert word in error


def test_a_file_given_by_hand(shared, server, tmp_path):
    base, files = server
    files["/a"] = (shared.read_bytes(), None)
    command = [sys.executable, str(ROOT / "tools/fetch_alexnet.py")]
    places = [tmp_path / "one", tmp_path / "two"]
    for place, source in zip(places, (["--file", str(shared)], ["--url", f"{base}/a"]), strict=True):
        done = subprocess.run(
            [*command, "--out", str(place), *source], capture_output=True, text=True, cwd=ROOT,
            env={"PYTHONPATH": str(ROOT / "python")},
        )  # fmt: skip
        assert done.returncode == 0 and "AlexNet's by fingerprint (conv1 in full" in done.stdout
        assert place.read_bytes() == shared.read_bytes()
    (tmp_path / "bad").write_bytes(b"x")
    with pytest.raises(InputError):
        download.take(tmp_path / "bad", tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_addresses_are_the_published_ones():
    assert download.ADDRESSES[0] == "http://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel"
    assert any("huggingface.co/onnxmodelzoo/" in a for a in download.ADDRESSES)
    assert len(set(download.ADDRESSES)) == len(download.ADDRESSES)
