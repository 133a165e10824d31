"""Tables of the small experiments on memories, from their records.

Shares are told per cent: of several seeds the mean, with the least and the greatest.
"""

from collections.abc import Sequence

from armt.benchmarking.records import Measurement
from armt.benchmarking.tables import spell_spread, to_markdown

DISTANCE = "distractors"
"""Parameter of a record: how many segments followed a fact."""


def recall_table(records: Sequence[Measurement], axis: str = DISTANCE) -> str:
    """Returns recall by a parameter of the records, one row for each recipe, as changed, and arm.

    The parameter is by default how many segments followed a fact. Where a memory is a pool, the
    last row is the share of a segment's tokens that it still holds.
    """
    own = [each for each in records if each.name == "recall.exact_match"]
    rows = [
        [*case, *_shares_at(axis, own, [each for each in own if _case(each) == case])]
        for case in dict.fromkeys(_case(each) for each in own)
    ]
    held = {
        each.number(axis): each.number("surviving") for each in own if "surviving" in each.params
    }
    if held:
        shares = [f"{100 * held[each]:.0f}" for each in _places(axis, own)]
        rows.append(["share that the pool still holds", "", *shares])
    return to_markdown(["recipe", "memory", *_heads(axis, own)], rows)


def frozen_table(records: Sequence[Measurement], arms: Sequence[str]) -> str:
    """Returns accuracy with a frozen backbone by how many segments followed a fact, arm by arm."""
    own = [each for each in records if each.name == "frozen_recall.accuracy"]
    rows = [
        [arm, *_shares_at(DISTANCE, own, [each for each in own if each.params["arm"] == arm])]
        for arm in arms
    ]
    return to_markdown(["arm", *_heads(DISTANCE, own)], rows)


def retriever_table(records: Sequence[Measurement], least: float) -> str:
    """Returns what the retriever of each layer finds of the segment asked for, and chance beside.

    Shown are the distances from which all of the long-term memory is at least `least` times what is
    found at random: nearer by, a retriever cannot be as many times better.
    """
    own = [
        each
        for each in records
        if each.name == "retriever.recall" and each.number("chance") * least <= 1
    ]
    chance = {each.number(DISTANCE): each.number("chance") for each in own}
    rows = [
        [f"{layer:.0f}", *_shares_at(DISTANCE, own, [x for x in own if x.number("layer") == layer])]
        for layer in sorted({each.number("layer") for each in own})
    ]
    rows.append(["at random", *(f"{100 * chance[each]:.1f}" for each in _places(DISTANCE, own))])
    return to_markdown(["layer", *_heads(DISTANCE, own)], rows)


def _case(record: Measurement) -> tuple[str, str]:
    """Returns the recipe with what was changed in it, and the arm."""
    told = record.params
    changes = told.get("changes")
    parts = [told["recipe"], *(changes if isinstance(changes, list) else ())]
    return " with ".join(f"`{part}`" for part in parts), str(told["memory"])


def _places(axis: str, records: Sequence[Measurement]) -> list[float]:
    return sorted({each.number(axis) for each in records})


def _heads(axis: str, records: Sequence[Measurement]) -> list[str]:
    return [f"{place:.0f}" for place in _places(axis, records)]


def _shares_at(axis: str, every: Sequence[Measurement], own: Sequence[Measurement]) -> list[str]:
    """Returns the shares of `own` at each place on the axis that occurs in `every` record.

    Where a run was stopped before it came to a place, the cell says so.
    """
    shares = {
        place: [100 * each.value for each in own if each.number(axis) == place]
        for place in _places(axis, every)
    }
    return [spell_spread(found, digits=1) if found else "not measured" for found in shares.values()]
