import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.copy_reverse import BLANK_ID, END_ID, GEN_ID, CopyReverseConfig


@pytest.mark.parametrize(("kind", "num_repeats"), [("copy", 2), ("reverse", 1), ("copy", 3)])
def test_rows_obey_the_layout(kind, num_repeats):
    config = CopyReverseConfig(kind=kind, source_len=5, num_repeats=num_repeats)
    prompts = config.build().draw_prompts(np.random.default_rng(0), 64)
    assert prompts.prompt_ids.shape == (64, 6)
    assert prompts.answer_ids.shape == (64, config.answer_len)
    for prompt, answer in zip(*(each.tolist() for each in prompts), strict=True):
        source = prompt[:-1]
        assert prompt[-1] == GEN_ID
        assert all(0 <= digit < 10 for digit in source)
        told = source if kind == "copy" else source[::-1]
        assert answer == told * num_repeats + [END_ID]


def test_blanks_stand_between_source_and_question_and_change_nothing_else():
    held = CopyReverseConfig(source_len=5, num_blanks=7)
    without = CopyReverseConfig(source_len=5).build().draw_prompts(np.random.default_rng(0), 64)
    prompts = held.build().draw_prompts(np.random.default_rng(0), 64)
    assert held.sequence_len == 5 + 7 + 1 + 11
    assert (prompts.prompt_ids[:, 5:12] == BLANK_ID).all()
    kept = [*range(5), 12]
    assert torch.equal(prompts.prompt_ids[:, kept], without.prompt_ids)
    assert torch.equal(prompts.answer_ids, without.answer_ids)


def test_batches_have_any_whole_number_of_source_lengths_of_blanks():
    task, rng = CopyReverseConfig(source_len=5, num_blanks=11).build(), np.random.default_rng(0)
    batches = [task.draw_batch(rng, 2).input_ids for _ in range(60)]
    for ids in batches:
        num_blanks = (ids == BLANK_ID).sum(1)
        assert (num_blanks == num_blanks[0]).all()
        assert ids.shape[1] == 5 + int(num_blanks[0]) + 1 + 11
    assert {(ids == BLANK_ID).sum().item() // 2 for ids in batches} == {0, 5, 10}


def test_the_published_lengths():
    copy = CopyReverseConfig()
    reverse = CopyReverseConfig(kind="reverse", num_repeats=1)
    assert copy.sequence_len == 72 + 2, "GEN and END besides"
    assert reverse.sequence_len == 48 + 2


def test_all_digits_are_as_likely():
    batch = CopyReverseConfig().build().draw_batch(np.random.default_rng(0), 1000)
    counts = torch.bincount(batch.input_ids[:, :24].flatten(), minlength=10).double()
    assert ((counts - 2400) ** 2 / 2400).sum() < 27.9  # chi-square, 9 degrees, p = 0.001


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source_len": 0}, "source_len"),
        ({"num_repeats": 0}, "num_repeats"),
        ({"num_blanks": -1}, "num_blanks"),
        ({"kind": "sort"}, "Got 'sort'"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = CopyReverseConfig(**options)
