"""Files and functions stay small enough to hold in the head."""

import ast
from statistics import median

import pytest

from house.sources import (
    functions_in,
    nesting_depth,
    num_lines,
    num_parameters,
    short_name,
    source_files,
    tree_of,
)

MAX_FILE_LINES = 400
MAX_MEDIAN_FILE_LINES = 150
MAX_FUNCTION_LINES = 40
MAX_PARAMETERS = 8
MAX_DEPTH = 3
MEASURES = {
    "lines": (num_lines, MAX_FUNCTION_LINES),
    "parameters": (num_parameters, MAX_PARAMETERS),
    "depth": (nesting_depth, MAX_DEPTH),
}


def _file_lengths() -> dict[str, int]:
    return {short_name(path): len(path.read_text().splitlines()) for path in source_files()}


def test_files_are_short():
    long = {name: lines for name, lines in _file_lengths().items() if lines > MAX_FILE_LINES}
    assert not long, f"Split these files (at most {MAX_FILE_LINES} lines): {long}"


def test_the_median_file_is_short():
    lengths = _file_lengths().values()
    assert lengths, "No source files found."
    assert median(lengths) <= MAX_MEDIAN_FILE_LINES


@pytest.mark.parametrize("measure", MEASURES)
def test_functions_are_small(measure):
    count, limit = MEASURES[measure]
    over = {
        f"{short_name(path)}:{function.lineno} {function.name}": count(function)
        for path in source_files()
        for function in functions_in(tree_of(path))
        if count(function) > limit
    }
    assert not over, f"At most {limit} {measure} in a function: {over}"


SAMPLE = '''
def sample(self, a, *b, c=1, **d):
    """Says nothing."""
    if a:
        for _ in b:
            with c:
                try:
                    pass
                finally:
                    pass
    elif b:
        pass
    elif c:
        pass

    def inner():
        while True:
            pass
'''


def test_the_measures_count_what_they_say():
    sample = next(functions_in(ast.parse(SAMPLE)))
    assert num_lines(sample) == 17
    assert num_parameters(sample) == 4
    assert nesting_depth(sample) == 4
