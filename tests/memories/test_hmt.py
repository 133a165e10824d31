"""HMT against the published code, written anew as a loop; its invariants; the published leak."""

from dataclasses import replace

import pytest
import torch

from armt import attach
from armt.core.errors import ArmtError, ConfigError
from armt.core.layer_shape import LayerShape
from armt.memories.hmt import HMTConfig
from armt.memories.rmt import RMTConfig
from tiny import SEGMENT_LEN, assert_same_state, backbone, random_ids, recurrent, rough_memory

K, N, HALF = 2, 3, SEGMENT_LEN // 2
FAMILIES = ["gpt2", "llama", "qwen3", "gemma3_text", "gpt_neox"]
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
DOUBLE = torch.float64
CONFIG = HMTConfig(num_cached=N, num_sensory=K, d_query=4)
LITERAL = replace(CONFIG, literal=True)
SHAPE = LayerShape(d_model=16, num_heads=2, num_kv_heads=1, head_dim=8)


def written(memory, num_segments, num_rows=2):
    """The state after some segments, and what was written."""
    state, hidden = memory.init_state(num_rows), []
    for _ in range(num_segments):
        hidden.append(torch.randn(num_rows, 1, 16, dtype=DOUBLE))
        text = torch.randn(num_rows, SEGMENT_LEN, 16, dtype=DOUBLE)
        state = memory.query(text, state, lambda embedded: embedded.cumsum(1))
        state = memory.write(hidden[-1], state)
    return state, hidden


def plain_loop(base, memory, ids):
    """Logits of one row; summaries, cache and sensory tokens are kept as lists."""
    config, embed = memory.config, base.get_input_embeddings()
    cache, logits, sensory, ended = [], [], memory.first_memory.repeat(config.num_sensory, 1), None

    def last_hidden(parts):
        embedded = torch.cat(parts).unsqueeze(0)
        return base(inputs_embeds=embedded, output_hidden_states=True).hidden_states[-1][0, -1:]

    for part in ids.split(SEGMENT_LEN, dim=1):
        text = embed(part)[0]
        source = text[: len(text) // 2] if config.literal else ended
        recalled = memory.first_memory
        if cache:
            token = memory.summary_token
            query = memory.to_query(last_hidden([token, source, token]))
            scores = torch.stack([(query @ memory.to_key(each).T)[0, 0] for each in cache])
            weights = (scores / query.shape[1] ** 0.5).softmax(0)
            recalled = sum(weight * each for weight, each in zip(weights, cache, strict=True))
        is_whole = len(text) == SEGMENT_LEN
        parts = [recalled, sensory, text] + [recalled] * is_whole
        output = base(inputs_embeds=torch.cat(parts).unsqueeze(0), output_hidden_states=True)
        start = 1 + config.num_sensory
        logits.append(output.logits[:, start : start + len(text)])
        if is_whole:
            cache = [*cache, output.hidden_states[-1][0, -1:]][-config.num_cached :]
            sensory, ended = text[SEGMENT_LEN - config.num_sensory :], text[-HALF:]
    return torch.cat(logits, 1), cache


@pytest.mark.parametrize("config", [CONFIG, LITERAL, replace(CONFIG, num_sensory=0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_published_loop(family, config):
    model, base = recurrent(config, family), backbone(family)
    ids = random_ids(1, 5 * SEGMENT_LEN + 3)
    logits, cache = plain_loop(base, model.memory.layers[0], ids)
    found = model(ids)
    torch.testing.assert_close(found.logits, logits, **CLOSE)
    torch.testing.assert_close(found.state.layers[0].cache[0], torch.cat(cache), **CLOSE)


@torch.no_grad()
def test_the_published_form_lets_the_first_half_of_a_segment_see_its_future():
    for config, is_leaking in ((LITERAL, True), (CONFIG, False)):
        model, ids = recurrent(config), random_ids(1, 3 * SEGMENT_LEN)
        logits, start = model(ids).logits, 2 * SEGMENT_LEN
        for place in range(start, 3 * SEGMENT_LEN):
            changed = ids.clone()
            changed[:, place] = (changed[:, place] + 1) % 20 + 3
            moved = (model(changed).logits - logits).abs().amax((0, 2))
            is_summarised = start < place < start + HALF
            assert bool(moved[start:place].any()) == (is_leaking and is_summarised)
            assert moved[:start].sum() == 0


def test_the_published_form_generates_nothing_and_is_read_as_before():
    model, ids = recurrent(LITERAL), random_ids(2, 4 * SEGMENT_LEN + 1)
    with pytest.raises(ArmtError, match="causal form"):
        _ = model.generate(ids)
    whole = model.read(ids)
    assert_same_state(model.read(ids[:, 6:], model.read(ids[:, :6])), whole, **CLOSE)


def test_the_cache_is_first_in_first_out():
    memory = rough_memory(CONFIG, SHAPE)
    for num_segments in range(6):
        state, hidden = written(memory, num_segments)
        num_kept = min(num_segments, N)
        assert state.num_cached.tolist() == [num_kept] * 2
        if num_kept:
            assert torch.equal(state.cache[:, N - num_kept :], torch.cat(hidden[-num_kept:], 1))
        assert not state.cache[:, : N - num_kept].any()


@pytest.mark.parametrize("num_segments", [1, 2, 5])
def test_what_is_recalled_is_a_mixture_of_the_cached(num_segments):
    memory = rough_memory(CONFIG, SHAPE)
    state, hidden = written(memory, num_segments)
    cached = torch.cat(hidden[-N:], 1)
    found = memory.recall(state)
    for row in range(2):
        query = memory.to_query(state.summary[row])
        scores = torch.stack([query @ memory.to_key(each) / 2 for each in cached[row]])
        expected = scores.softmax(0) @ cached[row]
        torch.testing.assert_close(found[row, 0], expected, **CLOSE)
    assert (found <= cached.amax(1, keepdim=True) + 1e-12).all()
    assert (found >= cached.amin(1, keepdim=True) - 1e-12).all()


@torch.no_grad()
def test_without_a_search_the_mean_is_recalled():
    memory = rough_memory(CONFIG, SHAPE)
    for weight in (memory.to_query.weight, memory.to_key.weight):
        _ = weight.zero_()
    state, hidden = written(memory, 5)
    expected = torch.cat(hidden[-N:], 1).mean(1, keepdim=True)
    torch.testing.assert_close(memory.recall(state), expected, **CLOSE)


@pytest.mark.parametrize("options", [{"num_cached": 1}, {"use_recall": False}])
def test_with_one_memory_and_nothing_sensory_it_is_rmt(options):
    ids = random_ids(2, 4 * SEGMENT_LEN + 2)
    model = recurrent(replace(CONFIG, num_sensory=0, **options))
    rmt = recurrent(RMTConfig(num_memory_tokens=1))
    with torch.no_grad():
        _ = rmt.memory.layers[0].first_memory.copy_(model.memory.layers[0].first_memory)
    torch.testing.assert_close(model(ids).logits, rmt(ids).logits, **CLOSE)
    more = recurrent(replace(CONFIG, num_sensory=0))
    torch.testing.assert_close(more(ids).logits[:, :8], rmt(ids).logits[:, :8], **CLOSE)
    assert not torch.allclose(more(ids).logits[:, 12:], rmt(ids).logits[:, 12:])


def test_the_two_stages_of_training_share_their_weights():
    stages = [recurrent(replace(CONFIG, use_recall=use_recall)) for use_recall in (False, True)]
    _ = stages[1].load_state_dict(stages[0].state_dict())
    ids = random_ids(1, 2 * SEGMENT_LEN)
    torch.testing.assert_close(stages[0](ids).logits, stages[1](ids).logits, **CLOSE)


def test_a_gradient_reaches_an_old_segment_by_one_step_of_recall():
    memory = rough_memory(CONFIG, SHAPE)
    state = memory.init_state(1)
    hidden = [torch.randn(1, 1, 16, dtype=DOUBLE, requires_grad=True) for _ in range(N)]
    for each in hidden:
        state = memory.write(each, state)
    memory.tokens(state).prefix[:, 0].sum().backward()
    assert all(each.grad.abs().sum() > 0 for each in hidden)


def test_rows_that_have_read_unequally_recall_what_is_theirs():
    memory = rough_memory(CONFIG, SHAPE)
    fresh, (state, _) = memory.init_state(1), written(memory, 5, num_rows=1)
    pairs = zip(fresh.tensors().items(), state.tensors().values(), strict=True)
    joined = type(state).from_tensors({name: torch.cat([a, b]) for (name, a), b in pairs})
    together = memory.tokens(joined)
    assert torch.equal(together.prefix[0], memory.first_memory.expand(1 + K, -1))
    torch.testing.assert_close(together.prefix[1:], memory.tokens(state).prefix, **CLOSE)


def test_its_own_loss_is_the_cross_entropy_with_the_mask_of_a_texts_memories():
    memory = rough_memory(CONFIG, SHAPE)
    full, fresh = written(memory, 5, num_rows=3)[0], memory.init_state(3)
    few = written(memory, 2, num_rows=3)[0]
    state = full.where(torch.tensor([True, False, False]), few)
    state = state.where(torch.tensor([True, True, False]), fresh)
    cached = [*state.cache[0], *state.cache[1, 1:]]
    wanted = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=DOUBLE)
    scores = torch.stack(
        [
            torch.stack([memory.to_query(state.summary[row]) @ memory.to_key(each) / 2
                         for each in cached])
            for row in range(2)
        ]
    )  # fmt: skip
    expected = torch.nn.functional.cross_entropy(scores, wanted / wanted.sum(1, keepdim=True))
    torch.testing.assert_close(memory.own_loss(state), expected, **CLOSE)
    assert memory.own_loss(fresh) == 0


def told(memory, maps, generator, num_rows=16):
    """A state whose memories and summary show, each in its own way, which text they are of."""
    topics = torch.randn(num_rows, 8, dtype=DOUBLE, generator=generator)
    noise = torch.randn(num_rows, N, 8, dtype=DOUBLE, generator=generator)
    return replace(
        memory.init_state(num_rows),
        cache=(topics.unsqueeze(1) + 0.3 * noise) @ maps[0],
        num_cached=torch.full((num_rows,), N),
        summary=topics @ maps[1],
    )


@torch.no_grad()
def share_of_own(memory, state):
    """The share of a text's own memories when it searches those of all texts."""
    found = memory.to_query(state.summary) @ memory.to_key(state.cache.flatten(0, 1)).T
    shares = (found / 8**0.5).softmax(-1).view(len(found), len(found), -1).sum(-1)
    return float(shares.diagonal().mean())


def test_its_own_loss_teaches_the_search_to_find_what_a_text_wrote():
    memory = rough_memory(replace(CONFIG, d_query=8), SHAPE)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(8, 16, dtype=DOUBLE, generator=generator) for _ in range(2)]
    optimizer = torch.optim.Adam(memory.parameters(), lr=1e-2)
    unseen = told(memory, maps, generator)
    before = share_of_own(memory, unseen)
    for _ in range(200):
        optimizer.zero_grad()
        memory.own_loss(told(memory, maps, generator)).backward()
        _ = optimizer.step()
    assert before < 3 / 16, "a search that was taught nothing guesses"
    assert share_of_own(memory, unseen) > 8 / 16


def test_its_own_loss_reaches_the_search_and_what_wrote_the_memories():
    model = recurrent(CONFIG)
    state = model(random_ids(2, 4 * SEGMENT_LEN)).state
    model.memory.layers[0].own_loss(state.layers[0]).backward()
    missed = {name for name, value in model.named_parameters() if value.grad is None}
    assert missed == {"lm_head.weight"}


def test_what_cannot_teach_the_search_is_told():
    memory = rough_memory(CONFIG, SHAPE)
    with pytest.raises(ConfigError, match="Got one row: raise `batch_size`"):
        _ = memory.own_loss(written(memory, 4, num_rows=1)[0])
    first = rough_memory(replace(CONFIG, use_recall=False), SHAPE)
    with pytest.raises(ConfigError, match="no search to teach"):
        _ = first.own_loss(written(first, 4)[0])
    assert [form.build(SHAPE).has_own_loss for form in (CONFIG, LITERAL)] == [True, False]


def test_weights_and_state_have_the_sizes_that_are_told():
    model = attach(backbone(), HMTConfig(num_cached=5, num_sensory=3), SEGMENT_LEN)
    assert model.memory.num_tokens == 5
    assert sum(value.numel() for value in model.memory.parameters()) == 2 * 16 + 2 * 16 * 16
    assert model.init_state().nbytes == 8 * (16 * (5 + 1 + 3) + 1)


def test_learned_tokens_start_as_long_as_embeddings():
    base = backbone("gemma3_text", hidden_size=256)  # scales its embeddings inside the module
    std = float(base.get_input_embeddings()(torch.arange(31)).detach().std())
    memory = attach(base, replace(CONFIG, d_query=None), SEGMENT_LEN).memory.layers[0]
    for token in (memory.first_memory, memory.summary_token):
        assert float(token.detach().std()) == pytest.approx(std, rel=0.2)


def test_segments_hold_what_is_sensory():
    with pytest.raises(ConfigError, match="at least 5 tokens"):
        _ = attach(backbone(), HMTConfig(num_sensory=5), 4)


@pytest.mark.parametrize(
    "options", [{"num_cached": 0}, {"num_sensory": -1}, {"summary_fraction": 0.0}, {"d_query": 0}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        _ = HMTConfig.from_dict(options)
