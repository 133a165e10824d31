"""Associative retrieval by arms of equal state: what each recalls, what a kilobyte holds."""

from statistics import mean

from armt.benchmarking.tables import NOT_MEASURED, spell_spread, to_markdown
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from pages.charts import Chart, Line
from pages.runs import EXACT_MATCH, RETRIEVAL_ARM_RUNS, STATE, figures

KILOBYTE = 1024

Shares = dict[int, dict[int, float]]
"""Exact match by pairs tested and seed."""


def arms_table(task: str) -> str:
    """Returns exact match by pairs tested, size of the state and facts in a kilobyte of it."""
    found, sizes = arm_shares(task), state_sizes()
    if not found:
        return NOT_MEASURED
    tested = sorted({at for cells in found.values() for at in cells})
    rows = [
        [
            f"`{recipe}`",
            f"{sizes[recipe]:,.0f}",
            str(max(len(seeds) for seeds in cells.values())),
            *(_spell_shares(cells.get(at, {})) for at in tested),
            f"{max(facts.values()):.1f}",
            f"{KILOBYTE * max(facts.values()) / sizes[recipe]:.2f}",
        ]
        for recipe, cells in found.items()
        for facts in [facts_held(cells)]
    ]
    heads = ["recipe", "state, bytes", "seeds", *(f"{at:,} pairs" for at in tested)]
    return to_markdown([*heads, "facts held", "facts a kilobyte"], rows)


def arm_charts() -> list[Chart]:
    """Returns exact match of both tasks, and how many facts a kilobyte holds of those to keep."""
    found = {task: arm_shares(task) for task in ("remember", "rewrite")}
    charts = [
        _chart(
            task,
            "exact match, per cent",
            {
                recipe: {
                    at: [100 * share for share in seeds.values()] for at, seeds in cells.items()
                }
                for recipe, cells in arms.items()
            },
        )
        for task, arms in found.items()
        if arms
    ]
    if found["remember"]:
        sizes = state_sizes()
        density = {
            recipe: {
                at: [KILOBYTE * _facts(at, share) / sizes[recipe] for share in seeds.values()]
                for at, seeds in cells.items()
            }
            for recipe, cells in found["remember"].items()
        }
        charts.append(_chart("remember", "facts a kilobyte of state", density))
    return charts


def arm_shares(task: str) -> dict[str, Shares]:
    """Returns what each recipe of a task recalls."""
    found: dict[str, Shares] = {}
    for each in figures(RETRIEVAL_ARM_RUNS, EXACT_MATCH):
        if each.params["task"] == task:
            cells = found.setdefault(each.params["recipe"], {})
            cells.setdefault(each.params["tested"], {})[each.seed] = each.value
    return found


def state_sizes() -> dict[str, float]:
    """Returns the bytes of the state of each recipe."""
    return {each.params["recipe"]: each.value for each in figures(RETRIEVAL_ARM_RUNS, STATE)}


def facts_held(cells: Shares) -> dict[int, float]:
    """Returns by pairs tested how many are held, the mean over seeds."""
    return {at: mean(_facts(at, share) for share in seeds.values()) for at, seeds in cells.items()}


def _facts(num_pairs: int, share: float) -> float:
    """Returns how many of the pairs are held, less what guessing answers."""
    task = AssociativeRetrievalConfig(num_pairs=num_pairs, key_len=4).build()
    return task.estimated_capacity(share)


def _spell_shares(seeds: dict[int, float]) -> str:
    shares = [100 * share for share in seeds.values()]
    return spell_spread(shares, 1) if shares else "not measured"


def _chart(task: str, what: str, found: dict[str, dict[int, list[float]]]) -> Chart:
    """Returns a line for each recipe, the mean over seeds from the least to the greatest."""
    places = sorted({at for cells in found.values() for at in cells})
    lines = [
        Line(
            recipe,
            tuple(float(at) for at in sorted(cells)),
            tuple(mean(cells[at]) for at in sorted(cells)),
            tuple(min(cells[at]) for at in sorted(cells)),
            tuple(max(cells[at]) for at in sorted(cells)),
        )
        for recipe, cells in found.items()
    ]
    ticks = tuple((float(at), f"{at:,}") for at in places)
    return Chart(task, "pairs", what, tuple(lines), ticks)
