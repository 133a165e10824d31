"""Pages that have nothing to show yet: what they will show of records made up here."""

import pytest
from pages import ablations, arms, learned
from pages.runs import BITS, EXACT_MATCH, STATE, Measured

from armt.benchmarking.tables import NOT_MEASURED


def cells(table: str) -> list[list[str]]:
    """The rows below the head of a table."""
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def told(found, name, value, seed=0, **params) -> None:
    found.append(Measured("made-up", name, value, params, seed))


@pytest.fixture
def recalled(monkeypatch):
    """Two arms of a kilobyte and of half of one."""
    found: list[Measured] = []
    monkeypatch.setattr(
        arms, "figures", lambda _, name: [each for each in found if each.name == name]
    )
    for recipe, nbytes, shares in (("one", 1024, (1.0, 0.5)), ("two", 512, (0.75, 0.25))):
        told(found, STATE, nbytes, recipe=recipe)
        for tested, share in zip((15, 150), shares, strict=True):
            about = {"recipe": recipe, "task": "remember", "tested": tested}
            told(found, EXACT_MATCH, share, **about)
    told(found, EXACT_MATCH, 0.5, seed=1, recipe="one", task="remember", tested=15)
    return found


def test_facts_a_kilobyte_are_those_beyond_guessing(recalled):
    assert cells(arms.arms_table("remember")) == [
        ["`one`", "1,024", "2", "75.0 [50.0, 100.0]", "50.0", "70.0", "70.00"],
        ["`two`", "512", "1", "75.0", "25.0", "30.0", "60.00"],
    ]
    assert arms.arms_table("rewrite") == NOT_MEASURED


def test_the_picture_shows_both_what_is_recalled_and_how_dense(recalled):
    recall, density = arms.arm_charts()
    assert [line.heights for line in recall.lines] == [(75.0, 50.0), (75.0, 25.0)]
    assert [line.heights for line in density.lines] == [(11.0, 70.0), (22.0, 60.0)]
    recalled.clear()
    assert arms.arm_charts() == []


def test_ablations_stand_by_updates_over_seeds(monkeypatch):
    found: list[Measured] = []
    monkeypatch.setattr(ablations, "figures", lambda _, name: found)
    changed = {"ablation": "no_l2", "changes": ["memory.use_unit_features=false"]}
    told(found, EXACT_MATCH, 1.0, ablation="as_it_is", changes=[], tested=50)
    told(found, EXACT_MATCH, 0.5, ablation="as_it_is", changes=[], tested=500)
    told(found, EXACT_MATCH, 0.25, ablation="as_it_is", changes=[], tested=500, seed=1)
    told(found, EXACT_MATCH, 0.75, **changed, tested=500)
    assert cells(ablations.ablations_table()) == [
        ["as it is", "", "2", "100.0", "37.5 [25.0, 50.0]"],
        ["no l2", "`memory.use_unit_features=false`", "1", "not measured", "75.0"],
    ]
    found.clear()
    assert ablations.ablations_table() == NOT_MEASURED


def test_of_many_segments_the_table_shows_some_and_the_gains_all(monkeypatch):
    found: list[Measured] = []
    monkeypatch.setattr(learned, "figures", lambda *_: found)
    monkeypatch.setattr(learned, "LANGUAGE_RUNS", {"made-up": "books"})
    for number in range(1, 65):
        for mechanism, bits in (("none", 2.0), ("armt", 2.0 - number / 64)):
            told(found, BITS, bits, mechanism=mechanism, memory="on", segment=number)
    head = learned.language_table().splitlines()[0]
    assert head.count("segment") == len(learned.SHOWN_SEGMENTS)
    assert [row[-1] for row in cells(learned.language_table())] == ["2.000", "1.000"]
    gains = learned.gains_by_segment()["made-up", "armt"]
    assert gains == {number: {0: number / 64} for number in range(1, 65)}
