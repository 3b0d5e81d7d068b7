"""Chooses the precision that a version runs in."""

from __future__ import annotations

from typing import Literal

from service.errors import VersionError
from service.manifest import NEAR, Manifest, Precision

Wanted = Literal["auto", "fp32", "int8", "fp16"]

_FASTEST: dict[str, tuple[Precision, ...]] = {
    "CPUExecutionProvider": ("int8",),
    "CUDAExecutionProvider": ("fp16",),
}
"""The precisions that are faster than fp32 on a provider, fastest first."""


def choose(manifest: Manifest, wanted: Wanted, provider: str) -> Precision:
    """The `wanted` precision; for `auto` the fastest one that stays near fp32 in sessions.

    Raises `VersionError` if the version lacks the precision, or if it is not faster on
    `provider`.
    """
    faster = _FASTEST.get(provider, ())
    if wanted == "auto":
        near = (precision for precision in faster if _is_close_enough(manifest, precision))
        return next(near, "fp32")
    if wanted != "fp32" and wanted not in faster:
        raise VersionError(
            f"{manifest.version}: engine.precision is {wanted}, which is not faster on "
            f"{provider}; set {' or '.join(('auto', 'fp32', *faster))}"
        )
    if wanted != "fp32" and wanted not in manifest.precisions:
        raise VersionError(
            f"{manifest.version}: engine.precision is {wanted}, but the version has only "
            f"{', '.join(manifest.precisions) or 'fp32'}; export it with --{wanted}, or set "
            "auto or fp32"
        )
    return wanted


def _is_close_enough(manifest: Manifest, precision: Precision) -> bool:
    carried = manifest.precisions.get(precision)
    if carried is None or carried.drift is None:
        return False
    cosines = (carried.drift.min_cosine, carried.context_cosine)
    return all(cosine is None or cosine >= NEAR for cosine in cosines)
