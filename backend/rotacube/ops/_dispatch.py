"""What the dispatch of all operators has in common: where a compiled kernel is used, autocast, and how outputs lie."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from rotacube.ops import _library

HALVES = (torch.bfloat16, torch.float16)
COMPILED = (torch.float32, *HALVES)
"""The types of the compiled kernels."""

GPU_REFERENCE = "on GPUs the reference runs: the compiled kernel there is not measured to be faster"
ONNX_REFERENCE = "ONNX knows the plain operators of the reference only"
EXPORT_REFERENCE = "an exported network holds plain operators only, so that it runs without this package"
AMX_REFERENCE = (
    "this processor has AMX, which oneDNN uses for the reference in bfloat16: the compiled kernel does not, and is not "
    "measured to be faster"
)
ARCHITECTURE_REFERENCE = "in half precision the compiled kernel is measured on x86-64 only"
# Sentences with which a kernel is left aside that would run all the same.
LEFT_ASIDE = (GPU_REFERENCE, ONNX_REFERENCE, EXPORT_REFERENCE, AMX_REFERENCE, ARCHITECTURE_REFERENCE)


_plain = False


@contextmanager
def plain_operators() -> Iterator[None]:
    """Within it every operator takes its reference, in all threads: what is traced holds PyTorch's own operators."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def _why_not_half(kind: torch.dtype) -> str | None:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ARCHITECTURE_REFERENCE
    return AMX_REFERENCE if kind == torch.bfloat16 and torch.cpu._is_amx_tile_supported() else None


# Why the convolutions leave their kernel aside on this processor, by type: what was measured decides.
HALF_REFERENCE = {kind: _why_not_half(kind) for kind in HALVES}


def why_no_kernel(tensors: Sequence[Tensor]) -> str | None:
    """Says why no compiled kernel can take these tensors, types aside; None where one can. The first is the input."""
    device = tensors[0].device
    if device.type == "cuda":
        return _library.CUDA.why if not _library.CUDA.loaded else GPU_REFERENCE
    if device.type != "cpu":
        return f"there is no compiled kernel for the device {device.type}"
    if not _library.CPU.loaded:
        return _library.CPU.why
    if any(t.device != device for t in tensors):
        return "the tensors are on different devices"
    if torch.onnx.is_in_onnx_export():
        return ONNX_REFERENCE
    if _plain:
        return EXPORT_REFERENCE
    return None


def why_no_convolution(tensors: Sequence[Tensor]) -> str | None:
    """Says why these tensors, of one convolution, take plain PyTorch; None where its kernel runs. The first is x."""
    why = why_no_kernel(tensors)
    if why is not None:
        return why
    kind, device = tensors[0].dtype, tensors[0].device.type
    if torch.is_autocast_enabled(device):
        if any(t.dtype not in COMPILED for t in tensors):
            return "autocast does not cast these types"
        kind = torch.get_autocast_dtype(device)
    elif any(t.dtype != kind for t in tensors):
        return "weight, bias or mask is of another type than the input"
    return HALF_REFERENCE.get(kind) if kind in COMPILED else no_kernel_for(kind)


def no_kernel_for(kind: torch.dtype) -> str:
    """The sentence for a type that the compiled kernels do not know."""
    return f"the compiled kernel is float32, bfloat16 and float16, not {str(kind).removeprefix('torch.')}"


def autocast(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Casts tensors to the type of autocast where it is on and all of them are of types that it casts."""
    device = tensors[0].device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return list(tensors)
    if any(t.dtype not in COMPILED for t in tensors):
        return list(tensors)
    kind = torch.get_autocast_dtype(device)
    return [t.to(kind) for t in tensors]


def cast_weight(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Casts to the type of `x`, except a float32 weight with its bias: the kernels round those themselves."""
    if weight.dtype == torch.float32 and (bias is None or bias.dtype == torch.float32):
        return weight, bias
    return weight.to(x.dtype), None if bias is None else bias.to(x.dtype)


def of_nothing(shape: Sequence[int], operands: Sequence[Tensor], bias: Tensor | None) -> Tensor:
    """A convolution with an empty operand, of which PyTorch refuses some: zeros, and bias. The first operand is x."""
    nothing = operands[0].new_zeros(shape)
    for operand in operands:
        nothing = nothing + operand.sum() * 0  # keeps the graph: gradients are zeros, not missing
    return nothing if bias is None else nothing + bias.reshape(1, -1, 1, 1)


def empty_as(x: Tensor, *shape: int) -> Tensor:
    """An empty tensor (B, C, H, W) of the type of `x`, which lies as the compiled kernels' outputs lie."""
    channels_last = not x.is_contiguous() and x.stride(1) == 1
    return torch.empty(
        shape,
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )
