"""`armt demo`: trains a memory, reads a long text, asks about it, and measures."""

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import results, silence_transformers, spell_nbytes

if TYPE_CHECKING:
    from armt.serving.boxed_model import BoxedModel

NUM_TOKENS = 128_000
"""Least length of the text that is read."""

LENGTHS = (0, 1000, 4000, 16_000, 64_000)
NUM_SAMPLES = 4
RECIPE = "smoke"
FAR_FACTOR = 4
"""How many times more pairs the trained memory is asked to hold."""


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the tables and the heat map.")
    ] = Path("runs/demo"),
) -> None:
    """Train a small memory, read a long text and ask about it, and draw a heat map."""
    from armt.serving.boxed_model import load_boxed
    from armt.serving.folders import boxed_folder

    started = time.monotonic()
    silence_transformers()
    boxed = load_boxed(boxed_folder())
    with tempfile.TemporaryDirectory() as scratch:
        train_small(Path(scratch) / "training")
        num_wrong = read_and_ask(boxed, Path(scratch))
    evaluate_boxed(out)
    results().print(f"\nDone in {time.monotonic() - started:.0f} s.")
    if num_wrong:
        results().print(f"{num_wrong} answers were wrong.")
        raise typer.Exit(1)


def train_small(folder: Path) -> None:
    """Trains the smoke recipe; prints its exact match, also at more pairs than trained on."""
    from armt.cli.train import run_recipe
    from armt.evaluation.retrieval import retrieval_scores
    from armt.recipes.registry import RECIPES
    from armt.tasks.associative_retrieval import AssociativeRetrievalConfig

    console = results()
    config = RECIPES[RECIPE].entry()
    task = config.stages[-1].stream
    assert isinstance(task, AssociativeRetrievalConfig), "the smoke recipe retrieves"
    console.print("1. An associative memory learns to recall pairs, from scratch")
    prepared = run_recipe(config, folder, [])
    nums_pairs = (task.num_pairs, FAR_FACTOR * task.num_pairs)
    for num_pairs, score in retrieval_scores(prepared.trainer.recurrent, task, nums_pairs).items():
        note = "as trained" if num_pairs == task.num_pairs else f"{FAR_FACTOR} times as many"
        console.print(f"   {num_pairs} pairs ({note}): exact match {score.accuracy:.3f}")


def read_and_ask(boxed: "BoxedModel", folder: Path) -> int:
    """Reads a long text with hidden facts, saves and loads the state, asks about every person.

    Returns the number of wrong answers.
    """
    from armt.cli.hidden_facts import hide_facts
    from armt.cli.read import read_pieces
    from armt.recurrence.state_file import load_state, save_state
    from armt.serving.answer import answer_question
    from armt.serving.reader import TextReader, find_sources

    console, book, path = results(), folder / "book.txt", folder / "book.state"
    hidden = hide_facts(book, boxed.encoder, NUM_TOKENS)
    num_facts = len(hidden.facts)
    console.print(
        f"\n2. {num_facts} facts hidden in {hidden.num_tokens:,} tokens of prose are read"
    )
    reader = TextReader(find_sources([str(book)], sys.stdin.buffer))
    reading = read_pieces(boxed, reader, boxed.model.init_state(1), num_tokens=hidden.num_tokens)
    console.print(
        f"   Resident memory grew by {spell_nbytes(reading.growth_nbytes)} from the first segment "
        "to the last."
    )
    save_state(path, reading.state, boxed.model, tokenizer=boxed.encoder.tokenizer)
    state = load_state(path, boxed.model, tokenizer=boxed.encoder.tokenizer)
    console.print(f"   Saved and loaded again: {spell_nbytes(path.stat().st_size)}.")
    num_wrong = 0
    for person, place in hidden.places.items():
        question = f"Where is {person}?"
        answer = answer_question(boxed, state, question)
        num_wrong += answer != place
        console.print(f"   {question:<18} {answer:<10} (truth: {place})")
    return num_wrong


def evaluate_boxed(out: Path) -> None:
    """Evaluates BABILong QA1 at a few lengths, with the memory and without; draws the heat map."""
    from armt.cli.evaluate import measure
    from armt.evaluation.harness import EvaluationConfig
    from armt.serving.folders import boxed_folder

    results().print("\n3. BABILong QA1, with the memory and without")
    options = EvaluationConfig(lengths=LENGTHS, num_samples=NUM_SAMPLES, retry_failures=True)
    measure(boxed_folder(), "qa1", options, out, batch_size=NUM_SAMPLES)
