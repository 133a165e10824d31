"""Quadratic equations, solved step by step: canonical form, discriminant, roots, answer.

Source: Bulatov, Kuratov, Burtsev, "Recurrent Memory Transformer", arXiv:2207.06881. The roots are
drawn from -100 to 100, the leading coefficient from -10 to 10 without 0. A row has 180 characters,
30 of the equation and 150 of the solution, so that six segments of 30 hold it:

    -4*x^2+392*x-2208=0
    x^2-98*x+552=0;D=(-98)^2-4*(552)=7396=86^2;x=(98-86)/2=6;x=(98+86)/2=92;6,92

Where we differ: the exact wording of the steps is ours; END stands behind the answer; blanks fill
up both parts, and those behind END bear no loss.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from armt.core.errors import ConfigError
from armt.core.shapes import Int, Tensor
from armt.tasks.contract import NO_LABEL, Batch
from armt.tasks.symbols import Prompts, SymbolTask, SymbolTaskConfig

CHARACTERS = " 0123456789+-*/^()=;,xD"
"""The characters of an equation and its solution, by their token; a blank is token 0."""

END_ID = len(CHARACTERS)
"""After the answer."""

VOCAB_SIZE = 32
"""Entries of the vocabulary."""

EQUATION_LEN, SOLUTION_LEN = 30, 150
"""Characters of the two parts."""

_TOKENS = {character: token for token, character in enumerate(CHARACTERS)}


@dataclass(frozen=True, kw_only=True)
class QuadraticConfig(SymbolTaskConfig):
    """Options of `Quadratic`."""

    vocab_size = VOCAB_SIZE
    end_id = END_ID

    max_root: int = 100
    """Greatest absolute value of a root, at most 100."""

    max_leading: int = 10
    """Greatest absolute value of the leading coefficient, at most 10."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name, most in (("max_root", 100), ("max_leading", 10)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(
                    f"`{name}` must be from 1 to {most}, or the equation does not fit its "
                    f"{EQUATION_LEN} characters. Got {getattr(self, name)}."
                )

    @property
    def sequence_len(self) -> int:
        """Tokens of a row."""
        return EQUATION_LEN + SOLUTION_LEN

    def build(self) -> "Quadratic":
        """Returns the task."""
        return Quadratic(self)


@final
class Quadratic(SymbolTask):
    """Solve a quadratic equation step by step; loss on the solution."""

    def __init__(self, config: QuadraticConfig) -> None:
        """Takes the options."""
        self.config = config

    def draw_batch(self, rng: np.random.Generator, num_rows: int) -> Batch:
        """Returns rows to train on."""
        equations, solutions = self._draw(rng, num_rows)
        labels = torch.cat([torch.full_like(equations, NO_LABEL), _labels(solutions)], dim=1)
        rows = torch.cat([equations, solutions], dim=1)
        return Batch(input_ids=rows, labels=labels, label_start=EQUATION_LEN)

    def draw_prompts(self, rng: np.random.Generator, num_rows: int) -> Prompts:
        """Returns equations, and the solutions up to their end."""
        equations, solutions = self._draw(rng, num_rows)
        return Prompts(equations, _labels(solutions))

    def _draw(
        self, rng: np.random.Generator, num_rows: int
    ) -> tuple[Int[Tensor, "B E"], Int[Tensor, "B S"]]:
        most, leading = self.config.max_root, self.config.max_leading
        roots = np.sort(rng.integers(-most, most + 1, size=(num_rows, 2)), axis=1).tolist()
        sizes = rng.integers(1, leading + 1, size=num_rows)
        factors = (sizes * rng.choice([-1, 1], size=num_rows)).tolist()
        pairs = list(zip(factors, roots, strict=True))
        equations = [encode(equation_text(factor, *pair), EQUATION_LEN) for factor, pair in pairs]
        solutions = [encode(solution_text(*pair), SOLUTION_LEN, is_ended=True) for _, pair in pairs]
        return torch.tensor(equations), torch.tensor(solutions)


def equation_text(factor: int, first: int, second: int) -> str:
    """Returns `factor * (x - first) * (x - second) = 0`, multiplied out."""
    leading = {1: "", -1: "-"}.get(factor, f"{factor}*")
    linear, constant = -factor * (first + second), factor * first * second
    return f"{leading}x^2{linear:+d}*x{constant:+d}=0"


def solution_text(first: int, second: int) -> str:
    """Returns the steps that lead to the roots `first <= second`, and the roots."""
    total, product, distance = first + second, first * second, second - first
    discriminant = f"D=({-total})^2-4*({product})={distance**2}={distance}^2"
    roots = [
        f"x=({total}{sign}{distance})/2={root}" for sign, root in (("-", first), ("+", second))
    ]
    return ";".join([equation_text(1, first, second), discriminant, *roots, f"{first},{second}"])


def encode(text: str, length: int, *, is_ended: bool = False) -> list[int]:
    """Returns the tokens of `text`, END if asked for, and blanks up to `length`."""
    tokens = [_TOKENS[character] for character in text] + [END_ID] * is_ended
    assert len(tokens) <= length, f"'{text}' does not fit {length} characters"
    return tokens + [0] * (length - len(tokens))


def decode(ids: list[int]) -> str:
    """Returns the characters of `ids` before the first END, without blanks."""
    stop = ids.index(END_ID) if END_ID in ids else len(ids)
    return "".join(CHARACTERS[token] for token in ids[:stop]).strip()


def _labels(solutions: Int[Tensor, "B S"]) -> Int[Tensor, "B S"]:
    """Returns the solutions with no label behind END."""
    is_behind = (solutions == END_ID).cumsum(1) - (solutions == END_ID).long() > 0
    return solutions.masked_fill(is_behind, NO_LABEL)
