"""`generate` goes on from a state over the edges of segments as a loop without a cache would."""

import itertools

import pytest
import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from armt import ARMTConfig, NoMemoryConfig, attach
from armt.backbones.huggingface import CACHE_NAMES
from armt.core.errors import ArmtError, DataError
from armt.memories.lm2 import LM2Config
from armt.memories.rmt import RMTConfig
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


@pytest.mark.parametrize("prompt", [None, torch.zeros(1, 0, dtype=torch.long)])
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
