"""The optimiser and its learning rate."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from armt.core.shapes import Float, Tensor
from armt.training.config import OptimConfig, StageConfig


class MasterAdamW:
    """AdamW that keeps float32 copies of weights which the model holds in half precision.

    An update is often smaller than the spacing of half-precision numbers; the copies collect it.
    Weights that are in float32 anyway are not copied.
    """

    def __init__(self, model: nn.Module, config: OptimConfig) -> None:
        """Takes all trainable parameters; matrices decay, vectors do not."""
        self.parameters = [value for value in model.parameters() if value.requires_grad]
        self.masters = [_master(value) for value in self.parameters]
        pairs = zip(self.parameters, self.masters, strict=True)
        self._copied = [
            (parameter, master) for parameter, master in pairs if master is not parameter
        ]
        matrices = [value for value in self.masters if value.dim() > 1]
        vectors = [value for value in self.masters if value.dim() <= 1]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._is_fused = all(value.is_cuda for value in self.masters)
        self.inner = torch.optim.AdamW(groups, lr=0.0, betas=config.betas, fused=self._is_fused)
        self._clip_norm = config.clip_norm

    def step(self) -> Float[Tensor, ""]:
        """Clips the gradient and takes one step, or none if the gradient is not finite.

        A GPU decides that for itself: nothing waits for it.

        Returns the length of the gradient before clipping.
        """
        with_gradient: list[tuple[nn.Parameter, Tensor]] = []
        for parameter, master in self._copied:
            if parameter.grad is None:
                master.grad = None
                continue
            if master.grad is None:
                master.grad = torch.empty_like(master)
            with_gradient.append((parameter, master))
        _copy_all([m.grad for _, m in with_gradient], [p.grad for p, _ in with_gradient])
        norm = nn.utils.clip_grad_norm_(self.masters, self._clip_norm)
        is_finite = torch.isfinite(norm)
        if self._is_fused:
            # where this is 1 the fused kernels leave weights and means as they are
            cast("Any", self.inner).found_inf = (~is_finite).float()
        if self._is_fused or bool(is_finite):
            _ = self.inner.step()
            self.publish()
        return norm

    @torch.no_grad()
    def publish(self) -> None:
        """Writes the copies into the model."""
        _copy_all([parameter for parameter, _ in self._copied], [m for _, m in self._copied])

    def zero_grad(self) -> None:
        """Zeroes the gradients in place, where a CUDA graph may look for them."""
        gradients = [each.grad for each in self.parameters if each.grad is not None]
        if gradients:
            cast("Any", torch)._foreach_zero_(gradients)

    def set_learning_rate(self, value: float) -> None:
        """Sets the learning rate of all weights."""
        for group in self.inner.param_groups:
            group["lr"] = value

    def tensors(self) -> dict[str, Tensor]:
        """Returns copies and running means by name, to be saved."""
        state: dict[int, dict[str, Tensor]] = self.inner.state_dict()["state"]
        means = {
            f"{number}.{name}": torch.as_tensor(value)
            for number, values in state.items()
            for name, value in values.items()
        }
        return means | {f"master.{n}": master for n, master in enumerate(self.masters)}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Goes on from what `tensors` returned."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            owner, _, name = key.partition(".")
            if owner == "master":
                with torch.no_grad():
                    _ = self.masters[int(name)].copy_(value)
            else:
                state.setdefault(int(owner), {})[name] = value
        groups = self.inner.state_dict()["param_groups"]
        self.inner.load_state_dict({"state": state, "param_groups": groups})
        self.publish()


def cast_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Casts the weights in place, and nothing else: rotary frequencies need their digits."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


@torch.no_grad()
def _copy_all(targets: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> None:
    """Copies tensors that may differ in dtype, by a few kernels for all of them together."""
    if targets:
        cast("Any", torch)._foreach_copy_(targets, sources)


def _master(parameter: nn.Parameter) -> Tensor:
    if parameter.dtype == torch.float32:
        return parameter
    return parameter.detach().float().requires_grad_()


def learning_rate_at(stage: StageConfig, step: int) -> float:
    """Returns the learning rate of step number `step` of a stage, from 0 on."""
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    if stage.final_learning_rate is None:
        return stage.learning_rate
    share = (step - stage.warmup_steps) / max(stage.num_steps - stage.warmup_steps, 1)
    span = stage.learning_rate - stage.final_learning_rate
    return stage.final_learning_rate + span * (1 + math.cos(math.pi * share)) / 2
