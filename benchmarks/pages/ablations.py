"""What single changes of the quick recipe of *rewrite* do, from the records of `ablations.py`."""

from armt.benchmarking.tables import spell_spread, to_markdown
from pages.runs import ABLATION_RUNS, EXACT_MATCH, figures


def ablations_table() -> str:
    """Returns exact match by updates tested, a row for each ablation, the mean over seeds."""
    found: dict[tuple[str, str], dict[int, dict[int, float]]] = {}
    for each in figures(ABLATION_RUNS, EXACT_MATCH):
        told = each.params
        changes = " ".join(f"`{change}`" for change in told["changes"])
        cells = found.setdefault((told["ablation"], changes), {})
        cells.setdefault(told["tested"], {})[each.seed] = 100 * each.value
    tested = sorted({at for cells in found.values() for at in cells})
    rows = [
        [
            name.replace("_", " "),
            changes,
            str(max(len(seeds) for seeds in cells.values())),
            *(
                spell_spread(list(cells[at].values()), 1) if at in cells else "not measured"
                for at in tested
            ),
        ]
        for (name, changes), cells in found.items()
    ]
    return to_markdown(
        ["ablation", "changes", "seeds", *(f"{at:,} updates" for at in tested)], rows
    )
