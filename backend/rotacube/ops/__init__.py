"""The operators of the networks: a pure-PyTorch reference each, and a compiled kernel where there is one.

Every operator is a file of its own. The compiled libraries are optional: without them everything runs on the
references, and `operator_status` says so, in words.
"""

from __future__ import annotations

from rotacube.ops.cube import Anchor, Mode, cube_conv2d, cube_conv2d_reference
from rotacube.ops.involution import involution2d, involution2d_reference
from rotacube.ops.kronecker import kronecker_fusion, kronecker_fusion_reference
from rotacube.ops.rotation import Pool, rotation_conv2d, rotation_conv2d_reference
from rotacube.ops.status import (
    CompiledStatus,
    DeviceStatus,
    OperatorStatus,
    compiled_status,
    device_status,
    operator_status,
)

__all__ = [
    "Anchor",
    "CompiledStatus",
    "DeviceStatus",
    "Mode",
    "OperatorStatus",
    "Pool",
    "compiled_status",
    "cube_conv2d",
    "cube_conv2d_reference",
    "device_status",
    "involution2d",
    "involution2d_reference",
    "kronecker_fusion",
    "kronecker_fusion_reference",
    "operator_status",
    "rotation_conv2d",
    "rotation_conv2d_reference",
]
