"""What was measured of speed: the records of `armt bench` and of reading on processors."""

from armt.benchmarking.records import Measurement, load_records
from armt.benchmarking.tables import to_markdown
from pages.runs import RESULTS


def bench_records() -> list[Measurement]:
    """Returns what `armt bench` measured on GPUs, file after file."""
    files = sorted(RESULTS.glob("*-bench.jsonl"))
    records = [each for path in files for each in load_records(path)]
    return [each for each in records if not each.hardware.startswith("CPU")]


def boxed_reading_table() -> str:
    """Returns how fast `armt read` is on a CPU beside the plain loop."""
    files = sorted(RESULTS.glob("*-boxed-reading.jsonl"))
    records = [each for path in files for each in load_records(path)]
    found = {(each.hardware, each.name, each.params.get("schedule")): each for each in records}
    rows: list[list[str]] = []
    for device in dict.fromkeys(each.hardware for each in records if each.unit == "tokens/s"):
        speeds = [
            found[device, "read.tokens_per_s", name] for name in ("sequential eager", "armt read")
        ]
        ratio = found[device, "read.speedup", None]
        spread = f"{ratio.params['low']:.2f} to {ratio.params['high']:.2f}"
        numbers = [f"{each.value:,.0f}" for each in speeds]
        rows.append([device, *numbers, f"{ratio.value:.2f}", spread])
    heads = ["plain loop, tokens/s", "`armt read`, tokens/s", "ratio", "least to greatest"]
    return to_markdown(["processor", *heads], rows)
