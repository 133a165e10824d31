"""Tables of the small experiments on memories, from their records."""

from collections.abc import Iterable, Sequence

from armt.benchmarking.records import Measurement
from armt.benchmarking.tables import to_markdown


def recall_table(records: Iterable[Measurement]) -> str:
    """Returns recall by how many segments followed a fact, one row for each recipe and arm.

    Values are per cent; of several seeds the mean, and the least and greatest.
    """
    own = [each for each in records if each.name == "recall.exact_match"]
    recipes = dict.fromkeys((each.params["recipe"], each.params["memory"]) for each in own)
    distances = sorted({int(each.params["distractors"]) for each in own})
    rows: list[list[str]] = []
    for recipe, memory in recipes:
        cells = [
            _spread(
                each.value
                for each in own
                if (each.params["recipe"], each.params["memory"]) == (recipe, memory)
                and each.params["distractors"] == distance
            )
            for distance in distances
        ]
        rows.append([f"`{recipe}`", str(memory), *cells])
    survival = {
        int(each.params["distractors"]): float(each.params["surviving"])
        for each in own
        if "surviving" in each.params
    }
    if survival:
        shares = [f"{100 * survival[distance]:.0f}" for distance in distances]
        rows.append(["share that the pool still holds", "", *shares])
    return to_markdown(["recipe", "memory", *map(str, distances)], rows)


def frozen_table(records: Iterable[Measurement], arms: Sequence[str]) -> str:
    """Returns accuracy with a frozen backbone by the number of segments after a fact, arm by arm.

    Values are per cent: the mean over seeds, and the least and greatest.
    """
    own = [each for each in records if each.name == "frozen_recall.accuracy"]
    distances = sorted({int(each.params["distractors"]) for each in own})
    rows = [
        [
            arm,
            *(
                _spread(
                    each.value
                    for each in own
                    if (each.params["arm"], each.params["distractors"]) == (arm, distance)
                )
                for distance in distances
            ),
        ]
        for arm in arms
    ]
    return to_markdown(["arm", *map(str, distances)], rows)


def _spread(shares: Iterable[float]) -> str:
    values = [100 * share for share in shares]
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.1f}"
    return f"{mean:.1f} ({min(values):.1f} to {max(values):.1f})"
