"""Single tokens over fixed places: the same logits, tokens and states as operation by operation."""

import copy
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from armt import ARMTConfig
from armt.core.registry import MEMORIES
from armt.memories.memoryllm import MemoryLLMConfig
from armt.memories.rmt import RMTConfig
from armt.memories.rmt_r import RMTRConfig
from armt.recurrence import choose_schedule
from armt.recurrence.choose_schedule import NOT_IN_GRAPHS, choose_decode_loops, decode_obstacle
from armt.recurrence.decode_loop import DecodeLoops
from armt.recurrence.decoding import RecurrentCache
from looping import use_decode_loops
from tiny import FAMILIES, SEGMENT_LEN, assert_same_state, random_ids, recurrent, state_tensors

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
SINGLE = {"rtol": 1e-5, "atol": 1e-6}
"""Within single precision: that of eager attention, and of the logits that `generate` returns."""

EAGER_FAMILIES = {"gemma2"}
OPTIONS = {"eos_token_id": None, "pad_token_id": 0, "return_dict_in_generate": True}
GREEDY = OPTIONS | {"do_sample": False, "output_logits": True}
CARDS = {card.name: card.tiny for card in MEMORIES if card.tiny is not None}


@pytest.fixture
def stepped(monkeypatch):
    """The loop of every step so far; models whose schedule is not `sequential` decode in loops."""
    return use_decode_loops(monkeypatch)


def pair(memory=MEMORY, family="llama", **options):
    """A model that decodes operation by operation, and its copy that decodes in loops."""
    plain = recurrent(memory, family, schedule="sequential", **options)
    looped = copy.deepcopy(plain)
    looped.recurrence = replace(looped.recurrence, schedule="auto")
    return plain, looped


def assert_same_texts(models, prompt, *, close=CLOSE, **options):
    """Checks tokens, logits and the state after them; returns what the second model gave."""
    plain, looped = (model.generate(prompt, **GREEDY | options) for model in models)
    assert looped.sequences.tolist() == plain.sequences.tolist()
    for found, expected in zip(looped.logits, plain.logits, strict=True):
        torch.testing.assert_close(found, expected, **SINGLE)
    if len(plain.past_key_values.groups) == 1:
        states = looped.past_key_values.state, plain.past_key_values.state
        assert_same_state(*states, **close)
    return looped


@torch.no_grad()
def step_logits(model, prompt, ids):
    """The logits of the model's own precision after the prompt and after each token."""
    cache = RecurrentCache(model.init_state(len(prompt)))
    options = {model.anatomy.cache_name: cache}
    parts = [model(part, **options).logits for part in (prompt, *ids.split(1, dim=1))]
    return torch.cat(parts, dim=1), cache


@pytest.mark.parametrize("num_rows", [1, 3])
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - NOT_IN_GRAPHS.keys()))
def test_every_family_decodes_alike_over_ends_of_segments(stepped, family, num_rows):
    # longer than the window of the families whose layers slide
    models = pair(family=family, segment_len=12)
    prompt, ids = random_ids(num_rows, 15), random_ids(num_rows, 23, seed=3)
    expected, before = step_logits(models[0], prompt, ids)
    found, cache = step_logits(models[1], prompt, ids)
    assert len(stepped) == 23
    close = SINGLE if family in EAGER_FAMILIES else CLOSE
    torch.testing.assert_close(found, expected, **close)
    assert_same_state(cache.state, before.state, **close)


@pytest.mark.parametrize("prompt_len", [1, SEGMENT_LEN, SEGMENT_LEN + 1])
@pytest.mark.parametrize("name", sorted(CARDS))
def test_every_memory_decodes_alike(stepped, name, prompt_len):
    models = pair(CARDS[name])
    state = models[0].read(random_ids(3, 6), models[0].init_state(3))
    prompt = random_ids(3, prompt_len, seed=2)
    _ = assert_same_texts(models, prompt, state=state, max_new_tokens=2 * SEGMENT_LEN + 2)
    assert bool(stepped) == (decode_obstacle(models[1]) is None)


def test_memories_whose_state_stays_in_place_have_no_obstacle():
    able = {name for name, tiny in CARDS.items() if decode_obstacle(recurrent(tiny)) is None}
    assert able >= {"armt", "rmt", "prmt", "hmt", "lm2", "infini", "none"}
    assert not able & {"camelot", "memlong", "memoryllm", "mplus", "rmt_r"}


def test_eager_attention_decodes_alike(stepped):
    models = pair(family="gemma3_text", segment_len=12, attn_implementation="eager")
    assert models[1].config._attn_implementation == "eager"
    _ = assert_same_texts(models, random_ids(2, 5), close=SINGLE, max_new_tokens=20)
    assert stepped


def test_a_state_read_before_decodes_alike(stepped):
    models = pair()
    state = models[0].read(random_ids(2, 11), models[0].init_state(2))
    _ = assert_same_texts(models, random_ids(2, 3, seed=5), state=state, max_new_tokens=9)
    assert len(stepped) == 8


@pytest.mark.parametrize("memory", [MEMORY, RMTConfig(num_memory_tokens=2)], ids=["armt", "rmt"])
def test_beams_decode_alike(stepped, memory):
    models = pair(memory)
    state = models[0].read(random_ids(2, 7), models[0].init_state(2))
    options = OPTIONS | {"num_beams": 4, "do_sample": False, "max_new_tokens": 11}
    plain, looped = (
        model.generate(random_ids(2, 3), state=state, num_return_sequences=2, **options)
        for model in models
    )
    assert looped.sequences.tolist() == plain.sequences.tolist()
    beams = [output.past_key_values.groups[0].state for output in (looped, plain)]
    assert_same_state(*beams, **CLOSE)
    assert stepped


def test_beams_change_places_inside_and_between_segments():
    """Otherwise the test above would not see whether caches and states follow them."""
    model, moved = pair()[0], []

    def note(cache, beam_idx):
        place = int(cache.groups[0].state.num_pending[0])
        if beam_idx.tolist() != list(range(len(beam_idx))):
            moved.append(place)
        reorder(cache, beam_idx)

    reorder = RecurrentCache.reorder_cache
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecurrentCache, "reorder_cache", note)
        _ = model.generate(
            random_ids(2, 3),
            state=model.read(random_ids(2, 7), model.init_state(2)),
            num_beams=4,
            do_sample=False,
            max_new_tokens=11,
            **OPTIONS,
        )
    assert 0 in moved
    assert any(moved)


def test_samples_are_alike(stepped):
    texts = []
    for model in pair():
        _ = torch.manual_seed(0)
        options = OPTIONS | {"do_sample": True, "num_return_sequences": 3, "max_new_tokens": 9}
        texts.append(model.generate(random_ids(1, 3), **options).sequences.tolist())
    assert texts[0] == texts[1]
    assert stepped


def test_groups_of_one_size_have_places_of_their_own(stepped):
    mask = torch.ones(5, 6, dtype=torch.long)
    mask[1, :2] = mask[3, :2] = mask[4, :3] = 0
    models = pair()
    _ = assert_same_texts(models, random_ids(5, 6), attention_mask=mask, max_new_tokens=10)
    assert len({id(loop) for loop in stepped}) == 3


def test_what_was_handed_out_is_not_written_to_again(stepped):
    model = pair()[1]
    first = model.generate(random_ids(2, 3), max_new_tokens=11, **GREEDY)
    state = first.past_key_values.state
    before = {name: value.clone() for name, value in state_tensors(state).items()}
    logits = [each.clone() for each in first.logits]
    _ = model.generate(random_ids(2, 5, seed=9), state=state, max_new_tokens=11, **GREEDY)
    assert len({id(loop) for loop in stepped}) == 1, "the second text took other places"
    for name, value in state_tensors(state).items():
        assert torch.equal(value, before[name]), name
    assert all(map(torch.equal, first.logits, logits))


def test_what_another_text_left_behind_does_not_matter(stepped):
    models = pair()
    _ = models[1].generate(random_ids(1, 3), max_new_tokens=6, **GREEDY)
    for layer in stepped[-1].cache.layers:
        _ = layer.keys.fill_(torch.nan)
        _ = layer.values.fill_(torch.nan)
    _ = assert_same_texts(models, random_ids(1, 2, seed=4), max_new_tokens=6)
    assert len({id(loop) for loop in stepped}) == 1


def test_a_text_goes_on_by_hand_when_its_places_were_given_back(stepped):
    more, logits = random_ids(2, 7, seed=6), []
    for model in pair():
        output = model.generate(random_ids(2, 3), max_new_tokens=5, **GREEDY)
        options = {model.anatomy.cache_name: output.past_key_values}
        with torch.no_grad():
            logits.append([model(part, **options).logits for part in more.split(1, dim=1)])
    torch.testing.assert_close(torch.cat(logits[1]), torch.cat(logits[0]), **CLOSE)
    assert len(stepped) == 4


def test_steps_decode_alike_under_autocast(stepped):
    found = []
    for model in pair():
        with torch.autocast("cpu", torch.bfloat16):
            found.append(step_logits(model.float(), random_ids(2, 3), random_ids(2, 20))[0].float())
    torch.testing.assert_close(found[1], found[0], rtol=0.1, atol=0.1)
    assert stepped


class OnTheDevice(TorchDispatchMode):
    """Refuses what the host has a part in: its tensors, and values that it would wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves((args, kwargs, found)):
            assert not isinstance(leaf, torch.Tensor) or leaf.is_meta, f"{func} of the host's"
        return found


@torch.no_grad()
def run_step_without_the_host(model):
    """Runs a step on a device that has no values: what asks for one raises an error."""
    model, states = model.to("meta"), [each.to("meta") for each in model.init_state(2).layers]
    ids = torch.zeros(2, 1, dtype=torch.long, device="meta")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "is_autocast_enabled", lambda *kind: False)  # it knows no such device
        loop = DecodeLoops().take(model, states, ids)
        _ = loop.step(ids, 3)  # lays out the places
        with OnTheDevice():
            assert loop.step(ids, 4).shape[:2] == (2, 1)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_step_needs_no_host_for_any_memory(name):
    model = recurrent(CARDS[name])
    if decode_obstacle(model) is None:
        run_step_without_the_host(model)


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - NOT_IN_GRAPHS.keys()))
def test_a_step_needs_no_host_in_any_family(family, kind):
    if (family, kind) != ("gemma2", "sdpa"):  # which it does not have
        run_step_without_the_host(
            recurrent(MEMORY, family, segment_len=12, attn_implementation=kind)
        )


def test_a_family_that_needs_the_host_would_be_found_out():
    with pytest.raises((RuntimeError, AssertionError)):
        run_step_without_the_host(recurrent(MEMORY, "opt"))


def test_loops_are_kept_for_their_shape_and_no_more_than_a_few(stepped):
    model = pair()[1]
    for num_rows in (1, 2, 1, 3, 4, 5, 6, 6, 1):
        _ = model.generate(random_ids(num_rows, 3), max_new_tokens=2, **GREEDY)
    number = {id(loop): place for place, loop in reversed(list(enumerate(stepped)))}
    assert [number[id(loop)] for loop in stepped] == [0, 1, 0, 3, 4, 5, 6, 6, 8]
    assert len(model.__dict__["_decode_loops"]._kept) == 4


def test_loops_go_when_weights_move_or_options_change(stepped):
    model = pair()[1]

    def decode():
        _ = model.generate(random_ids(1, 3), max_new_tokens=2, **GREEDY)
        return stepped[-1]

    first, loops = decode(), model.__dict__["_decode_loops"]
    head = model.get_output_embeddings()
    head.weight.data = head.weight.data.clone()
    second = decode()
    assert second is not first
    assert loops._kept == [second]
    model.recurrence = replace(model.recurrence, segment_len=6)
    assert decode() is not second
    with torch.inference_mode():
        assert decode() not in (first, second)
    assert isinstance(copy.deepcopy(loops), DecodeLoops)
    assert not copy.deepcopy(loops)._kept


def test_a_failed_generation_keeps_no_loop(stepped):
    model = pair()[1]

    def fail(ids, scores):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ = model.generate(random_ids(1, 3), logits_processor=[fail], max_new_tokens=3, **GREEDY)
    assert not model.__dict__["_decode_loops"]._kept


OBSTACLES = {
    "grows": lambda: recurrent(RMTRConfig(num_memory_tokens=2)),
    "keys": lambda: recurrent(MemoryLLMConfig(num_slots=8, num_memory_tokens=2)),
    "adapters": lambda: get_peft_model(
        recurrent(MEMORY), LoraConfig(r=2, target_modules=["v_proj"])
    ).get_base_model(),
    "experts": lambda: recurrent(MEMORY, "mixtral"),
    "positions": lambda: recurrent(MEMORY, "opt"),
    "mask": lambda: with_attention(recurrent(MEMORY), "flash_attention_2"),
    "rotation": lambda: recurrent(
        MEMORY, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    ),
    "not tried": lambda: recurrent(MEMORY, "olmo"),
    "device": lambda: with_a_weight_elsewhere(recurrent(MEMORY)),
}


def with_attention(model, kind):
    model.config._attn_implementation = kind
    return model


def with_a_weight_elsewhere(model):
    model.memory.tokens = torch.nn.Parameter(model.memory.tokens.detach().to("meta"))
    return model


@pytest.mark.parametrize("word", sorted(OBSTACLES))
def test_what_cannot_be_decoded_as_a_graph_says_why(word):
    assert word in str(decode_obstacle(OBSTACLES[word]()))


def test_loops_are_chosen_where_a_gpu_gains(monkeypatch):
    model = recurrent(MEMORY)
    with torch.no_grad():
        assert choose_decode_loops(model) is None, "a CPU runs operation by operation"
    monkeypatch.setattr(choose_schedule, "_may_gain", lambda _: True)
    loops = choose_decode_loops(model)
    assert loops is not None
    assert choose_decode_loops(model) is loops
    assert choose_decode_loops(model.train()) is None
    model = model.eval()
    model.recurrence = replace(model.recurrence, schedule="sequential")
    assert choose_decode_loops(model) is None
    model.recurrence = replace(model.recurrence, is_compiled=True)
    assert choose_decode_loops(model) is loops
    assert choose_decode_loops(OBSTACLES["keys"]()) is None
