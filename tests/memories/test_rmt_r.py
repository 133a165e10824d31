"""RMT-R against the published code, written anew as a loop that keeps a list of memories."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from armt import attach
from armt.core.errors import ConfigError
from armt.memories.rmt_r import RMTRConfig
from tiny import SEGMENT_LEN, backbone, random_ids, recurrent

M = 2
FAMILIES = ["gpt2", "llama", "qwen3", "gemma3_text", "gpt_neox"]
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
CONFIG = RMTRConfig(num_memory_tokens=M, dropout=0.0)


def retrieve(memory, past, current, *, is_top_1=False):
    """What one row's memory finds: loops over its tokens and those of the past."""
    hidden = memory.past_norm(torch.cat(past))
    found = []
    for token in memory.to_query(memory.query_norm(current)):
        scores = torch.stack([token @ key for key in memory.to_key(hidden)]) / 16**0.5
        weights = scores.softmax(0)
        if is_top_1:
            weights = functional.one_hot(scores.argmax(), len(scores)).double()
        found.append(weights @ memory.to_value(hidden))
    first = memory.to_output(torch.stack(found)) + current
    up, _, down = memory.perceptron
    return down(functional.gelu(up(memory.found_norm(first)))) + first


def plain_loop(base, memory, ids, **options):
    """Logits of one row, and the list of its memories."""
    past, logits = [], []
    read, current = memory.first_memory, memory.first_memory[:M]
    for part in ids.split(SEGMENT_LEN, dim=1):
        is_whole = part.shape[1] == SEGMENT_LEN
        embedded = base.get_input_embeddings()(part)[0]
        parts = [read, embedded] + [current] * is_whole
        output = base(inputs_embeds=torch.cat(parts).unsqueeze(0), output_hidden_states=True)
        logits.append(output.logits[:, 2 * M : 2 * M + part.shape[1]])
        if is_whole:
            current = output.hidden_states[-1][0, -M:]
            past.append(current)
            read = torch.cat([current, retrieve(memory, past, current, **options)])
    return torch.cat(logits, 1), past


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_published_loop(family):
    model, base = recurrent(CONFIG, family), backbone(family)
    ids = random_ids(1, 4 * SEGMENT_LEN + 1)
    logits, past = plain_loop(base, model.memory.layers[0], ids)
    found = model(ids)
    torch.testing.assert_close(found.logits, logits, **CLOSE)
    torch.testing.assert_close(found.state.layers[0].past[0], torch.stack(past), **CLOSE)


def test_the_likeliest_alone_is_found():
    model = recurrent(RMTRConfig(num_memory_tokens=M, retrieval="top_1", dropout=0.0))
    ids = random_ids(1, 4 * SEGMENT_LEN)
    expected, _ = plain_loop(backbone(), model.memory.layers[0], ids, is_top_1=True)
    torch.testing.assert_close(model(ids).logits, expected, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_likeliest_is_found_in_half_precision_too(dtype):
    model = recurrent(RMTRConfig(num_memory_tokens=M, retrieval="top_1", dropout=0.0)).to(dtype)
    logits = model(random_ids(2, 4 * SEGMENT_LEN)).logits
    assert logits.dtype == dtype
    assert logits.isfinite().all()


def test_the_state_grows_by_one_memory_a_segment():
    model = recurrent(CONFIG)
    sizes = [model.read(random_ids(1, number * SEGMENT_LEN)).nbytes for number in range(4)]
    assert [b - a for a, b in pairwise(sizes)] == [M * 16 * 8 + 1] * 3


def test_rows_that_have_read_unequally_find_only_what_is_theirs():
    model = recurrent(CONFIG)
    lengths = [4 * SEGMENT_LEN, SEGMENT_LEN + 1, 0]
    ids, mask = random_ids(3, 4 * SEGMENT_LEN), torch.zeros(3, 4 * SEGMENT_LEN, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    state = model(ids, attention_mask=mask, state=model.init_state(3)).state
    more = random_ids(3, 2 * SEGMENT_LEN + 1, seed=4)
    together = model(more, state=state)
    assert together.state.layers[0].is_stored.sum(1).tolist() == [6, 3, 2]
    for row, length in enumerate(lengths):
        whole = torch.cat([ids[row : row + 1, :length], more[row : row + 1]], 1)
        expected = model(whole).logits[:, length:]
        torch.testing.assert_close(together.logits[row : row + 1], expected, **CLOSE)


def test_a_gradient_reaches_the_first_segment_past_a_memory_that_is_cut():
    model = recurrent(CONFIG)
    memory = model.memory.layers[0]
    state = memory.init_state(1)
    first = torch.randn(1, M, 16, dtype=torch.float64, requires_grad=True)
    state = memory.write(torch.randn(1, M, 16, dtype=torch.float64), memory.write(first, state))
    memory.tokens(state).prefix.sum().backward()
    assert first.grad.abs().sum() > 0


def test_dropout_is_for_training_only():
    model = recurrent(RMTRConfig(num_memory_tokens=M, dropout=0.5))
    ids = random_ids(1, 3 * SEGMENT_LEN)
    assert torch.equal(model(ids).logits, model(ids).logits)
    _ = model.train()
    assert not torch.equal(model(ids).logits, model(ids).logits)


def test_memory_starts_as_long_as_embeddings():
    base = backbone("gemma3_text")  # scales its embeddings inside the module
    std = float(base.get_input_embeddings()(torch.arange(31)).detach().std())
    first = attach(base, RMTRConfig(num_memory_tokens=15), SEGMENT_LEN).memory.layers[0]
    assert float(first.first_memory.detach().std()) == pytest.approx(std, rel=0.2)


def test_twice_as_many_tokens_are_read_as_written():
    model = attach(backbone(), RMTRConfig(num_memory_tokens=3), SEGMENT_LEN)
    assert model.memory.num_tokens == 9
    assert model.memory.layers[0].first_memory.shape == (6, 16)


@pytest.mark.parametrize(
    "options", [{"num_memory_tokens": 0}, {"retrieval": "nearest"}, {"dropout": 1.0}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        _ = RMTRConfig.from_dict(options)
