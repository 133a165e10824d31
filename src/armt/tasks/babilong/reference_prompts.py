"""The prompts of the reference evaluation, read from the user's own copy of its repository."""

import ast
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from armt.core.errors import ConfigError, DataError
from armt.tasks.babilong.prompts import Prompt, PromptBook

_PARTS = ("instruction", "examples", "post_prompt")
_TEMPLATE_HASH = "cf4ab7f25f69"
# First 12 digits of the SHA-256 of instruction, examples and post-prompt of each task, of the
# repository's state that the published results were made with.
_KNOWN_HASHES = {
    "qa1": "3f85058d517f f198fd1b19eb 4ea1dd55b56d",
    "qa2": "33eae7a1bf09 6b58b0f17281 deaca649800b",
    "qa3": "ba59626d01a3 06b8ed15fae3 9273adb4b35c",
    "qa4": "45d3628aecb8 c88c940312dc 926c61dbd983",
    "qa5": "f58e737c9321 7f6ce4910401 452dd7303b9f",
    "qa6": "c40e54891e8d 6dfa6ec9ebaa bb87c6814f73",
    "qa7": "895b9c4405fc cfd4097b3566 fdada4d8409f",
    "qa8": "895b9c4405fc 1d5275a72e47 568fff4be448",
    "qa9": "c40e54891e8d 84ae93c6bfa3 879f952bf0df",
    "qa10": "c40e54891e8d e2f1db3bb744 8fd30505de1d",
    "qa11": "c40e54891e8d e800f338b7d8 78c7976f7f68",
    "qa12": "c40e54891e8d df952b92a165 78c7976f7f68",
    "qa13": "c40e54891e8d 245df3c54b41 78c7976f7f68",
    "qa14": "c40e54891e8d 01a1c0829330 78c7976f7f68",
    "qa15": "465381be999d 13d35b2471ae fec0a8b1d569",
    "qa16": "f056f632006f 3efdc9d5933e e88461eeeac7",
    "qa17": "579cc39160ec 2599f21c28ef 879f952bf0df",
    "qa18": "9477d1ba642b 9af17d2e9d25 879f952bf0df",
    "qa19": "c7e31376ff96 d1ded9c7c3a9 521957406e3e",
    "qa20": "f5afe3ad4297 2f8735877195 8605c487d900",
}


@dataclass(frozen=True)
class ReferencePrompts:
    """What a prompt file of the reference holds."""

    book: PromptBook
    """The prompts, with the file's own template."""

    unknown: tuple[str, ...]
    """Tasks (and `template`) whose wording is not that of the published results."""

    @property
    def is_known(self) -> bool:
        """Whether everything in it is what the published results were made with."""
        return not self.unknown


def load_reference_prompts(path: str | os.PathLike[str]) -> ReferencePrompts:
    """Reads `babilong/prompts.py` of the reference repository; none of its code is run.

    Raises:
        DataError: the file cannot be read, or is not such a file.
    """
    values = _literals(Path(path))
    template, table = values.get("DEFAULT_TEMPLATE"), values.get("DEFAULT_PROMPTS")
    if not isinstance(template, str) or not isinstance(table, dict) or not table:
        raise _foreign(path, "it defines no DEFAULT_TEMPLATE and DEFAULT_PROMPTS as literals")
    prompts: dict[str, Prompt] = {}
    for task, parts in cast("dict[object, object]", table).items():
        prompts[str(task)] = _prompt(path, str(task), parts, template)
    unknown = [task for task, prompt in prompts.items() if not _is_known(task, prompt)]
    if _digits(template) != _TEMPLATE_HASH:
        unknown.append("template")
    return ReferencePrompts(PromptBook(prompts), tuple(unknown))


def _literals(path: Path) -> dict[str, object]:
    """Returns the constants that a Python file defines, without running it."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _foreign(path, f"it is no Python text ({error})") from error
    found: dict[str, object] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(node, ast.Assign):
                found[target.id] = _literal(node.value)
    return found


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


def _prompt(path: str | os.PathLike[str], task: str, parts: object, template: str) -> Prompt:
    if not isinstance(parts, Mapping):
        raise _foreign(path, f"the prompt of '{task}' is no table")
    values = [cast("Mapping[str, object]", parts).get(name) for name in _PARTS]
    if not all(isinstance(value, str) for value in values):
        raise _foreign(path, f"the prompt of '{task}' lacks one of {', '.join(_PARTS)}")
    instruction, examples, post_prompt = cast("list[str]", values)
    try:
        return Prompt(
            instruction=instruction, examples=examples, post_prompt=post_prompt, template=template
        )
    except ConfigError as error:
        raise _foreign(path, str(error)) from error


def _is_known(task: str, prompt: Prompt) -> bool:
    found = (prompt.instruction, prompt.examples, prompt.post_prompt)
    return " ".join(_digits(part) for part in found) == _KNOWN_HASHES.get(task)


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _foreign(path: str | os.PathLike[str], reason: str) -> DataError:
    return DataError(
        f"'{path}' is no prompt file of the reference: {reason}. Give `babilong/prompts.py` of a "
        "clone of its repository."
    )
