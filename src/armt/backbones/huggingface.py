"""What the library needs to know of a Hugging Face decoder, and how it finds out."""

import inspect
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from armt.backbones.modes import evaluation_mode
from armt.core.errors import BackboneError
from armt.core.layer_shape import LayerShape

TESTED_FAMILIES = frozenset(
    {
        "gemma",
        "gemma2",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "granite",
        "llama",
        "mistral",
        "mixtral",
        "olmo2",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
        "stablelm",
    }
)
"""Model types that the test suite attaches to; any other is checked when it is attached to."""

CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""What models call their cache: `cache` from transformers 5.24 on; before, `cache_params` those of
the Mamba family, whose layers keep states of their own, and `past_key_values` the others."""

LAYER_PATHS: dict[str, str] = {}
"""Where the layers are, from the decoder, for model types where the search by structure fails."""


@dataclass(frozen=True)
class Anatomy:
    """The parts of a causal language model that a recurrence touches."""

    decoder: nn.Module
    """The model without its head."""

    layers: tuple[nn.Module, ...]
    """Its Transformer layers, from the first to the last."""

    shapes: tuple[LayerShape, ...]
    """The sizes of each layer, as the config tells them."""

    embedding: nn.Module
    """Maps token ids to what the first layer sees, scaled as the model scales it."""

    d_model: int
    """Width of the residual stream."""

    max_positions: int | None
    """Positions that the model was built for, if it says so."""

    cache_name: str | None = None
    """Under which name the decoder takes and returns its cache; none for an encoder."""


def examine(model: PreTrainedModel) -> Anatomy:
    """Returns the parts of `model`.

    Raises:
        BackboneError: it is no causal decoder, takes no cache, or its layers cannot be told.
    """
    config = model.config.get_text_config()
    if getattr(config, "is_encoder_decoder", False) or model.get_output_embeddings() is None:
        raise BackboneError(
            f"{type(model).__name__} is no causal language model (decoder with a head). Load one "
            "with AutoModelForCausalLM."
        )
    anatomy = anatomy_of(model, model.get_decoder())
    return replace(anatomy, cache_name=cache_name(model))


def anatomy_of(model: PreTrainedModel, body: nn.Module) -> Anatomy:
    """Returns the parts of a model whose layers are in `body`.

    Raises:
        BackboneError: its layers cannot be told.
    """
    config = model.config.get_text_config()
    num_layers = int(config.num_hidden_layers)
    return Anatomy(
        decoder=body,
        layers=_find_layers(body, model.config.model_type, num_layers),
        shapes=tuple(_shape(config, index, num_layers) for index in range(num_layers)),
        embedding=model.get_input_embeddings(),
        d_model=int(config.hidden_size),
        max_positions=getattr(config, "max_position_embeddings", None),
    )


def _shape(config: Any, index: int, num_layers: int) -> LayerShape:
    """Returns the sizes of a layer; one head as wide as the layer if the config names none.

    Only options that the config's class declares count: transformers lets any other be set, to no
    effect.
    """
    fields = getattr(type(config), "__dataclass_fields__", vars(config))
    declared = {*fields, *getattr(config, "attribute_map", ())}

    def count(name: str, default: int) -> int:
        value = getattr(config, name, None) if name in declared else None
        return value if isinstance(value, int) else default

    num_heads = count("num_attention_heads", 1)
    return LayerShape(
        d_model=int(config.hidden_size),
        num_heads=num_heads,
        num_kv_heads=count("num_key_value_heads", num_heads),
        head_dim=count("head_dim", int(config.hidden_size) // num_heads),
        index=index,
        num_layers=num_layers,
    )


def _find_layers(decoder: nn.Module, model_type: str, num_layers: int) -> tuple[nn.Module, ...]:
    path = LAYER_PATHS.get(model_type)
    if path is not None:
        return tuple(cast("nn.ModuleList", decoder.get_submodule(path)))
    found = [
        (name, module)
        for name, module in decoder.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == num_layers
    ]
    depth = min((name.count(".") for name, _ in found), default=0)
    outermost = [item for item in found if item[0].count(".") == depth]
    if len(outermost) != 1:
        names = ", ".join(name for name, _ in outermost) or "none"
        raise BackboneError(
            f"Cannot tell the layers of model type '{model_type}': looked in "
            f"{type(decoder).__name__} for one list of {num_layers} modules, found {names}. Name "
            "it in armt.backbones.huggingface.LAYER_PATHS."
        )
    return tuple(outermost[0][1])


def cache_name(model: PreTrainedModel) -> str:
    """Returns the name under which a decoder takes its cache; its output has the same one.

    Raises:
        BackboneError: its forward has none of the known names.
    """
    taken = inspect.signature(type(model).forward).parameters
    found = next((name for name in CACHE_NAMES if name in taken), None)
    if found is None:
        raise BackboneError(
            f"The forward of {type(model).__name__} takes no cache: it has none of "
            f"{', '.join(CACHE_NAMES)}. Generation goes on from one. Choose another family, or a "
            "newer transformers."
        )
    return found


def accepts_logits_to_keep(model: PreTrainedModel) -> bool:
    """Whether the model's forward can leave out logits that nobody needs."""
    return "logits_to_keep" in inspect.signature(type(model).forward).parameters


def embedding_std(anatomy: Anatomy) -> float:
    """Standard deviation of the first token embeddings, as the first layer sees them."""
    device = next(anatomy.embedding.parameters()).device
    num_rows = int(getattr(anatomy.embedding, "num_embeddings", 1))
    with torch.no_grad():
        rows = anatomy.embedding(torch.arange(min(num_rows, 1024), device=device))
    return float(rows.detach().float().std())


@torch.no_grad()
def check_causal_and_cached(model: PreTrainedModel, *, tolerance: float = 1e-3) -> None:
    """Checks on random tokens what every recurrence relies on.

    The logits of a position may not depend on later tokens, and a text fed in three pieces through
    the model's cache must give the logits of the text fed at once.

    Raises:
        BackboneError: one of the two fails; the message says by how much.
    """
    device = next(model.parameters()).device
    vocab_size = int(model.config.get_text_config().vocab_size)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab_size, (1, 12), generator=generator).to(device)
    with evaluation_mode(model):
        whole = _logits(model, ids)
        changed = ids.clone()
        changed[:, -1] = (changed[:, -1] + 1) % vocab_size
        causal_gap = _gap(_logits(model, changed)[:, :-1], whole[:, :-1])
        pieces_gap = _gap(_logits_in_pieces(model, ids), whole)
    name = type(model).__name__
    if causal_gap > tolerance:
        raise BackboneError(
            f"{name} is not causal: changing the last token moves earlier logits by "
            f"{causal_gap:.1e} of their size. A recurrence over it would see the future."
        )
    if pieces_gap > tolerance:
        raise BackboneError(
            f"{name} fed in pieces through its cache differs from one pass by {pieces_gap:.1e} of "
            "the logits' size, so generation would be wrong. Try another transformers version."
        )


def _logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    return cast("Any", model)(input_ids=ids, use_cache=False).logits.float()


def _logits_in_pieces(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    name, cache = cache_name(model), None
    logits: list[torch.Tensor] = []
    for piece in ids.split(5, dim=1):
        try:
            given: dict[str, Any] = {name: cache, "use_cache": True}
            output = cast("Any", model)(input_ids=piece, **given)
            cache = getattr(output, name)
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
            raise BackboneError(
                f"{type(model).__name__} cannot go on from its own cache ({error}), so that it "
                "could not generate. Choose another family, or try another transformers version."
            ) from error
        logits.append(output.logits.float())
    return torch.cat(logits, dim=1)


def _gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
