"""`armt train`: runs a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import notices, results, silence_transformers

if TYPE_CHECKING:
    from armt.training.callbacks import Trackers
    from armt.training.config import RunConfig
    from armt.training.run import Prepared

MODEL_FOLDER = "model"
"""Where the trained model stands within a run's folder."""


def train(
    name: Annotated[str, typer.Argument(help="Name of a recipe; see `armt list`.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; resumed if it exists.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Option of the recipe to change."),
    ] = None,
    trackers: Annotated[
        list[str] | None,
        typer.Option("--tracker", metavar="NAME", help="Tracker of Accelerate, such as wandb."),
    ] = None,
) -> None:
    """Train a recipe; the same command goes on from the last checkpoint."""
    from armt.recipes.registry import RECIPES
    from armt.training.callbacks import Trackers

    config = RECIPES[name].entry().changed(changes or [])
    listeners = [Trackers(trackers, config, out)] if trackers else []
    prepared = run_recipe(config, out, listeners)
    if prepared.trainer.accelerator.is_main_process:
        results().print(f"The trained model is in '{out / MODEL_FOLDER}'.")


def run_recipe(config: "RunConfig", out: Path, listeners: list["Trackers"]) -> "Prepared":
    """Trains in `out`, with progress, log and curves; saves the model beside the checkpoints."""
    from armt.training.callbacks import Curves, TrainingLog, TrainingProgress
    from armt.training.callbacks.curves import CURVES_NAME
    from armt.training.callbacks.log import LOG_NAME
    from armt.training.run import prepare

    silence_transformers()
    with TrainingProgress(notices(), num_stages=len(config.stages)) as progress:
        log = TrainingLog(out / LOG_NAME)
        curves = Curves(out / LOG_NAME, out / CURVES_NAME)
        prepared = prepare(config, out, [log, curves, progress, *listeners])
        _ = prepared.trainer.train()
    if prepared.trainer.accelerator.is_main_process:
        _save(prepared, out / MODEL_FOLDER)
    return prepared


def _save(prepared: "Prepared", folder: Path) -> None:
    """Writes the model, and with it what `armt read` needs if it was trained on text."""
    from armt.serving.boxed_model import FACTS_FORM, BoxedModel, save_boxed

    model = prepared.trainer.recurrent
    if prepared.encoder is None:
        model.save_pretrained(folder)
    else:
        save_boxed(folder, BoxedModel(model, prepared.encoder, FACTS_FORM))
