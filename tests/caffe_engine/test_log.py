"""Logs recorded from a real caffe binary (1.0.0, CPU)."""

from __future__ import annotations

from pathlib import Path

import pytest

from siamplex.caffe_engine.log import Display, Saved, Scored, StoppedEarly, fatal, read_log

LOGS = Path(__file__).parent / "logs"


def lines(name):
    return (LOGS / f"{name}.log").read_text().splitlines()


def test_a_recorded_training():
    events = list(read_log(lines("train")))
    shown = [e for e in events if isinstance(e, Display)]
    assert [(e.iteration, e.rate) for e in shown] == [(i, 0.005) for i in range(6)] + [(6, None)]
    assert shown[0].loss == pytest.approx(0.244967, rel=1e-4)
    scored = [e for e in events if isinstance(e, Scored)]
    assert [(e.iteration, e.net, e.output) for e in scored] == [(0, 0, "loss"), (3, 0, "loss"), (6, 0, "loss")]
    assert all(0 < e.value < 1 for e in scored)
    assert [e.path for e in events if isinstance(e, Saved)] == [f"snap_iter_{n}.solverstate" for n in (3, 6)]
    assert fatal(lines("train")) is None


def test_events_come_as_soon_as_they_are_known():
    """Each display is there before the lines of the next iteration are read."""
    read = []

    def follow():
        for line in lines("train"):
            read.append(line)
            yield line

    for event in read_log(follow()):
        if isinstance(event, Display) and event.rate is not None:
            assert f"Iteration {event.iteration}, lr" in read[-1]


def test_a_recorded_stop():
    events = list(read_log(lines("stopped")))
    assert isinstance(events[-1], StoppedEarly)
    assert [e.path for e in events if isinstance(e, Saved)] == ["snap_iter_949.solverstate"]


@pytest.mark.parametrize(
    ("name", "words", "advice"),
    [
        ("missing_lmdb", "Check failed: mdb_status == 0 (2 vs. 0) No such file or directory", "an LMDB is not where"),
        ("other_weights", "Cannot copy param 0 weights from layer 'fc4'; shape mismatch.", "those of another net"),
        ("unknown_layer", "Unknown layer type: NRL", "the build lacks this layer"),
        ("cpu_only", "Cannot use GPU in CPU-only Caffe: check mode.", "--device cpu"),
    ],
)
def test_failed_checks_keep_caffes_words_and_add_advice(name, words, advice):
    said = fatal(lines(name))
    assert said and words in said and advice in said and "\n" not in said


def test_older_forms_of_lines():
    """glog without the year, Caffe before it timed iterations, numbers that are none."""
    log = """I0425 10:13:21.205826  9167 solver.cpp:65] Iteration 220, loss = -nan
I0425 10:13:21.205826  9167 solver.cpp:208] Iteration 220, lr = 0.01
I0425 10:13:21.205826  9167 solver.cpp:411] Test loss: 0.25
F0425 10:13:21.205826  9167 net.cpp:7] Check failed: a == b (1 vs. 2) """
    events = list(read_log(log.splitlines()))
    assert isinstance(events[0], Display) and events[0].loss != events[0].loss and events[0].rate == 0.01
    assert events[1] == Scored(0, 0, "(loss)", 0.25)
    assert fatal(log.splitlines()) == "Check failed: a == b (1 vs. 2)"
