import math
from itertools import islice

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError, DataError
from armt.tasks.language_modeling import LanguageModelingConfig, bits_per_byte
from tasks.babilong.tiny_store import made_up_store

CONFIG = LanguageModelingConfig(segment_len=10, num_segments=3)


class Spelled:
    """An encoder whose token t is spelled by t % 4 + 1 letters."""

    def decode(self, ids):
        return "".join("a" * (int(token) % 4 + 1) for token in ids)


@pytest.fixture
def task():
    """Books of 20, 100, 45 and 30 tokens; the first is too short for a row of 30."""
    return CONFIG.build(made_up_store([[20], [60, 40], [45], [30]]), Spelled())


def begins(rows):
    assert (rows.diff(dim=1) == 1).all(), "a row is one run of the text"
    return rows[:, 0].tolist()


def test_rows_lie_within_one_book_and_begin_anywhere(task):
    found = begins(task.draw(np.random.default_rng(0), 5000))
    allowed = [*range(20, 91), *range(120, 136), 165]
    assert set(found) == set(allowed)
    counts = np.asarray([found.count(place) for place in allowed])
    expected = 5000 / len(allowed)
    assert ((counts - expected) ** 2 / expected).sum() < 133  # chi-square, 87 degrees, p = 0.001


def test_rows_to_be_judged_by_share_no_token(task):
    assert sorted(begins(task.evaluation_rows(5))) == [20, 50, 80, 120, 165]
    few = task.evaluation_rows(2, seed=3)
    assert torch.equal(few, task.evaluation_rows(5, seed=3)[:2])
    with pytest.raises(DataError, match="hold 5 rows of 30 tokens"):
        _ = task.evaluation_rows(6)


def test_the_stream_can_be_sought_and_labels_everything(task):
    run = list(islice(task.stream(4, seed=1).batches(), 4))
    for batch, again in zip(run[2:], task.stream(4, seed=1).batches(2), strict=False):
        assert torch.equal(batch.input_ids, again.input_ids)
    assert all(torch.equal(batch.input_ids, batch.labels) for batch in run)
    assert not torch.equal(run[0].input_ids, run[1].input_ids)


def test_bytes_are_those_of_the_predicted_tokens(task):
    rows = torch.tensor([[0, 1, 2, 3, 4, 5] * 5])
    sizes = [1, 2, 3, 4, 1, 2] * 5
    assert task.num_bytes(rows).tolist() == [[sum(sizes[1:10]), sum(sizes[10:20]), sum(sizes[20:])]]


def test_bytes_of_a_real_tokenizer_add_up(store, encoder):
    task = LanguageModelingConfig(segment_len=16, num_segments=4).build(store, encoder)
    rows = task.evaluation_rows(20)
    for row, sizes in zip(rows, task.num_bytes(rows), strict=True):
        whole = len(encoder.decode(row[1:].tolist()).encode())
        assert abs(int(sizes.sum()) - whole) <= 2 * 3


def test_bits_per_byte_by_hand():
    losses = torch.tensor([[99.0, 1.0, 2.0, 3.0], [99.0, 3.0, 4.0, 1.0]])
    num_bytes = torch.tensor([[2, 5], [2, 3]])
    expected = [4 / 4 / math.log(2), 10 / 8 / math.log(2)]
    assert bits_per_byte(losses, num_bytes).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("options", [{"segment_len": 1}, {"num_segments": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        _ = LanguageModelingConfig(**options)


def test_short_books_are_refused():
    with pytest.raises(DataError, match="the longest has 20"):
        _ = CONFIG.build(made_up_store([[20], [9, 8]]), Spelled())
