"""Each rule of the paragraph, on tables made so that the answer is known."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from siamplex.multiverse.chance import chances
from siamplex.multiverse.words import CLAIMS, FEW, HANGS, HOLDS, NEVER, paragraph, verdicts

SETTINGS = ["scale", "batch"]


def cells(scales=(1.0, 0.5), batches=(32, 256), seeds=6) -> pd.DataFrame:
    """Cells of which all is true but the paper's order."""
    rows = list(product(scales, batches, range(seeds)))
    table = pd.DataFrame(rows, columns=[*SETTINGS, "seed"]).assign(fold=0, control="", diverged=False, labels="a")
    plain = {"held_out_accuracy": 0.5, "held_out_accuracy_low": 0.4, "held_out_chance": 0.25, "ratio": 0.6,
             "rho_action_units_low": 0.1}  # fmt: skip
    for name, value in plain.items():
        table[name] = pd.array([value] * len(table), dtype="Float64")
    for name, value in {"overlap_rank_SP_FE": 1, "overlap_rank_AN_DI": 2, "happiness_rank": 1}.items():
        table[name] = pd.array([value] * len(table), dtype="Int64")
    for name, value in {"learnt": True, "line": False, "agrees": False, "agrees_either": False}.items():
        table[name] = pd.array([value] * len(table), dtype="boolean")
    table["training"] = pd.array([f"t{i}" for i in range(len(table))], dtype="string")
    table["order"] = pd.array(["HA-AN-FE-DI-SA-SP"] * len(table), dtype="string")
    return table


def kinds(table: pd.DataFrame) -> dict[str, str]:
    return {v.name: v.kind for v in verdicts(table, SETTINGS)}


def words(table: pd.DataFrame, accuracies=None, drawn=False) -> str:
    return paragraph(table, verdicts(table, SETTINGS), chances(table), accuracies or {}, drawn)


def test_what_holds_and_what_no_cell_showed():
    found = kinds(cells())
    assert found.pop("agrees_either") == NEVER
    assert set(found.values()) == {HOLDS}
    assert "people" not in found  # nobody was asked
    text = words(cells())
    assert "none diverged and 24 learnt" in text
    holds = next(s for s in text.split(". ") if s.startswith("Whatever one chooses"))
    assert "happiness is the tightest emotion (24 of 24 cells)" in holds and "the paper's" not in holds
    assert "No cell showed that their order is the paper's" in text and "hangs on" not in text


def test_nearly_all_is_enough_unless_one_value_breaks_it():
    table = cells(seeds=20)  # 80 cells
    table.loc[table.index[:4], "line"] = True  # 95 %
    assert kinds(table)["circle"] == HOLDS
    table.loc[table.index[:5], "line"] = True
    assert kinds(table)["circle"] == HANGS
    rare = pd.concat([cells(seeds=50), cells(scales=(2.0,), batches=(32,), seeds=4)], ignore_index=True)
    rare["training"] = [f"t{i}" for i in range(len(rare))]
    rare.loc[rare["scale"] == 2.0, "line"] = True  # 4 of 204, and all of one value's
    assert kinds(rare)["circle"] == HANGS
    text = words(rare)
    assert "circle and not on a line hangs on a choice: 200 of 204 cells" in text
    assert "by scale (0.5: 100 of 100, 1: 100 of 100, 2: 0 of 4)" in text


def test_what_hangs_on_a_choice_names_it():
    table = cells()
    table.loc[table["batch"] == 32, "agrees_either"] = True
    verdict = next(v for v in verdicts(table, SETTINGS) if v.name == "agrees_either")
    assert (verdict.kind, verdict.true, verdict.cells) == (HANGS, 12, 24)
    assert [one.setting for one in verdict.on] == ["batch"]
    assert "hangs on a choice: 12 of 24 cells; by batch (32: 12 of 12, 256: 0 of 12)." in words(table)


def test_where_nothing_holds_that_is_said():
    table = cells()
    table["line"] = pd.array([True, False] * 12, dtype="boolean")
    table["learnt"] = pd.array([True] * 20 + [False] * 4, dtype="boolean")
    for name in ("overlap_rank_SP_FE", "overlap_rank_AN_DI", "happiness_rank"):
        table[name] = 9
    table["held_out_accuracy_low"] = table["rho_action_units_low"] = pd.array([-1.0] * 24, dtype="Float64")
    assert "Nothing that was asked holds whatever one chooses." in words(table)


def test_what_hangs_on_nothing_seen_says_so():
    table = cells()
    table.loc[[0, 7, 14, 21], "agrees_either"] = True  # one in each corner
    text = words(table)
    assert "is so in 4 of 24 cells, and no setting, seed or fold is seen to decide it." in text
    assert "hangs on a choice" not in text


def test_seeds_and_folds_can_be_what_decides():
    table = cells()
    table.loc[table["seed"] < 2, "agrees_either"] = True
    assert "by seed (0: 4 of 4, 1: 4 of 4, 2: 0 of 4" in words(table)


def test_two_settings_at_most_the_most_decisive_first():
    table = cells(seeds=20)
    table["decay"] = ["a", "b"] * 40
    narrow = (table["batch"] == 32) & (table["scale"] == 1.0)
    table.loc[narrow & (table["decay"] == "a"), "agrees_either"] = True
    verdict = next(v for v in verdicts(table, [*SETTINGS, "decay"]) if v.name == "agrees_either")
    assert verdict.true == 10 and len(verdict.on) == 2  # of three that decide
    table.loc[narrow | ((table["batch"] == 32) & (table["seed"] > 14)), "agrees_either"] = True
    verdict = next(v for v in verdicts(table, SETTINGS) if v.name == "agrees_either")
    assert [one.setting for one in verdict.on] == ["batch", "scale"]
    assert [one.apart for one in verdict.on] == [0.625, 0.375]


def test_shapes_are_those_of_cells_that_learnt():
    table = cells()
    table.loc[table["scale"] == 1.0, "learnt"] = False
    table.loc[table["scale"] == 1.0, "line"] = True
    found = {v.name: v for v in verdicts(table, SETTINGS)}
    assert found["learnt"].kind == HANGS and found["learnt"].on[0].setting == "scale"
    assert found["circle"].kind == HOLDS and found["circle"].cells == 12


def test_cells_of_few_trainings_are_few(count=4):
    table = pd.concat([cells().iloc[:count].assign(stop=stop) for stop in ("length", "validation")], ignore_index=True)
    assert set(kinds(table).values()) == {FEW}
    text = words(table)
    assert text.startswith("Of 8 cells of 4 trainings none diverged and 8 learnt.") and "Too few cells" in text


@pytest.mark.parametrize("count", [1, 4])
def test_too_few_cells(count):
    table = cells().iloc[:count]
    assert set(kinds(table).values()) == {FEW}
    text = words(table)
    assert (
        "Too few cells to say whether" in text and "Whatever one chooses" not in text and "No cell showed" not in text
    )


def test_none_learnt_and_all_diverged():
    table = cells().assign(learnt=pd.array([False] * 24, dtype="boolean"))
    assert kinds(table) == {"learnt": NEVER}
    text = words(table)
    assert "none learnt" in text and "No cell showed that the net learns" in text and "Of the shape" in text
    assert "whatever one chooses" not in text.lower()
    gone = table.assign(diverged=True)
    for name in gone.columns.difference([*SETTINGS, "training", "seed", "fold", "control", "diverged", "learnt"]):
        gone[name] = pd.array([pd.NA] * 24, dtype=gone[name].dtype)
    assert words(gone).startswith("Of 24 cells 24 diverged and none learnt.")


def test_folds_without_validation_pairs():
    table = cells().assign(learnt=pd.array([pd.NA] * 24, dtype="boolean"))
    assert verdicts(table, SETTINGS) == []
    assert "No fold has validation pairs" in words(table)


def test_controls_alone():
    text = words(cells().assign(control="shuffled"))
    assert text.startswith("No cell of the paper's kind was trained")


def test_chance_baselines_and_drawings():
    table = cells()
    table.loc[:11, ["agrees", "agrees_either"]] = True
    text = words(table)
    assert "has 12 of 24 (50%, 95 % 12% to 88%) of what learnt" in text  # 6 seeds of one fold, as 6 trials
    assert "without cells trained on shuffled labels the honest chance level is not known" in text and "1/30" in text
    shuffled = cells(seeds=1).assign(control="shuffled", learnt=pd.array([False] * 4, dtype="boolean"))
    untrained = cells(seeds=1).assign(control="untrained", held_out_accuracy=0.2)
    every = pd.concat([table, shuffled, untrained], ignore_index=True)
    text = words(every, {"linear discriminant of conv3 told the emotions": 0.49, "PCA of pixels": 0.21}, drawn=True)
    assert "with shuffled labels it has 0 of 4 (0%" in text
    assert (
        "tell 50% or more of held-out faces right (linear discriminant of conv3 told the emotions 49%, PCA of pixels"
        in text
    )
    assert "towers without training 20% on average" in text
    assert text.endswith("it says nothing about how people see faces.")
    assert "drawn" not in words(every)


def test_every_claim_can_be_true_false_and_missing():
    for claim in CLAIMS:
        table = cells()
        table["rho_people_low"] = table["rho_action_units_low"]
        table["agrees_either"] = pd.array([True] * 24, dtype="boolean")
        assert claim.of(table).all(), claim.name
        column = {"learnt": "learnt", "above_chance": "held_out_accuracy_low", "circle": "line",
                  "agrees_either": "agrees_either", "overlap_SP_FE": "overlap_rank_SP_FE",
                  "overlap_AN_DI": "overlap_rank_AN_DI", "happiness": "happiness_rank",
                  "action_units": "rho_action_units_low", "people": "rho_people_low"}[claim.name]  # fmt: skip
        if table[column].dtype == "boolean":
            table[column] = ~table[column]
        else:
            table[column] = 3 if "rank" in column else -0.1
        assert not claim.of(table).any(), claim.name
        table[column] = pd.array([pd.NA] * 24, dtype="boolean" if table[column].dtype == "boolean" else "Float64")
        assert claim.of(table).astype("boolean").isna().all(), claim.name
