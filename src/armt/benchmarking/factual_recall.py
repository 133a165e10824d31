"""Tables of the factual recall experiments: what was measured beside what the paper expects.

Expected values are those of Nichani, Lee, Bietti, arXiv:2412.06538, and of the lines in the
plots of its authors.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import mean

from armt.benchmarking.records import Measurement
from armt.benchmarking.tables import spell_spread, to_markdown
from armt.core.config import PlainTree

GROWTH_RANGE = (0.85, 1.1)
"""Exponents that count as one, up to the logarithms that the theory leaves open."""

FACTS_PER_PARAMETER = 0.15
"""The line in the authors' plot of what a one-layer transformer holds."""

_LINES = {"hebbian": None, "trained matrix": 1 / 1.3, "trained perceptron": 1 / 0.35}
"""`N log N` over size on the authors' lines (none for Hebbian sums); other rules are not theirs."""

_STEPS = {"relation": 1800, "subject": 5000}
"""Where the stages begin in the authors' plot, by eye."""


def capacity_table(records: Sequence[Measurement]) -> str:
    """Returns how many associations each store holds and how that grows with its size."""
    stores = _values(records, "factual_recall.capacity", "store")
    rows: list[list[str]] = []
    for store in stores:
        held = [each for each in _named(records, "factual_recall.capacity") if _is(each, store)]
        width = max(each.number("width") for each in held)
        most = [each.value for each in held if each.params["width"] == width]
        growths = [each for each in _named(records, "factual_recall.growth") if _is(each, store)]
        exponents = [
            [each.value for each in growths if each.params["of"] == of] for of in ("N", "N log N")
        ]
        constant = mean(number * math.log(number) for number in most) / width**2
        cells = [
            f"{width:.0f}",
            f"{mean(most):.0f}",
            *map(spell_spread, exponents),
            f"{constant:.2f}",
        ]
        rows.append([store, *cells, *_expected_growth(store, exponents)])
    heads = ["store", "width", "N at this width", "growth of N", "growth of N log N"]
    return to_markdown(
        [*heads, "N log N over size", "expected", "growths within 0.85 to 1.1"], rows
    )


def order_table(records: Sequence[Measurement]) -> str:
    """Returns the losses before, on and after the plateau, and when the stages began."""
    losses, steps = (_named(records, f"factual_recall.{name}") for name in ("loss", "learned_at"))
    num_answers, num_relations = (losses[0].number(name) for name in ("answers", "relations"))
    num_outputs = num_answers * num_relations
    theory = {"start": num_outputs, "plateau": num_answers, "end": 1.0}
    rows: list[list[str]] = []
    for moment, choices in theory.items():
        found = [each.value for each in losses if each.params["moment"] == moment]
        said = f"log {choices:.0f} = {math.log(choices):.4f}"
        off = _off(found, math.log(choices))
        rows.append([f"loss at the {moment}, nats", spell_spread(found, 4), said, off])
    for what, step in _STEPS.items():
        found = [each.value for each in steps if each.params["what"] == what]
        off = _off(found, step)
        rows.append(
            [f"steps until the {what} is known", spell_spread(found, 0), f"about {step}", off]
        )
    return to_markdown(["what", "found", "expected", "off by at most"], rows)


def transformer_table(records: Sequence[Measurement]) -> str:
    """Returns how many of its facts each one-layer transformer knows, in per cent by seed."""
    found = _named(records, "factual_recall.accuracy")
    sizes = ("kind", "facts", "attention_parameters", "mlp_parameters")
    rows: list[list[str]] = []
    for case in dict.fromkeys(tuple(each.params[name] for name in sizes) for each in found):
        own = [each for each in found if tuple(each.params[name] for name in sizes) == case]
        kind, _, attention, mlp = case
        facts, *parts = (own[0].number(name) for name in sizes[1:])
        share = facts / sum(parts)
        known = ", ".join(f"{100 * each.value:.1f}" for each in own)
        is_large = share <= FACTS_PER_PARAMETER
        expected = "all, if large enough" if is_large else f"not all: over {FACTS_PER_PARAMETER}"
        rows.append([str(kind), str(attention), str(mlp), f"{share:.3f}", known, expected])
    heads = ["kind", "attention parameters", "perceptron parameters", "facts a parameter"]
    return to_markdown([*heads, "known, per cent, by seed", "expected"], rows)


def _expected_growth(store: str, exponents: Iterable[Sequence[float]]) -> list[str]:
    """Returns what is expected of a store, and whether its mean growths lie within the range."""
    low, high = GROWTH_RANGE
    verdicts = [low <= mean(each) <= high for each in exponents]
    judged = {(True, True): "both", (True, False): "of N", (False, True): "of N log N"}
    said = judged.get((verdicts[0], verdicts[1]), "neither")
    if store not in _LINES:
        return ["not in the paper", said]
    line = _LINES[store]
    return ["growth 1" if line is None else f"growth 1; {line:.2f} over size", said]


def _named(records: Sequence[Measurement], name: str) -> list[Measurement]:
    return [each for each in records if each.name == name]


def _is(record: Measurement, store: PlainTree) -> bool:
    return record.params["store"] == store


def _values(records: Sequence[Measurement], name: str, param: str) -> list[str]:
    return list(dict.fromkeys(str(each.params[param]) for each in _named(records, name)))


def _off(found: Sequence[float], theory: float) -> str:
    """Returns the greatest distance from a theory as a share of it."""
    if not theory:
        return ""
    return f"{100 * max(abs(value - theory) for value in found) / theory:.1f} %"
