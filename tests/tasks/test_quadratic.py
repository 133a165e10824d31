import re

import numpy as np
import pytest

from armt.core.errors import ConfigError
from armt.tasks.contract import NO_LABEL
from armt.tasks.quadratic import (
    END_ID,
    EQUATION_LEN,
    SOLUTION_LEN,
    QuadraticConfig,
    decode,
    encode,
    equation_text,
    solution_text,
)

EQUATION = re.compile(r"(-?\d*)\*?x\^2([+-]\d+)\*x([+-]\d+)=0")


def coefficients(text):
    leading, linear, constant = EQUATION.fullmatch(text).groups()
    return int({"": "1", "-": "-1"}.get(leading, leading)), int(linear), int(constant)


def check_solution(equation, solution):
    """Follows a solution step by step, with arithmetic of its own."""
    a, b, c = coefficients(equation)
    canonical, discriminant, *steps, answer = solution.split(";")
    assert coefficients(canonical) == (1, b // a, c // a)
    assert (b % a, c % a) == (0, 0)
    formula, value, square = discriminant.removeprefix("D=").split("=")
    assert eval(formula.replace("^", "**")) == int(value) == eval(square.replace("^", "**"))
    roots = [int(root) for root in answer.split(",")]
    assert len(steps) == 2
    for step, root in zip(steps, roots, strict=True):
        formula, value = step.removeprefix("x=").split("=")
        assert eval(formula) == int(value) == root
        assert a * root**2 + b * root + c == 0


def test_by_hand():
    assert equation_text(-4, 6, 92) == "-4*x^2+392*x-2208=0"
    assert solution_text(6, 92) == (
        "x^2-98*x+552=0;D=(-98)^2-4*(552)=7396=86^2;x=(98-86)/2=6;x=(98+86)/2=92;6,92"
    )
    assert equation_text(1, 0, 0) == "x^2+0*x+0=0"
    assert equation_text(-1, -1, 1) == "-x^2+0*x+1=0"


def test_every_solution_is_right():
    prompts = QuadraticConfig().build().draw_prompts(np.random.default_rng(0), 500)
    assert prompts.prompt_ids.shape == (500, EQUATION_LEN)
    assert prompts.answer_ids.shape == (500, SOLUTION_LEN)
    found = set()
    for equation, solution in zip(*(each.tolist() for each in prompts), strict=True):
        told = [token for token in solution if token != NO_LABEL]
        assert told[-1] == END_ID
        assert solution[len(told) :] == [NO_LABEL] * (SOLUTION_LEN - len(told))
        check_solution(decode(equation), decode(told))
        found.add(coefficients(decode(equation))[0])
    assert found == set(range(-10, 11)) - {0}


@pytest.mark.parametrize("roots", [(-100, -100), (-100, 100), (100, 100), (0, 0)])
@pytest.mark.parametrize("factor", [-10, 10])
def test_the_greatest_numbers_fit(roots, factor):
    equation, solution = equation_text(factor, *roots), solution_text(*roots)
    check_solution(equation, solution)
    assert decode(encode(equation, EQUATION_LEN)) == equation
    assert decode(encode(solution, SOLUTION_LEN, is_ended=True)) == solution


def test_training_rows_hold_equation_and_solution():
    batch = QuadraticConfig().build().draw_batch(np.random.default_rng(0), 20)
    assert batch.input_ids.shape == (20, 180)
    for row in batch.input_ids.tolist():
        check_solution(decode(row[:EQUATION_LEN]), decode(row[EQUATION_LEN:]))


def test_roots_are_drawn_evenly():
    prompts = QuadraticConfig(max_root=2).build().draw_prompts(np.random.default_rng(0), 2000)
    roots = [
        root
        for solution in prompts.answer_ids.tolist()
        for root in decode([token for token in solution if token != NO_LABEL])
        .split(";")[-1]
        .split(",")
    ]
    counts = [roots.count(str(root)) for root in range(-2, 3)]
    assert sum(counts) == 4000
    assert sum((count - 800) ** 2 / 800 for count in counts) < 18.5  # chi-square, p = 0.001


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_root": 0}, "`max_root` must be from 1 to 100"),
        ({"max_root": 101}, "Got 101"),
        ({"max_leading": 11}, "`max_leading` must be from 1 to 10"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = QuadraticConfig(**options)
