from itertools import islice

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.associative_retrieval import (
    END_ID,
    GEN_ID,
    SEP_ID,
    AssociativeRetrievalConfig,
)
from armt.tasks.contract import NO_LABEL

SHAPES = [
    ("remember", 5, 1, 1),
    ("remember", 16, 1, 2),
    ("remember", 40, 3, 1),
    ("rewrite", 30, 1, 1),
    ("rewrite", 7, 2, 3),
]


def make(kind="remember", num_pairs=5, key_len=2, value_len=1, **options):
    return AssociativeRetrievalConfig(
        kind=kind, num_pairs=num_pairs, key_len=key_len, value_len=value_len, **options
    ).build()


def read_row(row, key_len, value_len):
    """Takes a row apart by the published layout; returns pairs, the key asked for, the answer."""
    row = [int(token) for token in row]
    step = key_len + value_len + 2
    parts = [row[start : start + step] for start in range(0, len(row), step)]
    assert all(len(part) == step and part[-1] == END_ID for part in parts)
    assert [part[key_len] for part in parts] == [SEP_ID] * (len(parts) - 1) + [GEN_ID]
    pairs = [(tuple(part[:key_len]), tuple(part[key_len + 1 : -1])) for part in parts]
    digits = [digit for key, value in pairs for digit in (*key, *value)]
    assert all(0 <= digit < 16 for digit in digits)
    return pairs[:-1], *pairs[-1]


def complete_rows(batch):
    """Every question of a batch behind the pairs that it is asked of."""
    for pairs, questions in zip(batch.input_ids, batch.question_ids, strict=True):
        for question in questions:
            yield torch.cat([pairs, question])


def test_layout_of_a_row_written_by_hand(monkeypatch):
    task = make(num_pairs=2, key_len=2, value_len=1)
    monkeypatch.setattr(type(task), "_draw_keys", lambda *_: np.asarray([[0x2A, 0xF1]]))

    class Chance:
        def integers(self, high, size):
            values, targets = [[[7], [9]]], [[1, 0, 1]]
            drawn = np.asarray(values if high == 16 else targets)[:, : size[1]]
            assert drawn.shape == size
            return drawn

    pairs = [0xA, 0x2, SEP_ID, 7, END_ID, 0x1, 0xF, SEP_ID, 9, END_ID]
    of_first, of_second = [0xA, 0x2, GEN_ID, 7, END_ID], [0x1, 0xF, GEN_ID, 9, END_ID]
    assert task.draw(Chance(), 1).tolist() == [pairs + of_second]
    parts = task.draw_parts(Chance(), 1, num_questions=3)
    assert parts[0].tolist() == [pairs]
    assert parts[1].tolist() == [[of_second, of_first, of_second]]


@pytest.mark.parametrize(("kind", "num_pairs", "key_len", "value_len"), SHAPES)
def test_rows_obey_the_rules(kind, num_pairs, key_len, value_len):
    task = make(kind, num_pairs, key_len, value_len)
    rows = task.draw(np.random.default_rng(0), 64)
    assert rows.shape == (64, task.config.sequence_len)
    for row in rows:
        pairs, key, answer = read_row(row, key_len, value_len)
        assert len(pairs) == num_pairs
        assert dict(pairs)[key] == answer, "the last value of a key counts"
        if kind == "remember":
            assert len(dict(pairs)) == num_pairs


def test_loss_is_on_the_value_and_its_end_only():
    task = make(value_len=2, num_questions=4)
    batch = next(task.stream(3).batches())
    assert batch.question_ids.shape == batch.question_labels.shape == (3, 4, 6)
    bears_loss = batch.question_labels != NO_LABEL
    assert torch.equal(bears_loss.sum(-1), torch.full((3, 4), 3))
    assert bears_loss[..., -3:].all()
    assert not bears_loss[..., : batch.label_start].any()
    assert torch.equal(batch.question_labels[bears_loss], batch.question_ids[bears_loss])
    assert (batch.labels == NO_LABEL).all()
    assert batch.labels.shape == batch.input_ids.shape == (3, 5 * 6)
    assert batch.num_tokens == 3 * (5 + 4) * 6
    assert batch.carry_len == 0
    assert batch.resets is None


@pytest.mark.parametrize("kind", ["remember", "rewrite"])
def test_every_question_of_a_row_obeys_the_rules(kind):
    batch = next(make(kind, 9, key_len=1, num_questions=40).stream(16).batches())
    rows = list(complete_rows(batch))
    assert len(rows) == 16 * 40
    for number in range(16):
        found = [read_row(row, 1, 1) for row in rows[40 * number : 40 * (number + 1)]]
        pairs = dict(found[0][0])
        assert all(pairs[key] == answer for _, key, answer in found)
        asked = [key for _, key, _ in found]
        assert set(asked) <= set(pairs)
        assert len(set(asked)) > len(pairs) / 2, "each question is drawn for itself"


def test_more_questions_leave_the_first_pairs_as_they_were():
    one, many = (
        next(make(num_pairs=4, num_questions=count).stream(3).batches()) for count in (1, 5)
    )
    assert torch.equal(one.input_ids, many.input_ids)


def test_questions_within_the_row_are_the_same_and_bear_the_same_loss():
    apart, within = (
        next(make(num_pairs=4, num_questions=3, is_asked_in_row=told).stream(5).batches())
        for told in (False, True)
    )
    assert within.question_ids is None
    rows = torch.cat([apart.input_ids, apart.question_ids.flatten(1)], dim=1)
    assert torch.equal(within.input_ids, rows)
    bears_loss = within.labels != NO_LABEL
    assert torch.equal(within.labels[bears_loss], within.input_ids[bears_loss])
    assert torch.equal(within.labels[:, 4 * 5 :], apart.question_labels.flatten(1))
    assert not bears_loss[:, : within.label_start].any()
    assert bears_loss[:, within.label_start].all()


@pytest.mark.parametrize("use_vary", [False, True])
def test_seeking_yields_the_same_batches(use_vary):
    stream = make("rewrite", 9, use_vary=use_vary).stream(4, seed=3)
    run = list(islice(stream.batches(), 6))
    for start in (0, 1, 4):
        for batch, again in zip(run[start:], stream.batches(start), strict=False):
            assert torch.equal(batch.input_ids, again.input_ids)
            assert torch.equal(batch.question_ids, again.question_ids)
            assert torch.equal(batch.question_labels, again.question_labels)
    other = next(make("rewrite", 9, use_vary=use_vary).stream(4, seed=4).batches())
    assert not torch.equal(run[0].input_ids[:, -6:], other.input_ids[:, -6:])


@pytest.mark.parametrize("kind", ["remember", "rewrite"])
def test_vary_draws_every_number_of_pairs(kind):
    task = make(kind, 4, use_vary=True)
    seen = set()
    for batch in islice(task.stream(2).batches(), 60):
        for row in complete_rows(batch):
            pairs, key, answer = read_row(row, 2, 1)
            assert dict(pairs)[key] == answer
            seen.add(len(pairs))
    assert seen == {1, 2, 3, 4}


def test_vary_keeps_the_last_pairs():
    task = make("rewrite", 6, use_vary=True)
    full = task.draw(np.random.default_rng(5), 3)
    kept = task.draw(np.random.default_rng(5), 3, 2)
    step = task.config.segment_len
    assert np.array_equal(full[:, 4 * step : 6 * step], kept[:, : 2 * step])


def test_evaluation_prompts_end_with_gen_and_use_all_pairs():
    task = make("rewrite", 6, use_vary=True)
    prompts = task.evaluation_batch(20, seed=1)
    assert (prompts.prompt_ids[:, -1] == GEN_ID).all()
    rows = torch.cat([prompts.prompt_ids, prompts.answer_ids], dim=1)
    assert rows.shape == (20, task.config.sequence_len)
    for row in rows:
        pairs, key, answer = read_row(row, 2, 1)
        assert dict(pairs)[key] == answer
    assert torch.equal(task.evaluation_batch(20, seed=1).prompt_ids, prompts.prompt_ids)
    assert not torch.equal(task.evaluation_batch(20, seed=2).prompt_ids, prompts.prompt_ids)


def test_the_target_of_rewrite_is_uniform_over_distinct_keys():
    rng = np.random.default_rng(0)
    task = make("rewrite", 8, key_len=1)
    shares = []
    drawn, questions = task.draw_parts(rng, 2000, num_questions=2)
    for row in (np.concatenate([drawn[i], questions[i, j]]) for i in range(2000) for j in (0, 1)):
        pairs, key, _ = read_row(row, 1, 1)
        distinct = list(dict.fromkeys(each for each, _ in pairs))
        shares.append((distinct.index(key) + 0.5) / len(distinct))
    assert abs(np.mean(shares) - 0.5) < 0.02


@pytest.mark.parametrize(("num_pairs", "key_len"), [(10, 1), (20, 2)])
def test_keys_and_targets_of_remember_are_uniform(num_pairs, key_len):
    task = make("remember", num_pairs, key_len)
    rows = task.draw(np.random.default_rng(0), 3000).reshape(3000, num_pairs + 1, -1)
    counts = np.bincount(rows[:, :-1, 0].ravel(), minlength=16)
    expected = 3000 * num_pairs / 16
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # chi-square, 15 degrees, p = 0.001
    places = (rows[:, :-1, :key_len] == rows[:, -1:, :key_len]).all(-1).argmax(1)
    assert abs(places.mean() - (num_pairs - 1) / 2) < 0.25 * num_pairs**0.5 / 3


def test_capacity():
    task = make(num_pairs=50)
    assert task.estimated_capacity(1.0) == pytest.approx(50)
    assert task.estimated_capacity(1 / 16) == pytest.approx(0)
    assert make(num_pairs=50, value_len=2).estimated_capacity(0.5) == pytest.approx(
        50 * (256 * 0.5 - 1) / 255
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_pairs": 17, "key_len": 1}, "only 16 different keys"),
        ({"num_pairs": 0}, "`num_pairs` must be at least 1. Got 0"),
        ({"num_questions": 0}, "`num_questions` must be at least 1. Got 0"),
        ({"kind": "forget"}, "Got 'forget'"),
        ({"key_len": 20}, "at most 12. Got 20"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = AssociativeRetrievalConfig(**options)


def test_a_pair_is_a_segment():
    assert make(key_len=3, value_len=2).config.segment_len == 7
