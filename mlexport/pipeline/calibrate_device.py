"""Calibrating this machine: models cut for it and timed, and a device profile made of their times."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from mlexport.artifact import read_artifact
from mlexport.errors import ExportError, UsageError
from mlexport.estimate.calibrated import profile_data, profile_yaml
from mlexport.estimate.fit import Fitted, Measured, fit
from mlexport.estimate.probe import write_probe
from mlexport.estimate.samples import copy_bandwidth, measured, take
from mlexport.hub import DEMO
from mlexport.pipeline.make import slice_model
from mlexport.profile import Profile
from mlexport.profiles import load_profile
from mlexport.progress import Progress, Steps
from mlexport.request import SliceRequest
from mlexport.spec import Target, parse_target

ROUNDS = 3
_NEEDED = {Target.ONNX: "onnxruntime", Target.OPENVINO: "openvino", Target.GGUF: "llama_cpp"}
PRECISIONS = {
    Target.ONNX: ("f32", "int8", "int4"),
    Target.OPENVINO: ("f32", "int8", "int4"),
    Target.GGUF: ("q8_0", "q4_k_m"),
}
# Deep and narrow, shallow and wide: what is the same a layer, and what grows with width, are told apart
_DEMO_LAYERS, _PROBE_LAYERS = (2, 8), (1, 2)


def write_calibration_models(work: Path, targets: Sequence[Target]) -> dict[str, Path]:
    """The models that a machine is calibrated on: name -> folder of an artifact; those that are there are kept."""
    if not (work / "probe" / "model.safetensors").exists():
        write_probe(work / "probe")
    found = {}
    for model, cuts in ((DEMO, _DEMO_LAYERS), (str(work / "probe"), _PROBE_LAYERS)):
        for layers in cuts:
            for target in targets:
                name = f"{Path(model).name}-L{layers} {target}"
                found[name] = work / f"{Path(model).name}-L{layers}-{target}"
                if not found[name].is_dir():
                    cut = SliceRequest(
                        model=model,
                        layers=layers,
                        dim=128,
                        targets=(target,),
                        precisions=PRECISIONS[target],
                        out=found[name],
                        allow_untrained=True,
                    )
                    slice_model(cut, verify="off")
    return found


def fits_of(artifacts: Mapping[str, Path], times: Mapping[tuple[str, str, int], Measured]) -> dict[Target, Fitted]:
    """What each runtime's time is made of."""
    found: dict[Target, Fitted] = {}
    for target in Target:
        names = {n for n, folder in artifacts.items() if read_artifact(folder).manifest.target == target.value}
        chosen = [one for key, one in times.items() if key[0] in names]
        if chosen:
            found[target] = fit(chosen)
    return found


def calibrate_device(
    out: Path,
    *,
    artifacts: Sequence[Path] = (),
    targets: Sequence[str] = (),
    rounds: int = ROUNDS,
    force: bool = False,
    progress: Progress | None = None,
) -> Profile:
    """Time calibration models on this machine's CPU, and write a profile that `estimate` takes.

    Args:
        artifacts: further artifacts of the same targets to calibrate on.
        targets: formats to calibrate; empty takes those whose runtime is installed.
        rounds: turns that each model gets.

    Raises:
        UsageError: no runtime is installed, or `out` is no .yaml.
        ExportError: `out` exists, or cannot be written.
    """
    chosen = [parse_target(name) for name in targets] or [t for t, module in _NEEDED.items() if find_spec(module)]
    if not chosen or not set(chosen) <= set(_NEEDED):
        raise UsageError(f"calibration is for targets {', '.join(_NEEDED)}, whose runtimes are installed: got none")
    if out.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{out} must end in .yaml: that is how `estimate --profile` tells a file from a name")
    if out.exists() and not force:
        raise ExportError(f"{out} exists: choose another --out, or pass --force to replace it")
    steps = Steps(progress)
    with TemporaryDirectory(prefix="mlexport-calibrate-") as work:
        with steps.step("models"):
            models = write_calibration_models(Path(work), chosen)
        models |= {str(folder): folder for folder in artifacts}
        variants = sum(len(read_artifact(folder).manifest.variants) for folder in models.values())
        with steps.step("time", variants * rounds):
            samples, _ = take(models, lambda *_: True, rounds, advance=steps.progress.advance)
        with steps.step("fit"):
            fits = fits_of(models, measured(models, samples))
            data = profile_data(fits, copy_bandwidth(), sorted({name.split()[0] for name in models}))
    _write(out, profile_yaml(data, out))
    return load_profile(str(out))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}. Choose another --out") from None
    finally:
        partial.unlink(missing_ok=True)
