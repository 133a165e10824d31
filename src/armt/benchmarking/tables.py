"""Tables in Markdown, drawn from the records of benchmarks and from the shapes of models."""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import Any

from armt.benchmarking.floor import segment_floor
from armt.benchmarking.records import Measurement
from armt.benchmarking.shapes import ModelShape
from armt.memories.armt import ARMTConfig

NOT_MEASURED = "Not measured yet.\n"
OUT_OF_MEMORY = "device.out_of_memory"

_CASE = ("shape", "segment_len", "batch")
_CASE_HEADS = ["model", "segment", "batch"]

Key = tuple[Any, ...]


def floor_table(shapes: Iterable[ModelShape]) -> str:
    """Returns what a segment of each shape costs at least."""
    rows: list[list[str]] = []
    for shape in shapes:
        floor = segment_floor(shape, ARMTConfig())
        flops = [f"{each / 1e9:,.1f}" for each in floor.flops]
        sizes = (floor.weight_nbytes, floor.state_nbytes, floor.hidden_nbytes)
        nbytes = [f"{each / 1e6:,.1f}" for each in sizes]
        size = f"{shape.num_layers} x {shape.d_model}"
        rows.append([f"`{shape.name}`", size, str(shape.segment_len), *flops, *nbytes])
        rows[-1].append(f"{floor.intensity:,.0f}")
    operations = [f"{name}, GFLOP" for name in ("matrices", "attention", "memory")]
    moved = [f"{name}, MB" for name in ("weights", "states", "hidden states")]
    heads = ["model", "layers x width", "segment", *operations, *moved, "FLOP a byte"]
    return to_markdown(heads, rows)


def ceiling_table(records: Sequence[Measurement]) -> str:
    """Returns the measured ceilings of each device."""
    found = {(each.hardware, each.name): each.value for each in records}
    devices = dict.fromkeys(device for device, name in found if name == "ceiling.tflops")
    rows = [
        [
            device,
            f"{found[device, 'ceiling.tflops']:,.1f}",
            f"{found[device, 'ceiling.bytes_per_s'] / 1e9:,.0f}"
            if (device, "ceiling.bytes_per_s") in found
            else "",
        ]
        for device in devices
    ]
    return to_markdown(["device", "large products, TFLOP/s", "copies, GB/s"], rows)


def speed_table(records: Sequence[Measurement], name: str) -> str:
    """Returns how fast a text is gone over, by case and schedule.

    Args:
        records: of which the last for each case counts.
        name: `read`, `train` or `decode`.
    """
    found = _latest(records, (*_CASE, "schedule"), f"{name}.")
    rows = [
        [
            *map(str, key),
            *_spread(speeds[f"{name}.tokens_per_s"]),
            _spell(speeds.get(f"{name}.tflops"), lambda value: f"{value:,.1f}"),
            _spell(speeds.get(f"{name}.ceiling_share"), lambda value: f"{100 * value:.1f}"),
            _spell(speeds.get(f"{name}.peak_bytes"), lambda value: f"{value / 2**30:.2f}"),
        ]
        for key, speeds in found.items()
        if f"{name}.tokens_per_s" in speeds
    ]
    heads = [*_CASE_HEADS, "schedule", "tokens/s", "least to greatest", "TFLOP/s"]
    return to_markdown([*heads, "of the ceiling, per cent", "peak, GiB"], rows)


def latency_table(records: Sequence[Measurement]) -> str:
    """Returns the seconds of whole texts: a row for each case and schedule, a column a length."""
    whole = [each for each in records if "chosen" not in each.params]  # not the long texts
    found = _latest(whole, (*_CASE, "schedule", "tokens"), "read.seconds", OUT_OF_MEMORY)
    lengths = sorted({key[-1] for key in found})
    rows = [
        [
            *map(str, key),
            *(_latency(found.get((*key, length), {})) for length in lengths),
        ]
        for key in dict.fromkeys(key[:-1] for key in found)
    ]
    heads = [f"{length:,} tokens, s" for length in lengths]
    return to_markdown([*_CASE_HEADS, "schedule", *heads], rows)


def long_table(records: Sequence[Measurement]) -> str:
    """Returns time and memory of texts that are read once, from thousands to millions of tokens."""
    found = _latest([each for each in records if "chosen" in each.params], (*_CASE, "tokens"), "")
    rows = [
        [
            *map(str, key[:-1]),
            f"{key[-1]:,}",
            _spell(sizes.get("read.seconds"), lambda value: f"{value:,.2f}"),
            _spell(sizes.get("read.peak_bytes"), lambda value: f"{value / 2**20:,.1f}"),
            _spell(sizes.get("read.host_growth_bytes"), lambda value: f"{value / 2**20:,.1f}"),
        ]
        for key, sizes in found.items()
    ]
    heads = ["tokens", "seconds", "peak on the device, MiB", "growth on the host, MiB"]
    return to_markdown([*_CASE_HEADS, *heads], rows)


def kernel_table(records: Sequence[Measurement]) -> str:
    """Returns what the time of a wave goes into: a row for each shape and commit."""
    found = _by_kind(records, "wave.kernel_us", lambda each: each.commit)
    return _kinds_table(found, "commit", "us", 1.0)


def training_kernel_table(records: Sequence[Measurement]) -> str:
    """Returns what forward and backward of a training step go into: a row for each case."""
    found = _by_kind(records, "train.kernel_us", lambda each: str(each.params["schedule"]))
    return _kinds_table(found, "schedule", "ms", 1e-3)


def _by_kind(
    records: Sequence[Measurement], name: str, tell: Callable[[Measurement], str]
) -> dict[Key, dict[str, Measurement]]:
    """Returns figures by shape, batch and what `tell` says of them, and by kind of kernel."""
    found: dict[Key, dict[str, Measurement]] = {}
    for each in records:
        if each.name == name:
            key = (each.params["shape"], each.params["batch"], tell(each))
            found.setdefault(key, {})[str(each.params["kind"])] = each
    return found


def _kinds_table(
    found: dict[Key, dict[str, Measurement]], last_head: str, unit: str, scale: float
) -> str:
    kinds = list(dict.fromkeys(kind for by_kind in found.values() for kind in by_kind))
    rows = [
        [
            *map(str, key),
            *(_kernels(by_kind.get(kind), unit, scale) for kind in kinds),
            f"{scale * sum(each.value for each in by_kind.values()):,.0f}",
        ]
        for key, by_kind in sorted(found.items(), key=lambda item: item[0][:2])
    ]
    return to_markdown(["model", "batch", last_head, *kinds, f"all, {unit}"], rows)


def drift_table(records: Sequence[Measurement]) -> str:
    """Returns how far bfloat16 strays from float32, by segments read."""
    found = _latest(records, (*_CASE, "segments"), "drift.")
    rows = [
        [*map(str, key), *(f"{drifts[name].value:.4f}" for name in ("drift.state", "drift.logits"))]
        for key, drifts in found.items()
        if "drift.logits" in drifts
    ]
    return to_markdown([*_CASE_HEADS, "segments", "of the states", "of the logits"], rows)


def to_markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table, or a line that says that nothing was measured."""
    if not rows:
        return NOT_MEASURED
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ["---"] * len(heads), *rows))


def _latest(
    records: Iterable[Measurement], names: Sequence[str], *prefixes: str
) -> dict[Key, dict[str, Measurement]]:
    """Returns the last figure of each name for each value of the parameters `names`."""
    found: dict[Key, dict[str, Measurement]] = {}
    for each in records:
        if each.name.startswith(prefixes) and all(name in each.params for name in names):
            key = tuple(each.params[name] for name in names)
            found.setdefault(key, {})[each.name] = each
    return found


def _spread(measured: Measurement) -> list[str]:
    low, high = (measured.params.get(name, measured.value) for name in ("low", "high"))
    return [f"{measured.value:,.0f}", f"{low:,.0f} to {high:,.0f}"]


def _latency(found: dict[str, Measurement]) -> str:
    if "read.seconds" in found:
        return f"{found['read.seconds'].value:.3f}"
    return "out of memory" if OUT_OF_MEMORY in found else ""


def _kernels(measured: Measurement | None, unit: str, scale: float) -> str:
    if measured is None:
        return ""
    return f"{scale * measured.value:,.1f} {unit}, {measured.number('kernels'):,.0f}"


def _spell(measured: Measurement | None, spell: Callable[[float], str]) -> str:
    return "" if measured is None else spell(measured.value)


def spell_spread(values: Sequence[float], digits: int = 2) -> str:
    """Returns mean, least and greatest; one number if they are alike."""
    spell: Callable[[float], str] = f"{{:.{digits}f}}".format
    said = [spell(each) for each in (mean(values), min(values), max(values))]
    return said[0] if said[1] == said[2] else f"{said[0]} [{said[1]}, {said[2]}]"
