"""Who is asked by `armt babilong evaluate`, from one word on the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from armt.cli.babilong_samples import load_encoder, store_folder
from armt.cli.babilong_settings import BabilongSettings
from armt.cli.console import notices
from armt.core.errors import ConfigError, DataError
from armt.evaluation.passages import SentenceCutter
from armt.evaluation.retrievers import BM25, hashed_bag_retriever
from armt.evaluation.subject import Subject
from armt.evaluation.subjects.causal import load_causal
from armt.evaluation.subjects.constant import ConstantSubject, most_frequent
from armt.evaluation.subjects.endpoint import EndpointSubject
from armt.evaluation.subjects.facts_only import FactsOnly
from armt.evaluation.subjects.recurrent import RecurrentSubject
from armt.evaluation.subjects.retrieval import RetrievalOnly, RetrievalSubject, Search
from armt.evaluation.subjects.rules import RulesSubject
from armt.serving.boxed_model import FORM_NAME, BoxedModel, load_boxed
from armt.serving.folders import boxed_folder
from armt.tasks.babi.archive import official_questions
from armt.tasks.babi.catalogue import babi_task
from armt.tasks.babi.dice import Dice
from armt.tasks.babilong.prompts import PromptBook, own_prompts
from armt.tasks.babilong.reference_prompts import load_reference_prompts
from armt.tasks.contract import TextEncoder
from armt.tasks.encoder import TokenizerEncoder

BOXED, ORACLE, MAJORITY, FACTS = "boxed", "oracle", "majority", "facts"
RETRIEVERS = {"bm25": BM25, "hashed": hashed_bag_retriever}
_NUM_COUNTED = 1000


class Opened(NamedTuple):
    """A subject and the tokenizer that its samples are counted by."""

    subject: Subject
    encoder: TextEncoder


def open_subject(
    word: str, settings: BabilongSettings, tasks: Sequence[str], background: Sequence[str]
) -> Opened:
    """Returns who is meant by `word`.

    `boxed`, the folder of a recurrent model, the folder or name of a causal one, `NAME@URL` of a
    model behind an OpenAI-compatible server, `oracle` (a rule reader), `majority` (always the most
    frequent answer), `bm25` or `hashed` (a search without a reader), and before any reader
    `facts+` (shown the facts alone), `bm25+` or `hashed+` (shown what a search finds).

    Raises:
        ArmtError: there is no such subject, or it cannot be loaded.
    """
    *shown, name = [word] if Path(word).exists() else word.split("+")
    prompts = load_prompts(settings)
    if name in RETRIEVERS and not shown:
        return Opened(RetrievalOnly(_search(name, settings)), _count_by(settings, background))
    subject, own = _open_reader(name, settings, prompts, tasks)
    encoder = own if own and not settings.tokenizer else _count_by(settings, background)
    for kind in reversed(shown):
        subject = _shown_less(kind, subject, settings, encoder)
    return Opened(subject, encoder)


def load_prompts(settings: BabilongSettings) -> PromptBook:
    """Returns the wording: the library's or the reference's, changed as asked.

    Raises:
        DataError: the file is none of the reference's prompts.
    """
    chosen = settings.prompts
    book = _read_prompts(chosen.path) if chosen.path else own_prompts()
    return book.changed(without=chosen.without, system=chosen.system or None, form=chosen.form)


def _read_prompts(path: str) -> PromptBook:
    """Returns the prompts of the reference's file; says where it is not that of its results."""
    found = load_reference_prompts(path)
    if not found.is_known:
        changed = ", ".join(found.unknown)
        notices().print(f"'{path}' has another wording than the published results: {changed}.")
    return found.book


def _count_by(settings: BabilongSettings, background: Sequence[str]) -> TokenizerEncoder:
    """The tokenizer named; else that of a ready store; else the boxed model's."""
    return load_encoder(settings.tokenizer or str(store_folder(background) or ""))


def _open_reader(
    name: str, settings: BabilongSettings, prompts: PromptBook, tasks: Sequence[str]
) -> tuple[Subject, TextEncoder | None]:
    """Returns who reads, and its own tokenizer if samples should be counted by it."""
    if name == ORACLE:
        return RulesSubject(), None
    if name == MAJORITY:
        return ConstantSubject({task: _usual_answer(settings, task) for task in tasks}), None
    model, at, url = name.partition("@")
    if at and url.startswith(("http://", "https://")):
        asked = settings.endpoint.replaced("model", model).replaced("request.url", url)
        return EndpointSubject(asked, _known(prompts, tasks)), None
    if at and not Path(name).exists():
        raise ConfigError(
            f"A model behind a server is named like {model or 'NAME'}@http://127.0.0.1:8000/v1. "
            f"Got '{name}'."
        )
    folder = boxed_folder() if name == BOXED else Path(name)
    if name == BOXED or (folder / FORM_NAME).is_file():
        shown = f"armt/boxed-{folder.name}" if name == BOXED else folder.resolve().name
        return open_recurrent(folder, settings, name=shown)
    if not folder.is_dir() and "/" not in name:
        raise ConfigError(
            f"Nobody is called '{name}'. Name a model's folder, a model of the Hugging Face hub "
            f"(ORGANISATION/NAME), NAME@URL of a server, or one of {BOXED}, {ORACLE}, {MAJORITY}, "
            f"{', '.join(RETRIEVERS)}."
        )
    return load_causal(name, settings.causal, _known(prompts, tasks)), _fast_tokenizer(name)


def _known(prompts: PromptBook, tasks: Sequence[str]) -> PromptBook:
    """Returns all prompts, so that a subject does not depend on which tasks are asked together.

    Raises:
        UnknownNameError: a task has none.
    """
    _ = prompts.only(*tasks)
    return prompts


def open_recurrent(folder: Path, settings: BabilongSettings, *, name: str) -> Opened:
    """Returns the recurrent model of a folder, called `name` in tables.

    Raises:
        ArmtError: there is none, or it cannot be loaded.
    """
    boxed = on_best_device(load_boxed(folder))
    chosen = settings.recurrent
    counts_alike = (
        not settings.tokenizer or load_encoder(settings.tokenizer).digest == boxed.encoder.digest
    )
    subject = RecurrentSubject(
        boxed.model,
        boxed.encoder,
        name=name,
        batch_size=chosen.batch_size,
        max_answer_len=boxed.form.max_answer_len,
        knows_facts=chosen.knows_facts,
        reads_text=not counts_alike,
    )
    return Opened(subject, boxed.encoder)


def on_best_device(boxed: BoxedModel) -> BoxedModel:
    """Moves a model to the GPU, if there is one."""
    import torch

    if torch.cuda.is_available():
        _ = boxed.model.to("cuda")  # pyright: ignore[reportArgumentType]
    return boxed


def _fast_tokenizer(name: str) -> TextEncoder | None:
    """The model's tokenizer, if budgets can be counted by it."""
    from transformers import AutoTokenizer

    try:
        return TokenizerEncoder(AutoTokenizer.from_pretrained(name))
    except DataError:
        return None


def _usual_answer(settings: BabilongSettings, task: str) -> str:
    """The most frequent answer of the training questions."""
    if settings.babi:
        given = official_questions(settings.babi, task, "train", variant=settings.variant or None)
        return most_frequent(question.answer for question in given)
    draw = babi_task(task).draw
    stories = (draw(Dice(MAJORITY, task, number)) for number in range(_NUM_COUNTED))
    return most_frequent(question.answer for story in stories for question in story.questions())


def _shown_less(
    kind: str, subject: Subject, settings: BabilongSettings, encoder: TextEncoder
) -> Subject:
    if kind == FACTS:
        return FactsOnly(subject)
    return RetrievalSubject(_search(kind, settings), subject, encoder)


def _search(kind: str, settings: BabilongSettings) -> Search:
    if kind not in RETRIEVERS:
        raise ConfigError(
            f"Before a reader may stand {FACTS}+, {'+, '.join(RETRIEVERS)}+. Got '{kind}+'."
        )
    return Search(SentenceCutter(), RETRIEVERS[kind](), settings.retrieval)
