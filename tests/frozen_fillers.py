"""For tests of other things: nets whose frozen convolutions keep what their fillers drew."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def frozen_fillers_are_meant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``--allow-unfilled``, but for tests marked ``unfilled``."""
    if "unfilled" not in request.keywords:
        monkeypatch.setattr("siamplex.engine.checkpoint.frozen_unfilled", lambda layers, filled: [])
        monkeypatch.setattr("siamplex.caffe_engine.course.frozen_unfilled", lambda layers, filled: [])
