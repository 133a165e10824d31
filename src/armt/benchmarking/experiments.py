"""Tables of the small experiments on memories, from their records.

Shares are told per cent: of several seeds the mean, with the least and the greatest.
"""

from collections.abc import Sequence

from armt.benchmarking.records import Measurement
from armt.benchmarking.tables import spell_spread, to_markdown


def recall_table(records: Sequence[Measurement]) -> str:
    """Returns recall by how many segments followed a fact, one row for each recipe and arm.

    The last row is the share of a segment's tokens that a pool of memory tokens still holds.
    """
    own = [each for each in records if each.name == "recall.exact_match"]
    cases = dict.fromkeys((str(each.params["recipe"]), str(each.params["memory"])) for each in own)
    rows = [
        [
            f"`{recipe}`",
            memory,
            *_by_distance(own, [each for each in own if _case(each) == (recipe, memory)]),
        ]
        for recipe, memory in cases
    ]
    held = {
        each.number("distractors"): each.number("surviving")
        for each in own
        if "surviving" in each.params
    }
    if held:
        shares = [f"{100 * held[each]:.0f}" for each in _distances(own)]
        rows.append(["share that the pool still holds", "", *shares])
    return to_markdown(["recipe", "memory", *_heads(own)], rows)


def frozen_table(records: Sequence[Measurement], arms: Sequence[str]) -> str:
    """Returns accuracy with a frozen backbone by how many segments followed a fact, arm by arm."""
    own = [each for each in records if each.name == "frozen_recall.accuracy"]
    rows = [
        [arm, *_by_distance(own, [each for each in own if each.params["arm"] == arm])]
        for arm in arms
    ]
    return to_markdown(["arm", *_heads(own)], rows)


def _case(record: Measurement) -> tuple[str, str]:
    return str(record.params["recipe"]), str(record.params["memory"])


def _distances(records: Sequence[Measurement]) -> list[float]:
    return sorted({each.number("distractors") for each in records})


def _heads(records: Sequence[Measurement]) -> list[str]:
    return [f"{distance:.0f}" for distance in _distances(records)]


def _by_distance(every: Sequence[Measurement], own: Sequence[Measurement]) -> list[str]:
    """Returns the shares of `own` at each distance that occurs in `every` record."""
    shares = {
        distance: [100 * each.value for each in own if each.number("distractors") == distance]
        for distance in _distances(every)
    }
    return [spell_spread(found, digits=1) for found in shares.values()]
