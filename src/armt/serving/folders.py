"""Where the models stand that come with the library."""

from pathlib import Path

from armt.core.errors import BackboneError

BOXED_FOLDER = Path(__file__).resolve().parents[1] / "boxed"
"""Holds a folder for each model that comes with the library."""

BOXED_NAME = "qa1"
"""The one that reads and answers where people are."""


def boxed_folder(name: str = BOXED_NAME) -> Path:
    """Returns the folder of a model that comes with the library.

    Raises:
        BackboneError: this installation has none.
    """
    folder = BOXED_FOLDER / name
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f"This installation comes without the boxed model '{name}' (no '{folder}'). Install "
            "armt anew, or name a model's folder with --model."
        )
    return folder
