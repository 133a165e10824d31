"""Tiny random decoders and memories that matter, for tests that look at numbers."""

from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from armt import Recurrent, attach
from armt.core.config import MemoryConfig
from armt.core.layer_shape import LayerShape
from armt.core.shapes import Tensor
from armt.recurrence.state import RecurrentState

VOCAB = 31
SEGMENT_LEN = 4
ROPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
SPECIAL_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "gemma": ROPE,
    "gemma2": ROPE | {"sliding_window": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": ROPE | {"sliding_window": 8, "query_pre_attn_scalar": 8},
    "gpt2": GPT | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "gpt_neox": ROPE,
    "granite": ROPE,
    "llama": ROPE,
    "mistral": ROPE | {"sliding_window": 8},
    "mixtral": ROPE | {"num_local_experts": 3, "num_experts_per_tok": 2},
    "olmo2": ROPE,
    "opt": ROPE | {"ffn_dim": 24, "word_embed_proj_dim": 16, "dropout": 0.0},
    "phi": {name: value for name, value in ROPE.items() if name != "head_dim"}
    | {"num_key_value_heads": 2},
    "phi3": ROPE,
    "qwen2": ROPE,
    "qwen3": ROPE,
    "smollm3": ROPE,
    "stablelm": ROPE | {"num_key_value_heads": 2},
}
"""Every tested family of backbones with a config that builds in milliseconds."""


def backbone(family: str = "llama", seed: int = 0, **options: Any) -> PreTrainedModel:
    """Returns a random float64 decoder of `family` in evaluation mode."""
    settings = {"vocab_size": VOCAB} | SPECIAL_TOKENS | FAMILIES.get(family, ROPE) | options
    _ = torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(family, **settings), experts_implementation="eager"
    )
    roughen(model)
    return model.double().eval()


def roughen(module: nn.Module) -> None:
    """Moves every parameter away from its start, so that nothing is zero, one or tiny."""
    with torch.no_grad():
        for parameter in module.parameters():
            _ = parameter.add_(0.2 * torch.randn_like(parameter))


def rough_memory(
    config: MemoryConfig, shape: LayerShape, dtype: torch.dtype = torch.float64
) -> Any:
    """Returns the memory of one layer, with weights, zero ones too, that were made random."""
    memory = config.build(shape).to(dtype)
    roughen(memory)
    return memory


def recurrent(
    memory: MemoryConfig,
    family: str = "llama",
    segment_len: int = SEGMENT_LEN,
    bptt_depth: int | None = None,
    schedule: Literal["auto", "sequential", "waves"] = "auto",
    **options: Any,
) -> Recurrent:
    """Returns a tiny backbone with a memory whose weights, zero ones too, were made random."""
    model = attach(backbone(family, **options), memory, segment_len, bptt_depth, schedule)
    roughen(model.memory)
    return model


def random_ids(num_rows: int, num_tokens: int, seed: int = 1, low: int = 3) -> Tensor:
    """Returns random token ids, above those that families use as special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, VOCAB, (num_rows, num_tokens), generator=generator)


def assert_rows_that_read_unequally_are_apart(
    model: Recurrent, lengths: list[int], *, rtol: float = 1e-9, atol: float = 1e-11
) -> None:
    """Checks that a batch of texts of different lengths goes on like each of them alone."""
    width, num_rows = max(lengths), len(lengths)
    ids, mask = random_ids(num_rows, width), torch.zeros(num_rows, width, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    state = model(ids, attention_mask=mask).state
    more = random_ids(num_rows, 9, seed=8)
    together = model(more, state=state)
    for row, length in enumerate(lengths):
        alone = model(more[row : row + 1], state=model(ids[row : row + 1, :length]).state)
        rows = together.logits[row : row + 1]
        torch.testing.assert_close(rows, alone.logits, rtol=rtol, atol=atol)


def assert_rows_have_gradients_of_their_own(
    model: Recurrent, lengths: list[int], *, rtol: float = 1e-9, atol: float = 1e-11
) -> None:
    """Checks that a batch of texts of different lengths has the gradients of each of them alone.

    The loss stands at each text's last token.
    """
    width, num_rows = max(lengths), len(lengths)
    ids, mask = random_ids(num_rows, width), torch.zeros(num_rows, width, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    together = model(ids, attention_mask=mask).logits
    ends = [together[row, length - 1] for row, length in enumerate(lengths)]
    found = _gradients(model, torch.stack(ends))
    alone = [model(ids[row : row + 1, :length]) for row, length in enumerate(lengths)]
    expected = _gradients(model, torch.stack([each.logits[0, -1] for each in alone]))
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=rtol, atol=atol), name


def _gradients(model: Recurrent, ends: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    torch.autograd.backward(ends.square().sum())
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def isolated_logits(base: PreTrainedModel, ids: Tensor, segment_len: int = SEGMENT_LEN) -> Tensor:
    """Returns the logits of a model without memory that sees each segment by itself."""
    parts = [base(input_ids=part).logits for part in ids.split(segment_len, dim=1)]
    return torch.cat(parts, dim=1)


def state_tensors(state: RecurrentState) -> dict[str, Tensor]:
    """Returns every tensor of a state by a dotted name."""
    found = {"pending": state.pending, "num_pending": state.num_pending}
    found |= {"num_tokens": state.num_tokens}
    for index, layer in enumerate(state.layers):
        found |= {f"{index}.{name}": value for name, value in layer.tensors().items()}
    return found


def assert_same_state(
    found: RecurrentState, expected: RecurrentState, *, rtol: float = 0.0, atol: float = 0.0
) -> None:
    """Checks that two states agree in every tensor; bit for bit unless a tolerance is given."""
    left, right = state_tensors(found), state_tensors(expected)
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(
            value, right[name], rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_same_model(found: Recurrent, expected: Recurrent) -> None:
    """Checks that two models have the same class and weights, and compute the same."""
    assert type(found) is type(expected)
    left, right = found.state_dict(), expected.state_dict()
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.dtype == right[name].dtype, name
        assert torch.equal(value, right[name]), name
    ids = random_ids(2, 10)
    assert torch.equal(found(ids).logits, expected(ids).logits)
    assert_same_state(found.read(ids), expected.read(ids))
