import math

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.factual_recall import FactualRecallConfig

CONFIG = FactualRecallConfig(num_subjects=6, num_relations=4, num_answers=3, sequence_len=7)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_every_relation_has_answers_of_its_own_each_as_often():
    answers = CONFIG.build().answers
    assert answers.shape == (6, 4)
    for relation in range(4):
        found = sorted(answers[:, relation].tolist())
        assert found == sorted(2 * [3 * relation, 3 * relation + 1, 3 * relation + 2])


def test_facts_differ_by_seed_and_by_relation():
    first, again, other = (CONFIG.build(seed).answers for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    wide = FactualRecallConfig(num_subjects=64, num_relations=2).build().answers
    assert not torch.equal(wide[:, 0], wide[:, 1] - 8)


def test_questions_obey_the_layout():
    task = CONFIG.build()
    questions = task.draw(rng(), 500)
    assert questions.ids.shape == (500, 7)
    for row, relation, answer in zip(*questions, strict=True):
        assert row[-1] == CONFIG.end_id == 20
        subjects, relations = row[row < 6], row[(row >= 6) & (row < 10)]
        assert len(subjects) == len(relations) == 1
        assert ((row[:-1] < 10) | ((row[:-1] >= 10) & (row[:-1] < 20))).all()
        assert int(relations[0]) - 6 == relation
        assert answer == task.answers[subjects[0], relation]


def test_subject_and_relation_stand_anywhere_in_any_order():
    ids = CONFIG.build().draw(rng(), 3000).ids[:, :-1]
    subject, relation = (ids < 6).int().argmax(1), ((ids >= 6) & (ids < 10)).int().argmax(1)
    pairs = torch.bincount(6 * subject + relation, minlength=36).view(6, 6)
    assert pairs.diagonal().sum() == 0
    off_diagonal = pairs[~torch.eye(6, dtype=torch.bool)].double()
    assert ((off_diagonal - 100) ** 2 / 100).sum() < 58.3  # chi-square, 29 degrees, p = 0.001


def test_all_facts_are_asked_as_often():
    task = CONFIG.build()
    questions = task.ask_all(rng(), num_times=3)
    asked = [
        (int(row[row < 6][0]), int(relation))
        for row, relation in zip(questions.ids, questions.relations, strict=True)
    ]
    assert sorted(asked) == sorted(3 * [(s, r) for s in range(6) for r in range(4)])
    assert not torch.equal(questions.ids[:24], questions.ids[24:48])


def test_chance_levels():
    assert CONFIG.chance_loss == pytest.approx(math.log(12))
    assert CONFIG.relation_chance_loss == pytest.approx(math.log(3))
    assert CONFIG.num_facts == 24
    assert CONFIG.vocab_size == 21


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_subjects": 0}, "num_subjects"),
        ({"num_relations": 0}, "num_relations"),
        ({"sequence_len": 2}, "at least 3. Got 2"),
        ({"num_subjects": 12}, "must divide `num_subjects`. Got 8 for 12"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = FactualRecallConfig(**options)
