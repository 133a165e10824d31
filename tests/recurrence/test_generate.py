"""`generate` goes on from a state over the edges of segments as a loop without a cache would."""

import dataclasses
import itertools

import pytest
import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from armt import ARMTConfig, NoMemoryConfig, attach
from armt.backbones.huggingface import CACHE_NAMES
from armt.core.errors import ArmtError, DataError
from armt.memories.lm2 import LM2Config
from armt.memories.memlong import MemLongConfig
from armt.memories.rmt import RMTConfig
from armt.memories.rmt_r import RMTRConfig
from tiny import (
    SEGMENT_LEN,
    VOCAB,
    assert_same_state,
    backbone,
    random_ids,
    recurrent,
    state_tensors,
)

MEMORIES = {
    "armt": ARMTConfig(num_memory_tokens=2, d_mem=4),
    "published": ARMTConfig.published(num_memory_tokens=3, d_mem=4),
    "rmt": RMTConfig(num_memory_tokens=2),
    "lm2": LM2Config(num_slots=3, num_heads=2),  # writes from the text, without memory tokens
    "none": NoMemoryConfig(),
}
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}


@pytest.fixture(params=sorted(MEMORIES))
def model(request):
    return recurrent(MEMORIES[request.param])


@pytest.fixture
def armt():
    return recurrent(MEMORIES["armt"])


@torch.no_grad()
def step_by_step(model, prompt, num_tokens, state=None):
    """Greedy continuation that runs the whole text anew for each token."""
    ids, logits = prompt, []
    for _ in range(num_tokens):
        logits.append(model(ids, state=state).logits[:, -1])
        ids = torch.cat([ids, logits[-1].argmax(-1, keepdim=True)], dim=1)
    return ids, torch.stack(logits)


@pytest.mark.parametrize("num_read", [0, 3, SEGMENT_LEN, 6])
@pytest.mark.parametrize("prompt_len", [1, SEGMENT_LEN, 2 * SEGMENT_LEN + 1])
def test_greedy_equals_the_plain_loop_over_two_edges(model, num_read, prompt_len):
    state = model.read(random_ids(2, num_read), model.init_state(2))
    prompt = random_ids(2, prompt_len, seed=2)
    output = model.generate(
        prompt,
        state=state,
        max_new_tokens=2 * SEGMENT_LEN + 1,
        return_dict_in_generate=True,
        output_logits=True,
        **GREEDY,
    )
    ids, logits = step_by_step(model, prompt, 2 * SEGMENT_LEN + 1, state)
    assert output.sequences.tolist() == ids.tolist()
    torch.testing.assert_close(torch.stack(output.logits), logits.float(), rtol=1e-5, atol=1e-5)
    expected = model(ids[:, :-1], state=state).state
    assert_same_state(output.past_key_values.state, expected, **CLOSE)


def test_what_was_read_matters_for_what_is_generated(armt):
    prompt = random_ids(1, 2)
    texts = {
        tuple(armt.generate(prompt, state=state, max_new_tokens=8, **GREEDY)[0].tolist())
        for state in (armt.read(random_ids(1, 8, seed=seed)) for seed in range(6))
    }
    assert len(texts) > 1


def test_generation_leaves_the_given_state_as_it_was(model):
    state = model.read(random_ids(1, 6))
    before = {name: value.clone() for name, value in state_tensors(state).items()}
    runs = [
        model.generate(random_ids(1, 3), state=state, max_new_tokens=9, **GREEDY) for _ in range(2)
    ]
    assert torch.equal(*runs)
    assert all(torch.equal(value, before[name]) for name, value in state_tensors(state).items())


def test_generation_goes_on_from_the_state_it_returned(model):
    prompt = random_ids(1, 3)
    options = GREEDY | {"return_dict_in_generate": True}
    whole = model.generate(prompt, max_new_tokens=11, **options)
    first = model.generate(prompt, max_new_tokens=5, **options)
    rest = model.generate(
        first.sequences[:, -1:], state=first.past_key_values.state, max_new_tokens=6, **options
    )
    joined = torch.cat([first.sequences, rest.sequences[:, 1:]], dim=1)
    assert joined.tolist() == whole.sequences.tolist()
    assert_same_state(rest.past_key_values.state, whole.past_key_values.state, **CLOSE)


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_ragged_rows_equal_rows_alone(model, side):
    lengths, width = [3, 9, SEGMENT_LEN, 1], 9
    rows = [random_ids(1, length, seed=20 + length) for length in lengths]
    ids, mask = torch.zeros(4, width, dtype=torch.long), torch.zeros(4, width, dtype=torch.long)
    for index, row in enumerate(rows):
        place = slice(width - lengths[index], width) if side == "left" else slice(lengths[index])
        ids[index, place], mask[index, place] = row[0], 1
    together = model.generate(ids, attention_mask=mask, max_new_tokens=7, **GREEDY)
    for index, row in enumerate(rows):
        alone = model.generate(row, max_new_tokens=7, **GREEDY)
        assert together[index, width:].tolist() == alone[0, lengths[index] :].tolist()


def test_ragged_rows_have_no_common_state(armt):
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    options = GREEDY | {"return_dict_in_generate": True}
    output = armt.generate(random_ids(2, 3), attention_mask=mask, max_new_tokens=2, **options)
    with pytest.raises(ArmtError, match="one by one"):
        _ = output.past_key_values.state
    assert sorted(int(group.state.num_pending[0]) for group in output.past_key_values.groups) == [
        0,
        3,
    ]


def ending_early(model, prompt, num_tokens, **options):
    """Generates with an end token that ends one row before the others; returns it, and where.

    Of the rows' own texts the token comes early in one and not in all.
    """
    full = model.generate(prompt, max_new_tokens=num_tokens, **GREEDY | options)
    new = full[:, prompt.shape[1] :].tolist()
    for place, token in itertools.product(range(num_tokens - 4), set(itertools.chain(*new))):
        ends = [row.index(token) if token in row else num_tokens - 1 for row in new]
        if min(ends) == place and max(ends) > place + 3:
            return token, [prompt.shape[1] + end for end in ends]
    raise AssertionError("no token ends one row early")


def assert_each_row_has_its_own_state(model, output, ends, state=None):
    found = output.past_key_values.state
    for row, end in enumerate(ends):
        rows = torch.tensor([row])
        start = None if state is None else state.select_rows(rows)
        expected = model(output.sequences[row : row + 1, :end], state=start).state
        alone = found.select_rows(rows)
        num_pending = int(alone.num_pending[0])
        assert not alone.pending[:, num_pending:].any()
        alone = dataclasses.replace(alone, pending=alone.pending[:, :num_pending])
        assert_same_state(alone, expected, **CLOSE)


@pytest.mark.parametrize("num_read", [0, 6])
@torch.no_grad()
def test_a_row_that_ended_early_keeps_the_state_at_its_end(model, num_read):
    state = model.read(random_ids(3, num_read, seed=5), model.init_state(3))
    prompt = random_ids(3, 3)
    token, ends = ending_early(model, prompt, 15, state=state)
    for pad in (0, token):
        options = GREEDY | {"eos_token_id": token, "pad_token_id": pad, "state": state}
        options |= {"max_new_tokens": 15, "return_dict_in_generate": True}
        output = model.generate(prompt, **options)
        assert_each_row_has_its_own_state(model, output, ends, state)
    after = output.past_key_values.state
    together = model(random_ids(3, 9, seed=7), state=after).logits
    for row in range(3):
        alone = after.select_rows(torch.tensor([row]))
        found = model(random_ids(3, 9, seed=7)[row : row + 1], state=alone).logits
        torch.testing.assert_close(together[row : row + 1], found, **CLOSE)


@pytest.mark.parametrize("config", [RMTRConfig(num_memory_tokens=2), MemLongConfig(
    passage_len=2, num_passages=2, memory_len=64, memory_layer=0, retrieval_layers=(0, 1)
)])  # fmt: skip
@torch.no_grad()
def test_rows_that_ended_early_have_states_that_grew_less(config):
    model, prompt = recurrent(config), random_ids(2, 3)
    token, ends = ending_early(model, prompt, 15)
    options = GREEDY | {"eos_token_id": token, "return_dict_in_generate": True}
    output = model.generate(prompt, max_new_tokens=15, **options)
    more = random_ids(2, 9, seed=7)
    found = model(more, state=output.past_key_values.state).logits
    for row, end in enumerate(ends):
        state = model(output.sequences[row : row + 1, :end]).state
        expected = model(more[row : row + 1], state=state).logits
        torch.testing.assert_close(found[row : row + 1], expected, **CLOSE)


class StopRow(StoppingCriteria):
    def __init__(self, row, length):
        self.row, self.length = row, length

    def __call__(self, input_ids, scores, **options):
        is_long = input_ids.shape[1] >= self.length
        return is_long & (torch.arange(len(input_ids)) == self.row)


@pytest.mark.parametrize("is_positional", [False, True])
@torch.no_grad()
def test_rows_that_a_criterion_of_ones_own_ended_are_known_too(armt, is_positional):
    criteria, config = StoppingCriteriaList([StopRow(1, 6)]), armt.generation_config
    arguments = (config, None, criteria) if is_positional else ()
    options = {} if is_positional else {"stopping_criteria": criteria}
    options |= {"do_sample": False, "eos_token_id": VOCAB - 1, "max_new_tokens": 12}
    options |= {"suppress_tokens": [VOCAB - 1], "return_dict_in_generate": True}
    output = armt.generate(random_ids(2, 3), *arguments, **options)
    assert len(criteria) == 1
    assert output.sequences[1, 6:].tolist() == [0] * 9
    assert_each_row_has_its_own_state(armt, output, [14, 5])
    with pytest.raises(ArmtError, match="one before the other"):
        _ = armt(random_ids(2, 1), past_key_values=output.past_key_values)


@torch.no_grad()
def test_ragged_rows_that_ended_early_keep_theirs_in_the_groups(armt):
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    prompt = random_ids(2, 3)
    options = {"stopping_criteria": [StopRow(1, 6)], "suppress_tokens": [VOCAB - 1]}
    options |= {"do_sample": False, "eos_token_id": VOCAB - 1, "return_dict_in_generate": True}
    output = armt.generate(prompt, attention_mask=mask, max_new_tokens=12, **options)
    groups = {int(group.rows[0]): group.state for group in output.past_key_values.groups}
    for row, text in enumerate((output.sequences[:1, 1:14], output.sequences[1:, :5])):
        assert_same_state(groups[row], armt(text).state, **CLOSE)


def test_beams_have_no_state_of_their_own(armt):
    options = GREEDY | {"num_beams": 3, "return_dict_in_generate": True}
    for num_tokens in (1, 7):
        output = armt.generate(random_ids(2, 3), max_new_tokens=num_tokens, **options)
        with pytest.raises(ArmtError, match=r"beams.*without its last token"):
            _ = output.past_key_values.state


def test_sampling_repeats_with_its_seed(model):
    texts = []
    for seed in (0, 0, 1):
        _ = torch.manual_seed(seed)
        texts.append(
            model.generate(
                random_ids(1, 3),
                do_sample=True,
                num_return_sequences=3,
                max_new_tokens=9,
                eos_token_id=None,
                pad_token_id=0,
            )
        )
    assert texts[0].shape == (3, 12)
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])


def test_beams_equal_those_of_the_backbone_inside_one_segment():
    options = {"max_new_tokens": 6, "num_beams": 4, "length_penalty": 0.0} | GREEDY
    prompt = random_ids(2, 5)
    expected = backbone().generate(prompt, **options)
    model = attach(backbone(), MEMORIES["armt"], segment_len=32)
    assert torch.equal(model.generate(prompt, **options), expected)


def test_beams_find_the_likeliest_texts_over_an_edge():
    model = recurrent(MEMORIES["armt"], vocab_size=6, segment_len=3, seed=4)
    prompt, num_new = torch.tensor([[5]]), 4
    state = model.read(torch.tensor([[4, 3, 5, 4]]))
    texts = torch.tensor(list(itertools.product(range(6), repeat=num_new)))
    ids = torch.cat([prompt.expand(len(texts), -1), texts], dim=1)
    many = state.select_rows(torch.zeros(len(texts), dtype=torch.long))
    scores = model(ids, state=many).logits[:, :-1].log_softmax(-1)
    scores = scores.gather(-1, texts.unsqueeze(-1)).sum((1, 2))
    best = scores.detach().sort(descending=True)
    found = model.generate(
        prompt,
        state=state,
        num_beams=6**3,
        num_return_sequences=20,
        max_new_tokens=num_new,
        length_penalty=0.0,
        return_dict_in_generate=True,
        output_scores=True,
        **GREEDY,
    )
    assert found.sequences[:, 1:].tolist() == texts[best.indices[:20]].tolist()
    torch.testing.assert_close(
        found.sequences_scores, best.values[:20].float(), rtol=1e-5, atol=1e-5
    )


def test_beams_of_several_prompts_stay_apart(armt):
    options = {"max_new_tokens": 7, "num_beams": 3} | GREEDY
    prompts, state = random_ids(2, 3), armt.read(random_ids(2, 7, seed=5))
    together = armt.generate(prompts, state=state, **options)
    for row in range(2):
        start = state.select_rows(torch.tensor([row]))
        alone = armt.generate(prompts[row : row + 1], state=start, **options)
        assert together[row].tolist() == alone[0].tolist()


class StopAt(StoppingCriteria):
    def __init__(self, length):
        self.length = length

    def __call__(self, input_ids, scores, **options):
        return torch.full((len(input_ids),), input_ids.shape[1] >= self.length)


class Collector(BaseStreamer):
    def __init__(self):
        self.tokens, self.is_ended = [], False

    def put(self, value):
        self.tokens += value.flatten().tolist()

    def end(self):
        self.is_ended = True


def test_stopping_criteria_and_end_tokens_hold(model):
    prompt = random_ids(1, 3)
    full = model.generate(prompt, max_new_tokens=9, **GREEDY)
    criteria = StoppingCriteriaList([StopAt(8)])
    stopped = model.generate(prompt, max_new_tokens=9, stopping_criteria=criteria, **GREEDY)
    assert stopped.tolist() == full[:, :8].tolist()
    end = int(full[0, 7])
    options = GREEDY | {"eos_token_id": end}
    ended = model.generate(prompt, max_new_tokens=9, **options)[0].tolist()
    assert ended == full[0, : 3 + full[0, 3:].tolist().index(end) + 1].tolist()


def test_a_streamer_gets_every_token(model):
    streamer = Collector()
    text = model.generate(random_ids(1, 3), max_new_tokens=9, streamer=streamer, **GREEDY)
    assert streamer.tokens == text[0].tolist()
    assert streamer.is_ended


def test_logits_processors_hold(model):
    text = model.generate(random_ids(1, 3), max_new_tokens=9, bad_words_ids=[[7]], **GREEDY)
    forced = model.generate(
        random_ids(1, 3), max_new_tokens=9, suppress_tokens=list(range(1, VOCAB)), **GREEDY
    )
    assert 7 not in text[0, 3:].tolist()
    assert forced[0, 3:].tolist() == [0] * 9


@pytest.mark.parametrize("name", [*CACHE_NAMES, "assistant_model", "prompt_lookup_num_tokens"])
def test_what_no_memory_can_do_is_refused(armt, name):
    with pytest.raises(ArmtError, match=name):
        _ = armt.generate(random_ids(1, 3), **{name: 2})


def test_tokens_cannot_be_taken_back(armt):
    output = armt.generate(
        random_ids(1, 3), max_new_tokens=2, return_dict_in_generate=True, **GREEDY
    )
    with pytest.raises(ArmtError, match="take back 1"):
        output.past_key_values.crop(1)


@pytest.mark.parametrize(
    "prompt", [None, torch.zeros(1, 0, dtype=torch.long), torch.ones(3, dtype=torch.long)]
)
def test_a_prompt_is_needed(armt, prompt):
    with pytest.raises(DataError, match="prompt"):
        _ = armt.generate(prompt)


def test_rows_of_prompt_and_state_must_fit(armt):
    with pytest.raises(ArmtError, match="3 rows"):
        _ = armt.generate(random_ids(3, 3), state=armt.init_state(2), max_new_tokens=1, **GREEDY)


def test_input_ids_may_be_named(armt):
    prompt = random_ids(1, 3)
    named = armt.generate(input_ids=prompt, max_new_tokens=5, **GREEDY)
    assert torch.equal(named, armt.generate(prompt, max_new_tokens=5, **GREEDY))


@pytest.mark.parametrize("family", ["gpt2", "opt", "gemma3_text", "mistral"])
def test_segments_longer_than_the_backbones_own_attention_span(family):
    model = recurrent(MEMORIES["armt"], family, segment_len=12)
    prompt = random_ids(2, 5)
    found = model.generate(prompt, max_new_tokens=22, **GREEDY)
    assert found.tolist() == step_by_step(model, prompt, 22)[0].tolist()
