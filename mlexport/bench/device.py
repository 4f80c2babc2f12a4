"""A folder of ours on an Android device, reached by adb."""

from __future__ import annotations

import re
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from mlexport.artifact import FileEntry
from mlexport.bench.runners import RESULT_FILE, Job, Runner, Said, parse_output
from mlexport.bench.subjects import Entrant
from mlexport.errors import MeasureError
from mlexport.progress import Progress

_PARENT = "/data/local/tmp"
_PROPERTIES = {
    "machine": ("ro.product.manufacturer", "ro.product.model"),
    "processor": ("ro.soc.manufacturer", "ro.soc.model"),
    "architecture": ("ro.product.cpu.abi",),
    "system": ("ro.build.version.release", "ro.build.version.incremental"),
}


class Device:
    """A folder of ours on a device."""

    def __init__(self, serial: str, runner: Runner) -> None:
        self._serial, self._runner = serial, runner
        self._folder = f"{_PARENT}/mlexport-{secrets.token_hex(8)}"

    def __enter__(self) -> Device:
        state = self._adb(["get-state"])
        if state.strip() != "device":
            raise MeasureError(f"adb:{self._serial} is {state.strip() or 'not ready'}: see `adb devices`")
        self._shell(f"mkdir {self._folder}")
        return self

    def __exit__(self, *error: object) -> None:
        command = ["adb", "-s", self._serial, "shell", f"rm -rf {self._folder}"]
        subprocess.run(command, capture_output=True, check=False)

    def push_program(self, program: Path) -> None:
        """The runner, and the libraries beside it."""
        libraries = sorted(path for path in program.parent.iterdir() if ".so" in path.suffixes)
        for path in (program, *libraries):
            self._adb(["push", str(path), f"{self._folder}/{path.name}"])
        self._shell(f"chmod 755 {shlex.quote(f'{self._folder}/{program.name}')}")

    def push_models(self, found: Sequence[Entrant], told: Progress) -> list[str]:
        """Each contestant's model in a folder of its own; the folders."""
        folders = []
        files = [_model_files(one) for one in found]
        told.step("copy", sum(entry.bytes for group in files for entry in group))
        for number, (one, group) in enumerate(zip(found, files, strict=True)):
            folder = f"{self._folder}/{number}"
            self._shell(f"mkdir -p {folder}/test_data_set_0")
            for entry in group:
                self._adb(["push", str(one.artifact.folder / entry.path), f"{folder}/{PurePosixPath(entry.path).name}"])
                told.advance(entry.bytes)
            folders.append(folder)
        return folders

    def push_inputs(self, inputs: Mapping[str, bytes], folders: Sequence[str]) -> None:
        """What the runner reads, into each of the folders."""
        with tempfile.TemporaryDirectory() as work:
            for number, (name, content) in enumerate(inputs.items()):
                file = Path(work) / str(number)
                file.write_bytes(content)
                for folder in folders:
                    self._adb(["push", str(file), f"{folder}/{name}"])

    def run(self, job: Job, folder: str) -> Said:
        """Start the program in the model's folder."""
        words = " ".join(map(shlex.quote, self._runner.command(job)))
        libraries = f"LD_LIBRARY_PATH={self._folder}"
        out = self._shell(f"cd {folder} && rm -f {RESULT_FILE} && {libraries} {words} 2>&1")
        file = self._shell(f"cat {folder}/{RESULT_FILE} 2>/dev/null || true")
        return parse_output(self._runner, out, file)

    def facts(self) -> dict[str, object]:
        """What the device says of itself."""
        facts: dict[str, object] = {
            name: " ".join(self._shell(f"getprop {one}").strip() for one in properties).strip() or None
            for name, properties in _PROPERTIES.items()
        }
        cores = self._shell("nproc || true").strip()
        memory = re.search(r"MemTotal:\s+(\d+) kB", self._shell("cat /proc/meminfo || true"))
        facts["cores"] = int(cores) if cores.isdecimal() else None
        facts["memory_bytes"] = int(memory[1]) * 1024 if memory else None
        return facts

    def _shell(self, command: str) -> str:
        """Run a command line there; what is variable in it is quoted by whoever made it."""
        # An adb of before Android 7 does not pass the exit code on
        out = self._adb(["shell", f"{{ {command}; }}; echo exit=$?"])
        body, _, code = out.rstrip().rpartition("exit=")
        if code.strip() != "0":
            last = next((line for line in reversed(body.splitlines()) if line.strip()), "nothing")
            raise MeasureError(f"adb:{self._serial}: `{command[:80]}…` failed there: {last.strip()[:200]}")
        return body

    def _adb(self, arguments: Sequence[str]) -> str:
        command = ["adb", "-s", self._serial, *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise MeasureError(f"no adb on this machine ({error.strerror}): install Android's platform tools") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise MeasureError(f"adb:{self._serial} cannot be reached: {said[-1] if said else 'adb says nothing'}")
        return done.stdout


def _model_files(one: Entrant) -> list[FileEntry]:
    """The model file and its data: ONNX's and OpenVINO's lie beside it under its name."""
    model = PurePosixPath(one.variant.model_file)
    entries = one.artifact.manifest.shipped(one.variant)
    return [entry for entry in entries if PurePosixPath(entry.path).with_suffix("") == model.with_suffix("")]
