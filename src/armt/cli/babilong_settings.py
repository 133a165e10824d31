"""What `--set PATH=VALUE` can change in the commands of `armt babilong`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from armt.core.config import Config, split_change
from armt.core.errors import ConfigError
from armt.evaluation.subjects.causal import CausalConfig
from armt.evaluation.subjects.endpoint import EndpointConfig
from armt.evaluation.subjects.retrieval import RetrievalConfig
from armt.tasks.babi.catalogue import BABI_TASKS, babi_task
from armt.tasks.babilong.lengths import parse_length
from armt.tasks.babilong.placement import parse_placement
from armt.tasks.babilong.prompts import Part
from armt.tasks.babilong.task_config import BabilongTaskConfig

_PLACEMENT = "samples.placement"


@dataclass(frozen=True, kw_only=True)
class PromptSettings(Config):
    """The wording for models that know no task."""

    path: str = ""
    """The reference's `babilong/prompts.py`, read and not run; by default the library's prompts."""

    without: tuple[Part, ...] = ()
    """Parts left out, such as `examples`."""

    form: Literal["single", "turns"] = "single"
    """One message, or the examples as turns of a conversation."""

    system: str = ""
    """A system message."""


@dataclass(frozen=True, kw_only=True)
class RecurrentSettings(Config):
    """How a recurrent model is asked."""

    batch_size: int = 16
    """Contexts read side by side."""

    knows_facts: bool = True
    """Whether it was trained on sentences of the tasks; the report tells it."""


@dataclass(frozen=True, kw_only=True)
class BabilongSettings(Config):
    """Everything that the commands have no option of their own for."""

    tokenizer: str = ""
    """What tokens are counted by: a `tokenizer.json`, a folder with one or with GPT-2's
    `encoder.json` and `vocab.bpe`, or a name that transformers finds. By default that of the model
    asked, or of the boxed one."""

    babi: str = ""
    """Folder or zip of the official bAbI files; by default stories are generated."""

    variant: str = ""
    """Folder within `babi`, such as `en-10k`; needed where there are several."""

    books: Literal["test", "train", "all"] = "test"
    """Which books of the background are read; no model of the library is trained on `test`. The
    name of a book's file decides, whichever folder above it is named."""

    splitter: Literal["", "plain", "punkt"] = ""
    """What finds sentences: `punkt` as the published benchmark does, or `plain`, which knows that
    no sentence ends after "Mr.". By default that of a ready store, else `punkt`."""

    samples: BabilongTaskConfig = field(default_factory=BabilongTaskConfig)
    """How samples are made; `samples.placement` is written like `depth:0.5`."""

    prompts: PromptSettings = field(default_factory=PromptSettings)
    """The wording."""

    recurrent: RecurrentSettings = field(default_factory=RecurrentSettings)
    """For recurrent models."""

    causal: CausalConfig = field(default_factory=CausalConfig)
    """For other language models."""

    endpoint: EndpointConfig = field(default_factory=lambda: EndpointConfig(model="unnamed"))
    """For a model behind a server; its name and address come from the command."""

    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    """For a search before a reader."""


def changed_settings(changes: Sequence[str]) -> BabilongSettings:
    """Returns the settings with every `PATH=VALUE` done.

    Raises:
        ConfigError: a change cannot be read, has no such path, or a value does not fit.
    """
    settings = BabilongSettings()
    for change in changes:
        path, value = split_change(change, "samples.seed=1")
        given = parse_placement(value) if path == _PLACEMENT else value
        settings = settings.replaced(path, given)
    return settings


def parse_tasks(text: str) -> list[str]:
    """Returns the names in `qa1,qa4-qa6`, or all twenty for `all`.

    Raises:
        ConfigError: there is no name.
        UnknownNameError: a name is none of a task.
    """
    if text.strip() == "all":
        return list(BABI_TASKS)
    names: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        ends = re.fullmatch(r"(qa\d+)-(qa\d+)", part)
        if ends is None:
            names.append(babi_task(part).name)
        else:
            first, last = babi_task(ends[1]).number, babi_task(ends[2]).number
            names += [f"qa{number}" for number in range(first, last + 1)]
    if not names:
        raise ConfigError(f"Tasks are named like qa1,qa4-qa6, or all. Got '{text}'.")
    return list(dict.fromkeys(names))


def parse_lengths(text: str) -> tuple[int, ...]:
    """Returns the tokens of `0k,4k,1M`.

    Raises:
        ConfigError: there is none, or one cannot be read.
    """
    lengths = [parse_length(part) for part in text.split(",") if part.strip()]
    if not lengths:
        raise ConfigError(f"Lengths are named like 0k,4k,1M. Got '{text}'.")
    return tuple(dict.fromkeys(lengths))


def parse_process(text: str) -> tuple[int, int]:
    """Returns the number of a process and how many there are, from `0/4`.

    Raises:
        ConfigError: it is not written like that.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or int(match[1]) >= int(match[2]):
        raise ConfigError(
            f"A process is named like 0/4, the first of four; they count from 0. Got '{text}'."
        )
    return int(match[1]), int(match[2])
