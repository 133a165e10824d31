"""`armt ask`: answers a question from a state file."""

from pathlib import Path
from typing import Annotated

import typer

from armt.cli.console import notices, results, silence_transformers
from armt.cli.read import ModelOption


def ask(
    state: Annotated[Path, typer.Argument(help="State file that `armt read` wrote.")],
    question: Annotated[str, typer.Argument(help='Such as "Where is Mary?".')],
    model: ModelOption = None,
) -> None:
    """Answer a question about a text that was read; the state file stays as it is."""
    from armt.recurrence.state_file import load_state
    from armt.serving.answer import answer_question
    from armt.serving.boxed_model import load_boxed
    from armt.serving.folders import boxed_folder

    silence_transformers()
    boxed = load_boxed(model or boxed_folder())
    known = load_state(state, boxed.model, tokenizer=boxed.encoder.tokenizer)
    if not known.num_tokens.any():
        notices().print("Notice: nothing was read into this memory, so the answer is a guess.")
    results().print(answer_question(boxed, known, question))
