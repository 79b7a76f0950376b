"""Parsers of files from others: some hundred damaged files each (tools/fuzz.py tries ten thousand)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.parsers.targets import TARGETS, attempt, mutations, small_memory


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_refused_in_one_line(name, tmp_path, monkeypatch):
    target = TARGETS[name]
    small_memory(monkeypatch.setattr)
    (tmp_path / "seeds").mkdir()
    seeds = target.seeds(tmp_path / "seeds")
    folder = tmp_path / "trial"
    folder.mkdir()
    for seed in seeds:
        assert attempt(target, seed, folder), "a valid file must be accepted"

    @settings(max_examples=200, suppress_health_check=list(HealthCheck))
    @given(mutations(seeds))
    def run(data: bytes) -> None:
        attempt(target, data, folder)

    run()
