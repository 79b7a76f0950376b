from __future__ import annotations

import json

import pytest

from siamplex.cli import main
from siamplex.corpus.index import write_index


@pytest.mark.parametrize(
    ("text", "value"), [("1/256", 1 / 256), ("0.00390625", 1 / 256), ("1", 1.0), ("1/255", 1 / 255)]
)
def test_a_number_or_a_fraction(index, tmp_path, text, value):
    write_index(index, tmp_path / "index.csv")
    command = ["pairs", "--index", str(tmp_path / "index.csv"), "--out", str(tmp_path / "pairs"), "--size", "35"]
    assert main([*command, "--scale", text]) == 0
    assert json.loads((tmp_path / "pairs/pairs.json").read_text())["options"]["scale"] == value


@pytest.mark.parametrize("text", ["0", "-1/256", "1/0", "nan", "inf", "1e999", "a quarter"])
def test_no_other_factor(text, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["pairs", f"--scale={text}"])
    assert stopped.value.code == 2
    assert f"expected a factor above 0, such as 1/256, found '{text}'" in capsys.readouterr().err
