"""The side of real Caffe in compare_layers.py: runs nets of one layer under Caffe's own Python.

It imports only numpy and Caffe's Python module, and runs on old Pythons (3.8 on).  Cases come in on stdin, what Caffe
made of them goes out on stdout.  Each case runs in a process of its own, since a failed check of Caffe ends it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np

SECONDS = 30  # a case may take
PHASES = ("TEST", "TRAIN")  # a backward pass of Caffe may write beside its arrays, so it comes last


def send(stream: IO[bytes], header: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write one message: a line of JSON with the arrays' names and shapes, then their float32 values."""
    arrays = {name: np.array(values, np.float32) for name, values in arrays.items()}
    told = dict(header, arrays=[[name, list(values.shape)] for name, values in arrays.items()])
    stream.write(json.dumps(told).encode() + b"\n")
    for values in arrays.values():
        stream.write(values.tobytes())
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Read one message: its header and its arrays by name; None at the end of the stream."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line.decode())
    arrays = {}
    for name, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        values = stream.read(4 * count)
        if len(values) < 4 * count:
            return None
        arrays[name] = np.frombuffer(values, np.float32).reshape(shape)
    return header, arrays


def drawn(seed: int, index: int, shape: Any) -> Any:
    """The values that both sides give to a parameter, or to the gradient of a top."""
    count = int(np.prod(shape, dtype=np.int64))
    values = np.random.RandomState((seed * 31 + index) % (1 << 32)).standard_normal(count)
    return values.astype(np.float32).reshape(shape)


def run(caffe: Any, path: str, phase: str, header: dict[str, Any], given: dict[str, Any], out: IO[bytes]) -> None:
    """Run one net in one phase; a message to ``out`` after setup, forward and backward pass."""
    net = caffe.Net(path, getattr(caffe, phase))
    params = list(net.params["it"]) if "it" in net.params else []
    shapes = {
        "shapes": [list(net.blobs[name].shape) for name in header["tops"]],
        "params": [list(blob.shape) for blob in params],
    }
    send(out, dict(shapes, phase=phase, reached="setup"), {})
    for name, values in given.items():
        net.blobs[name].data[...] = values.reshape(net.blobs[name].shape)  # a layer in place may have added axes
    for index, name in enumerate(header["fed"]):
        net.blobs[name].data[...] = drawn(header["seed"], 200 + index, net.blobs[name].shape)
    for index, blob in enumerate(params):
        blob.data[...] = drawn(header["seed"], index, blob.shape)
    net.forward()
    tops = {"top " + name: net.blobs[name].data for name in header["tops"]}
    send(out, {"phase": phase, "reached": "forward"}, tops)
    if phase == "TRAIN":
        for index, name in enumerate(header["tops"]):
            if name in header["drawn"]:
                net.blobs[name].diff[...] = drawn(header["seed"], 100 + index, net.blobs[name].shape)
        net.backward()
        slopes = {"gradient of " + name: net.blobs[name].diff for name in header["bottoms"]}
        for index, blob in enumerate(params):
            slopes[f"gradient of blob {index}"] = blob.diff
        send(out, {"phase": phase, "reached": "backward"}, slopes)
    send(out, {"phase": phase, "reached": "end"}, {})


def why(errors: str, status: int) -> str:
    """What Caffe said before it ended the process, in one line."""
    lines = [line for line in errors.splitlines() if line[:1] in "FE[" and line.strip()]
    said = " | ".join(line.partition("] ")[2] or line for line in lines[:3])
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGABRT:
        said = f"died of signal {os.WTERMSIG(status)}; {said}"
    return said or f"exit status {status}"


def fork(
    caffe: Any, path: str, phases: list[str], header: dict[str, Any], given: dict[str, Any]
) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], str]:
    """Messages of a process that runs the net in some phases, and what ended it ("" where nothing did)."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    with tempfile.TemporaryFile() as messages, tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.dup2(errors.fileno(), 2)
                signal.alarm(SECONDS)
                for phase in phases:
                    run(caffe, path, phase, header, given, messages)
                code = 0
            except BaseException as error:  # whatever Python may say of it
                os.write(2, f"E] {type(error).__name__}: {error}".encode())
            finally:
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        messages.seek(0)
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")
        message = receive(messages)
        while message is not None:
            found.append(message)
            message = receive(messages)
    return found, why(said, status) if status else ""


def serve() -> None:
    """Run the cases that come in on stdin until it ends."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ["GLOG_logtostderr"] = "1"  # noqa: SIM112 (glog reads it so)
    source = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")  # whatever Caffe prints goes to stderr
    os.dup2(2, 1)
    caffe = importlib.import_module("caffe")
    caffe.set_mode_cpu()
    send(answers, {"types": sorted(caffe.layer_type_list())}, {})
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "net.prototxt")
        while True:
            case = receive(source)
            if case is None:
                return
            header, given = case
            Path(path).write_text(header["text"])
            left = list(PHASES)
            while left:
                found, said = fork(caffe, path, left, header, given)
                for answer, arrays in found:
                    send(answers, answer, arrays)
                    if answer["reached"] == "end":
                        left.remove(answer["phase"])
                if said and left:
                    send(answers, {"phase": left.pop(0), "reached": "refused", "said": said}, {})


if __name__ == "__main__":
    serve()
