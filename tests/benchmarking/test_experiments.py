"""Tables of experiments: what stands in which cell, and how seeds are drawn together."""

from armt.benchmarking.experiments import frozen_table, recall_table, retriever_table
from armt.benchmarking.records import Measurement


def measured(name, value, seed=0, **params) -> Measurement:
    return Measurement(
        name=name, value=value, unit="share", params=params, seed=seed, hardware="", versions={},
        commit="", command="", date="",
    )  # fmt: skip


def test_recall_stands_by_distance_beside_what_the_pool_still_holds():
    name, on = "recall.exact_match", {"recipe": "facts", "memory": "on"}
    table = recall_table(
        [
            measured(name, 1.0, distractors=0, surviving=1.0, **on),
            measured(name, 0.25, distractors=2, surviving=0.5, **on),
            measured(name, 0.75, seed=1, distractors=2, surviving=0.5, **on),
            measured(name, 0.125, distractors=0, recipe="facts", memory="off"),
            measured(name, 0.0, distractors=2, recipe="facts", memory="off"),
            measured("train.seconds", 3.0, recipe="facts"),
        ]
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[0] == ["recipe", "memory", "0", "2"]
    assert rows[2:] == [
        ["`facts`", "on", "100.0", "50.0 [25.0, 75.0]"],
        ["`facts`", "off", "12.5", "0.0"],
        ["share that the pool still holds", "", "100", "50"],
    ]


def test_another_parameter_than_the_distance_can_head_the_columns():
    name, told = "recall.exact_match", {"recipe": "tracking", "memory": "on"}
    table = recall_table(
        [measured(name, 0.5, distance=9, **told), measured(name, 1.0, distance=0, **told)],
        axis="distance",
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows == [["recipe", "memory", "0", "9"], rows[1], ["`tracking`", "on", "100.0", "50.0"]]


def test_what_a_stopped_run_did_not_come_to_is_not_measured():
    name = "recall.exact_match"
    table = recall_table(
        [
            measured(name, 0.5, distractors=0, recipe="stopped", memory="on"),
            *(measured(name, 1.0, distractors=at, recipe="whole", memory="on") for at in (0, 1)),
        ]
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[2:] == [
        ["`stopped`", "on", "50.0", "not measured"],
        ["`whole`", "on", "100.0", "100.0"],
    ]


def test_a_changed_recipe_has_a_row_of_its_own():
    name, told = "recall.exact_match", {"recipe": "copy", "memory": "on", "distractors": 0}
    table = recall_table(
        [
            measured(name, 0.5, changes=[], **told),
            measured(name, 1.0, changes=["steps=2", "rate=1"], **told),
            measured(name, 0.0, seed=1, **told),
        ]
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[2:] == [
        ["`copy`", "on", "25.0 [0.0, 50.0]"],
        ["`copy` with `steps=2` with `rate=1`", "on", "100.0"],
    ]


def test_arms_stand_in_the_order_asked_for():
    name = "frozen_recall.accuracy"
    table = frozen_table(
        [
            measured(name, 0.5, arm="keys", distractors=1),
            measured(name, 0.25, arm="queries", distractors=1),
        ],
        ["queries", "keys"],
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[2:] == [["queries", "25.0"], ["keys", "50.0"]]


def test_the_retriever_stands_beside_chance_where_it_can_be_so_many_times_better():
    name = "retriever.recall"
    table = retriever_table(
        [
            measured(name, 0.5, layer=1, distractors=8, chance=0.125),
            measured(name, 1.0, seed=1, layer=1, distractors=8, chance=0.125),
            measured(name, 0.25, layer=0, distractors=8, chance=0.125),
            measured(name, 1.0, layer=0, distractors=2, chance=0.25),
        ],
        least=5,
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[0] == ["layer", "8"]
    assert rows[2:] == [["0", "25.0"], ["1", "75.0 [50.0, 100.0]"], ["at random", "12.5"]]
