"""`armt doctor`: what is installed, and whether it works."""

import platform
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import typer

from armt.cli.console import FAILED_CODE, results, silence_transformers, spell_nbytes
from armt.core.errors import ArmtError

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors")


def doctor() -> None:
    """Show versions and devices and try a tiny model and the boxed one."""
    from armt.recurrence.state_file import library_version

    silence_transformers()
    checks: dict[str, Callable[[], str]] = {
        "armt": library_version,
        "python": platform.python_version,
        **{name: _version_of(name) for name in PACKAGES},
        "device": _device,
        "kernels": _kernels,
        "free disk": _free_disk,
        "attach": _attach,
        "boxed model": _boxed,
    }
    has_failed = False
    for name, check in checks.items():
        try:
            mark, text = "ok", check()
        except (ArmtError, OSError, RuntimeError, metadata.PackageNotFoundError) as error:
            mark, text = "failed", " ".join(str(error).split())
            has_failed = True
        results().print(f"{mark:<7} {name:<13} {text}")
    if has_failed:
        raise typer.Exit(FAILED_CODE)


def _version_of(name: str) -> Callable[[], str]:
    return lambda: metadata.version(name)


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return ", ".join(names)
    return f"CPU, {torch.get_num_threads()} threads"


def _kernels() -> str:
    import torch

    from armt.ops.dispatch import can_run_kernels

    if not torch.cuda.is_available():
        return "none: they are for a GPU"
    has_kernels = can_run_kernels(torch.device("cuda", torch.cuda.current_device()))
    return "for writing" if has_kernels else "none: they need Triton and compute capability 8.0"


def _free_disk() -> str:
    return f"{spell_nbytes(shutil.disk_usage(Path.cwd()).free)} here"


def _attach() -> str:
    """Attaches a memory to a tiny backbone and compares one reading with two."""
    import torch

    from armt.backbones.tiny import TinyBackboneConfig
    from armt.memories.armt import ARMTConfig
    from armt.recurrence.attach import attach

    shape = TinyBackboneConfig(d_model=16, num_layers=2, num_heads=2, d_ffn=32, max_positions=32)
    backbone = shape.build(32, seed=0, end_id=0)
    model = attach(backbone, ARMTConfig(num_memory_tokens=2, d_mem=4), segment_len=8).eval()
    ids = torch.arange(27).unsqueeze(0)
    whole = model.read(ids)
    parts = model.read(ids[:, 11:], model.read(ids[:, :11]))
    pairs = zip(whole.layers, parts.layers, strict=True)
    is_same = all(
        torch.equal(value, right.tensors()[name])
        for left, right in pairs
        for name, value in left.tensors().items()
    )
    if not is_same:
        raise ArmtError(
            "A text read in two parts gave another state than in one. Install the tested versions "
            "of torch and transformers."
        )
    return "a tiny llama carries a memory; reading in parts changes nothing"


def _boxed() -> str:
    """Tells the boxed model one fact and asks for it."""
    from armt.serving.answer import answer_question
    from armt.serving.boxed_model import load_boxed
    from armt.serving.folders import boxed_folder

    boxed = load_boxed(boxed_folder())
    state = boxed.read(boxed.encode_text("Mary went to the garden."))
    answer = answer_question(boxed, state, "Where is Mary?")
    if answer != "garden":
        raise ArmtError(
            f"The boxed model answers '{answer}' instead of 'garden'. Install armt anew."
        )
    return f"{sum(value.numel() for value in boxed.model.parameters()):,} parameters, answers"
