import math

import pytest

from armt.benchmarking.factual_recall import capacity_table, order_table, transformer_table
from armt.benchmarking.records import Measurement


def measured(name, value, seed=0, **params):
    return Measurement(
        name=f"factual_recall.{name}", value=value, unit="", params=params, seed=seed,
        hardware="", versions={}, commit="", command="", date="",
    )  # fmt: skip


def cells(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


@pytest.mark.parametrize(
    ("growths", "said"),
    [((0.9, 1.1), "both"), ((0.8, 0.9), "of N log N"), ((1.0, 1.2), "of N"), ((0.5, 2), "neither")],
)
def test_capacity_is_judged_by_its_growth(growths, said):
    records = [
        measured("capacity", 5, store="hebbian", width=8),
        *(measured("capacity", number, seed, store="hebbian", width=16) for seed, number in
          enumerate((20, 30))),
        measured("growth", growths[0], store="hebbian", of="N"),
        measured("growth", growths[1], store="hebbian", of="N log N"),
    ]  # fmt: skip
    (row,) = cells(capacity_table(records))
    constant = (20 * math.log(20) + 30 * math.log(30)) / 2 / 16**2
    assert row[:3] == ["hebbian", "16", "25"]
    assert row[5:] == [f"{constant:.2f}", "growth 1", said]


def test_rules_of_our_own_have_nothing_to_meet():
    records = [
        measured("capacity", 5, store="delta", width=8),
        *(measured("growth", 1.0, store="delta", of=of) for of in ("N", "N log N")),
    ]
    assert cells(capacity_table(records))[0][6:] == ["not in the paper", "both"]


def test_losses_stand_beside_their_theory():
    task = {"answers": 8, "relations": 4}
    losses = {"start": [3.4657, 3.4657], "plateau": [2.0794, 2.121], "end": [0.01, 0.02]}
    records = [
        measured("loss", value, moment=moment, **task)
        for moment, values in losses.items()
        for value in values
    ] + [
        measured("learned_at", step, what=what, **task)
        for what, step in (("relation", 1800), ("subject", 4500))
    ]
    start, plateau, end, relation, subject = cells(order_table(records))
    assert start[1:] == ["3.4657", "log 32 = 3.4657", "0.0 %"]
    assert plateau[1:] == ["2.1002 [2.0794, 2.1210]", "log 8 = 2.0794", "2.0 %"]
    assert end[2:] == ["log 1 = 0.0000", ""]
    assert relation[1:] == ["1800", "about 1800", "0.0 %"]
    assert subject[3] == "10.0 %"


def test_transformers_stand_by_size_with_every_seed():
    sizes = {"kind": "one", "facts": 30, "attention_parameters": 80, "mlp_parameters": 20}
    records = [measured("accuracy", share, seed, **sizes) for seed, share in enumerate((0.5, 0.75))]
    records += [measured("accuracy", 1.0, **(sizes | {"mlp_parameters": 220}))]
    small, large = cells(transformer_table(records))
    assert small == ["one", "80", "20", "0.300", "50.0, 75.0", "not all: over 0.15"]
    assert large[3:] == ["0.100", "100.0", "all, if large enough"]
