"""The choice between all threads and one, on a clock of our own."""

from __future__ import annotations

import pytest
import torch

from siamplex.engine.fast import threads as module
from siamplex.engine.fast.threads import ThreadChoice, choice, threads


class Machine:
    """Iterations take as long as ``cost`` says for a number of threads."""

    def __init__(self, cost, most=2):
        self.cost, self.now, self.count, self.used = cost, 0.0, most, []
        self.choice = ThreadChoice(most, self.use, lambda: self.now)

    def use(self, count):
        self.count = count

    def run(self, iterations):
        start = self.now
        for _ in range(iterations):
            self.choice.tick()
            self.used.append(self.count)
            self.now += self.cost[self.count]
        return self.now - start


def test_all_threads_where_cores_are_idle():
    machine = Machine({2: 5.0, 1: 8.0})
    took = machine.run(4000)
    assert machine.choice.count == 2
    assert took < 4000 * 5.0 * 1.01  # trials cost little


def test_one_thread_where_the_others_are_held_up():
    machine = Machine({2: 20.0, 1: 8.0})
    machine.run(100)
    assert machine.choice.count == 1
    assert machine.run(4000) < 4000 * 8.0 * 1.02


def test_follows_a_change_of_load():
    machine = Machine({2: 5.0, 1: 8.0})
    machine.run(2000)
    machine.cost = {2: 20.0, 1: 8.0}
    machine.run(40)  # at once, not when the next trial would come
    assert machine.used[-1] == 1
    machine.cost = {2: 5.0, 1: 8.0}
    machine.run(1100)
    assert machine.used[-1] == 2


def test_a_single_long_iteration_changes_nothing():
    machine = Machine({2: 5.0, 1: 8.0})
    machine.run(50)
    used = len(machine.used)
    machine.cost = {2: 500.0, 1: 500.0}
    machine.run(1)  # a test, say
    machine.cost = {2: 5.0, 1: 8.0}
    machine.run(8)
    assert set(machine.used[used:]) == {2}


def test_a_rest_is_not_counted():
    machine = Machine({2: 20.0, 1: 8.0})
    machine.run(100)
    machine.choice.rest()
    assert machine.count == 2  # for a snapshot
    machine.now += 1e6
    machine.run(8)
    assert set(machine.used[-8:]) == {1}


def test_with_one_thread_there_is_no_choice():
    machine = Machine({1: 8.0}, most=1)
    machine.run(200)
    assert set(machine.used) == {1}


def test_no_choice_where_numbers_would_differ(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(module, "_alike", lambda most: False)
        assert choice(torch.device("cpu")).most == 1
        monkeypatch.setattr(module, "_alike", lambda most: True)
        assert choice(torch.device("cpu")).most == 2
        assert choice(torch.device("meta")).most == 1
    finally:
        torch.set_num_threads(before)


def test_numbers_that_differ_are_found(monkeypatch):
    assert module._alike(torch.get_num_threads())
    plain = module.times_transposed
    monkeypatch.setattr(
        module, "times_transposed", lambda x, w, bias: plain(x, w, bias) + 1e-6 * torch.get_num_threads()
    )
    assert not module._alike(torch.get_num_threads() + 1)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError
    assert torch.get_num_threads() == before
