"""Builds everything that a run needs from its config, in its folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.core.files import write_text
from armt.memories.none import NoMemoryConfig
from armt.recurrence.attach import attach
from armt.recurrence.model import Recurrent
from armt.tasks.contract import TrainingStream
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.language_modeling import LanguageModelingConfig
from armt.tasks.symbols import SymbolTaskConfig
from armt.training.config import RunConfig, StageConfig
from armt.training.text import load_encoder, load_store
from armt.training.trainer import Callback, Trainer


@dataclass(frozen=True)
class Prepared:
    """A run ready to start."""

    trainer: Trainer
    encoder: TokenizerEncoder | None


def prepare(
    config: RunConfig,
    folder: Path,
    callbacks: Sequence[Callback] = (),
    *,
    text_folder: Path | None = None,
) -> Prepared:
    """Makes tokenizer, background, model and streams, and resumes what `folder` holds.

    Tokenizer and background are kept in `text_folder`, which runs on the same texts may share; by
    default in `folder`.

    Raises:
        ConfigError: the folder holds a run with other options.
    """
    claim(config, folder)
    texts = text_folder or folder
    encoder = None if config.text is None else load_encoder(texts, config.text)
    model = build_model(config, encoder)
    streams = [_stream(config, stage, texts, encoder) for stage in config.stages]
    _check_rows(config, streams)
    _check_own_loss(config, model)
    return Prepared(Trainer(model, streams, config, folder, callbacks), encoder)


def build_model(config: RunConfig, encoder: TokenizerEncoder | None) -> Recurrent:
    """Returns the run's model with random weights drawn from its seed.

    Raises:
        ConfigError: the stages do not share one set of tokens.
    """
    vocab_size, end_id = _tokens(config, encoder)
    backbone = config.backbone.build(vocab_size, seed=config.seed, end_id=end_id)
    with torch.random.fork_rng(devices=[]):
        _ = torch.manual_seed(config.seed + 1)
        recurrence = config.recurrence
        return attach(
            backbone,
            config.memory,
            recurrence.segment_len,
            recurrence.bptt_depth,
            recurrence.schedule,
            recurrence.is_compiled,
            recurrence.overlap_len,
        )


def _tokens(config: RunConfig, encoder: TokenizerEncoder | None) -> tuple[int, int]:
    """Returns the size of the vocabulary and the token that ends an answer."""
    if encoder is not None:
        return encoder.vocab_size, encoder.end_id
    made = [stage.stream for stage in config.stages if isinstance(stage.stream, SymbolTaskConfig)]
    if len(made) < len(config.stages):
        raise ConfigError("A stage that reads texts needs `text`. Got none.")
    found = {(task.vocab_size, task.end_id) for task in made}
    if len(found) != 1:
        raise ConfigError(
            "All stages of a run must make the same tokens. Got these sizes of vocabularies: "
            f"{sorted(size for size, _ in found)}."
        )
    return found.pop()


def _stream(
    config: RunConfig, stage: StageConfig, folder: Path, encoder: TokenizerEncoder | None
) -> TrainingStream:
    # each process draws its own data, and two runs share none
    seed = config.seed * PartialState().num_processes + PartialState().process_index
    if isinstance(stage.stream, SymbolTaskConfig):
        return stage.stream.build().stream(stage.batch_size, seed)
    assert encoder is not None, "a model for texts was built without an encoder"
    assert config.text is not None, "an encoder was made from no text"
    store = load_store(folder, config.text, encoder, "train")
    if isinstance(stage.stream, LanguageModelingConfig):
        return stage.stream.build(store, encoder).stream(stage.batch_size, seed)
    return stage.stream.build(store, encoder, seed)


def _check_rows(config: RunConfig, streams: Sequence[TrainingStream]) -> None:
    """Refuses rows at whose segments' ends a backbone with a state of its own would forget it."""
    if not (config.backbone.is_recurrent and isinstance(config.memory, NoMemoryConfig)):
        return
    longest = max(next(stream.batches()).input_ids.shape[1] for stream in streams)
    if longest > config.recurrence.segment_len:
        raise ConfigError(
            "Without a memory a recurrent backbone forgets its state at the end of a segment. "
            f"Set `recurrence.segment_len` to at least {longest}, so that a row is one segment. "
            f"Got {config.recurrence.segment_len}."
        )


def _check_own_loss(config: RunConfig, model: Recurrent) -> None:
    """Refuses a weight of what the memory has not got."""
    mechanism = model.memory.mechanisms[0]
    if any(stage.memory_loss for stage in config.stages) and not mechanism.has_own_loss:
        raise ConfigError(
            f"{type(mechanism).__name__} has no loss of its own, or not in this form. Set the "
            "`memory_loss` of every stage to 0."
        )


def claim(config: Config, folder: Path) -> None:
    """Writes the config into the folder, or checks that it is the one that stands there.

    Raises:
        ConfigError: the folder holds a run with other options.
    """
    path = folder / "config.json"
    ours = json.dumps(config.to_dict(), indent=2, sort_keys=True)
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        changed = _differences(theirs, json.loads(ours))
        if changed:
            raise ConfigError(
                f"'{folder}' holds a run with other options ({', '.join(changed)}). Choose another "
                "folder, or remove it to start anew."
            )
        return
    write_text(path, ours)


def _differences(theirs: object, ours: object, path: str = "") -> list[str]:
    """Returns the dotted paths at which two trees of plain data differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = sorted({*theirs, *ours})
        pairs = [(name, theirs.get(name), ours.get(name)) for name in names]
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = [(str(n), a, b) for n, (a, b) in enumerate(zip(theirs, ours, strict=True))]
    else:
        return [] if theirs == ours else [path]
    return [
        found
        for name, a, b in pairs
        for found in _differences(a, b, f"{path}.{name}" if path else name)
    ]
