"""Whether an artifact fits a device profile: target, shapes and precisions before it is written, operators after."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mlexport.errors import UsageError, VerificationError, missing_extra
from mlexport.facts import DeviceCheck
from mlexport.npu import LISTS, unsupported
from mlexport.profile import Profile
from mlexport.request import COMPILED_SHAPE
from mlexport.results import SlicePlan
from mlexport.spec import Target

# Of the formats' own names, what a profile calls them
_COMPUTED = {"bf16": "bf16", "f16": "f16", "f32": "f32", "w8a16": "w8a16"}


def require_fit(profile: Profile, plan: SlicePlan) -> None:
    """Refuse what a profile rules out, before anything is written.

    Raises:
        UsageError: another target, dynamic shapes for a device of static ones, or another precision.
    """
    name, unit = profile.name, profile.unit
    runtimes = [runtime for runtime in unit.runtimes if plan.target in runtime.targets]
    if not runtimes:
        known = ", ".join(sorted({target for runtime in unit.runtimes for target in runtime.targets})) or "none"
        raise UsageError(f"profile {name} runs targets {known}, got {plan.target}: choose one of them")
    if unit.shapes == "static" and plan.sub.shape is None:
        shape = "x".join(map(str, COMPILED_SHAPE))
        raise UsageError(f"profile {name} takes fixed shapes alone: pass --static, such as --static {shape}")
    known_precisions = sorted({precision for runtime in runtimes for precision in runtime.precisions})
    for variant in plan.variants:
        computed = _COMPUTED.get(variant.precision, variant.precision.split("_")[0])
        if computed not in known_precisions:
            raise UsageError(
                f"profile {name} computes {plan.target} in {', '.join(known_precisions)}, "
                f"got {variant.precision}: choose another --precision"
            )


def check_operators(profile: Profile, target: Target, path: Path) -> DeviceCheck | None:
    """A written file's operators against a profile; None where it takes any, or where compiling was the proof.

    Raises:
        VerificationError: operators that the device does not take.
        MissingExtraError: openvino is not installed.
    """
    which = profile.unit.operators
    if which == "any" or target is Target.QNN:
        return None
    return _by_openvino(profile, path) if which == "openvino-npu" else _by_list(profile, which, path)


def _by_openvino(profile: Profile, path: Path) -> DeviceCheck:
    if find_spec("openvino") is None:
        raise missing_extra("openvino", "openvino", f"--profile {profile.name}")
    from mlexport.npu.intel import ask  # noqa: PLC0415

    found = ask(path)
    if not found.static:
        raise VerificationError(f"{path.name} has dynamic shapes, which {profile.name} does not take. Nothing was kept")
    _require_none(profile, path, found.refused, found.source)
    return DeviceCheck(
        profile=profile.name,
        method=found.method,
        source=found.source,
        operators=found.operators,
        nodes=found.nodes,
        not_asked=found.not_asked,
    )


def _by_list(profile: Profile, which: str, path: Path) -> DeviceCheck:
    import onnx  # noqa: PLC0415

    nodes = onnx.load(path, load_external_data=False).graph.node
    kinds = sorted({f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in nodes})
    _require_none(profile, path, unsupported(kinds, which), LISTS[which].source)
    return DeviceCheck(
        profile=profile.name,
        method="list",
        source=LISTS[which].source,
        operators=tuple(kinds),
        nodes=len(nodes),
        not_asked="an ONNX file is not compiled here; --target qnn is",
    )


def _require_none(profile: Profile, path: Path, refused: tuple[str, ...], source: str) -> None:
    if refused:
        raise VerificationError(
            f"{path.name} has operators that {profile.name} does not take: {', '.join(refused)} ({source}). "
            "Nothing was kept"
        )
