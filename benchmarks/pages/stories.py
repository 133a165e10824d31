"""Tables of the stories, samples and batches that are generated."""

from armt.benchmarking.tables import to_markdown
from pages.runs import GENERATE_RUN, STATISTICS_RUN, load_measured


def stories_table() -> str:
    """Returns how the generated stories compare with the official training files, by task."""
    measured = load_measured(STATISTICS_RUN)
    rows: list[list[str]] = []
    for task in dict.fromkeys(each.params["task"] for each in measured):
        own = [each for each in measured if each.params["task"] == task]
        (accuracy,) = [each for each in own if each.name == "babi.oracle_accuracy"]
        compared = [each for each in own if each.name == "babi.chi_square"]
        num_passed = sum(bool(each.params["is_passed"]) for each in compared)
        num_answered = f"{accuracy.params['num_samples']:,}"
        right = f"{100 * accuracy.value:.2f}"
        rows.append([str(task), num_answered, right, f"{num_passed} of {len(compared)}"])
    return to_markdown(
        ["task", "questions", "right, per cent", "histograms within the bound"], rows
    )


def generating_table() -> str:
    """Returns how long a sample takes to make, and the memory that grows meanwhile."""
    found = {
        (each.name, each.params["tokens"], each.params.get("form", "")): each.value
        for each in load_measured(GENERATE_RUN)
        if each.name.startswith("babilong.generate")
    }
    rows = [
        [
            tokens,
            f"{seconds:.3f}",
            f"{text:.2f}" if (text := found.get((name, tokens, "text"))) else "not measured",
            f"{found['babilong.generate_growth_bytes', tokens, ''] / 1e6:.0f}",
        ]
        for (name, tokens, form), seconds in found.items()
        if form == "ids"
    ]
    return to_markdown(["tokens", "as tokens, s", "as text, s", "memory grown by, MB"], rows)


def batches_table() -> str:
    """Returns how long a training batch takes to make."""
    rows = [
        [str(each.params["task"]), f"{1000 * each.value:.0f}"]
        for each in load_measured(GENERATE_RUN)
        if each.name == "babilong.batch_s"
    ]
    return to_markdown(["task", "64 rows of 16k tokens, ms"], rows)
