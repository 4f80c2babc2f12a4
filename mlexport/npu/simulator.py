"""Compiling and running in child processes; what is simulated here, and what a device does."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from mlexport import process
from mlexport.errors import ArtifactError, ExportError, MeasureError, missing_extra
from mlexport.npu.chips import Chip

_CHILD = "mlexport.npu.child"
NOT_TAKEN = 3
_HEADER = 3 * 8
# Characters of a library's message
_SAID = 300


def simulated() -> bool:
    """Whether vectors of target qnn come from Qualcomm's simulator here: its times are no device's."""
    return platform.machine() in ("x86_64", "AMD64")


def refuse_simulated(path: Path) -> None:
    """Refuse to measure what a simulator runs.

    Raises:
        MeasureError: it would.
    """
    if simulated():
        raise MeasureError(
            f"{path} would run in Qualcomm's simulator here, whose times are no chip's: measure it on the device, "
            "or estimate it with `mlexport estimate`"
        )


def require_provider() -> None:
    """Refuse where the provider is not installed.

    Raises:
        MissingExtraError: a library is not.
    """
    for module in ("onnxruntime_qnn", "onnxruntime", "onnx", "onnx_ir"):
        if find_spec(module) is None:
            raise missing_extra(module.replace("_", "-"), "qnn", "target qnn")


def require_compiler() -> None:
    """Refuse where nothing can be compiled.

    Raises:
        ExportError: the provider has its compiler for another kind of machine.
        MissingExtraError: a library is not installed.
    """
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64":
        raise ExportError(
            f"target qnn is compiled on Linux x86_64, where onnxruntime-qnn has compiler and simulator, "
            f"and this is {machine}: run it there"
        )
    require_provider()


def compile_graph(model: Path, out: Path, chip: Chip, metadata: Mapping[str, str]) -> None:
    """Compile a graph for a chip: the wrapper `out`, and the context binary beside it.

    Raises:
        ExportError: the compiler did not take an operator, or failed.
    """
    with TemporaryDirectory(prefix="mlexport-qnn-") as folder:
        work = Path(folder)
        job = {
            "model": str(model),
            "out": str(out),
            "work": str(work),
            "soc_model": chip.soc_model,
            "htp_arch": chip.htp_arch,
            "metadata": dict(metadata),
        }
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        command: list[Path | str] = ["compile", work / "job.json"]
        code = process.run(_CHILD, command, work, lambda _: None)
        if code != 0:
            # What it took of a graph is no graph
            for left in (out, *out.parent.glob(f"{out.stem}_qnn*.bin")):
                left.unlink(missing_ok=True)
        if code == NOT_TAKEN:
            raise ExportError(
                f"Qualcomm's compiler for {chip.soc} left operators to the CPU, which is disabled: "
                f"{process.last_words(work)}"
            )
        if code != 0:
            said = process.last_words(work)[:_SAID]
            raise ExportError(f"Qualcomm's compiler for {chip.soc} failed (exit code {code}): {said}")


class Simulated:
    """A compiled model that is open in a child process.

    Attributes:
        shape: the only (batch, tokens) it takes.
        dim: numbers of its vectors.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._work = path, TemporaryDirectory(prefix="mlexport-qnn-")
        work = Path(self._work.name)
        with (work / "stderr").open("wb") as stderr:
            self._child = subprocess.Popen(
                [sys.executable, "-m", _CHILD, "serve", str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        batch, tokens, self.dim = np.frombuffer(self._read(_HEADER), dtype=np.int64).tolist()
        self.shape = (batch, tokens)

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors, float32 [batch, dim], as the processor gives them: normalised in f16.

        Args:
            ids, mask: int64 [batch, tokens].

        Raises:
            ArtifactError: the child ended.
        """
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(ids.tobytes() + mask.tobytes())
            self._child.stdin.flush()
        except BrokenPipeError:
            self._refuse()
        content = self._read(self.shape[0] * self.dim * 4)
        return np.frombuffer(content, dtype=np.float32).reshape(self.shape[0], self.dim)

    def close(self) -> None:
        """End the child."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        self._work.cleanup()

    def _read(self, size: int) -> bytes:
        assert self._child.stdout is not None
        content = self._child.stdout.read(size)
        if len(content) < size:
            self._refuse()
        return content

    def _refuse(self) -> None:
        self._child.wait()
        said = process.last_words(Path(self._work.name))
        self.close()
        raise ArtifactError(f"{self._path} is refused by onnxruntime-qnn: {said[:_SAID]}")
