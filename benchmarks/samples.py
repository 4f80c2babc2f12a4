"""What can be had of the phone samples on Linux: compiled, run on a JVM, or parsed. Prints the table of docs/packs.md.

Needs a JDK, g++, npm, and Debian's libandroid-json-java (Android's own org.json). The Kotlin compiler comes out of the
package kotlin-jupyter-kernel, ONNX Runtime's Java classes out of its Android archive in a package for Unity, llama.cpp
out of llama-cpp-python.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

import mlexport
from mlexport.pack import write_pack
from mlexport.probes import PROBES, over_long

ROOT = Path(__file__).parents[1]
OWN = Path(__file__).with_name("samples")
KOTLIN = "kotlin-jupyter-kernel==0.19.0.944"
UNITY = "com.github.asus4.onnxruntime@0.4.9"
PARSER = ("tree-sitter==0.26.1", "tree-sitter-swift==0.7.4")
# The newest that Maven and CocoaPods have
EXTENSIONS = ("onnxruntime-extensions==0.13.0", "onnxruntime==1.24.2", "numpy")
JSON = Path("/usr/share/java/com.android.json.jar")
TEXTS = [probe.text for probe in PROBES] + [over_long(512).text]
PARSE = (
    "import sys, pathlib, tree_sitter, tree_sitter_swift as s; "
    "p = tree_sitter.Parser(tree_sitter.Language(s.language())); "
    "bad = [f for f in sys.argv[1:] if p.parse(pathlib.Path(f).read_bytes()).root_node.has_error]; "
    "sys.exit(str(bad) if bad else 0)"
)
STRINGS = (
    "import sys, json, numpy, onnxruntime, onnxruntime_extensions as e; o = onnxruntime.SessionOptions(); "
    "o.register_custom_ops_library(e.get_library_path()); s = onnxruntime.InferenceSession(sys.argv[1], o); "
    "r = lambda t: s.run(['sentence_embedding'], {'text': numpy.array([t], dtype=object)})[0][0].tolist(); "
    "print(json.dumps([r(t) for t in json.load(sys.stdin)]))"
)


def main() -> None:
    """Make the packs, then one row for each thing that was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=Path, default=ROOT / ".venv" / "samples", help="where compilers are put")
    tools = parser.parse_args().tools
    fetch(tools)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for target, options in (("onnx", {"text_in": True, "precisions": ["f32"]}), ("gguf", {})):
            request = mlexport.SliceRequest(
                layers=8, dim=128, targets=[target], out=work / target, vectors="binary", **options
            )
            mlexport.slice_model(request, verify="off")
            for platform in ("android", "ios"):
                write_pack(work / target, platform)
        print("| sample | what was done | lowest cosine |\n|---|---|---|")
        compiled = compile_kotlin(tools, work / "onnx-android", work / "classes-onnx")
        row("Kotlin, ONNX Runtime", f"compiled against its classes ({compiled} of ours); stubs for the rest", None)
        compile_kotlin(tools, work / "gguf-android", work / "classes-gguf", OWN / "Driver.kt")
        row("Kotlin and C++, llama.cpp", "compiled, and run on a JVM", run_kotlin(tools, work))
        strings = in_strings(tools, work / "onnx-android")
        row("the model that takes strings", " and ".join(EXTENSIONS[:2]) + ", in Python", strings)
        sources = [str(path) for path in work.rglob("*.swift")]
        assert len(sources) == 6, sources
        ask([str(tools / "parser" / "bin" / "python"), "-c", PARSE, *sources])
        row("Swift", f"parsed by {PARSER[1]}; neither compiled nor run", None)


def fetch(tools: Path) -> None:
    """The compiler, the classes and two environments, each once."""
    if not (tools / "kotlin").is_dir():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tools), KOTLIN]
        ask(pip)
        [wheel] = tools.glob("kotlin_jupyter_kernel-*.whl")
        zipfile.ZipFile(wheel).extractall(tools / "kotlin")
    if not (tools / "classes.jar").is_file():
        packed = ask(["npm", "pack", "--silent", "--pack-destination", str(tools), UNITY]).strip()
        shutil.unpack_archive(tools / packed, tools / "unity")
        with zipfile.ZipFile(tools / "unity" / "package" / "Plugins" / "Android" / "onnxruntime.aar") as archive:
            archive.extract("classes.jar", tools)
    for name, packages in (("parser", PARSER), ("extensions", EXTENSIONS)):
        if not (tools / name).is_dir():
            ask([sys.executable, "-m", "venv", str(tools / name)])
            ask([str(tools / name / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages])


def class_path(tools: Path) -> str:
    """What the samples are compiled against: Kotlin's library, org.json, ONNX Runtime, and the stubs."""
    stubs = tools / "stubs"
    ask(["javac", "-d", str(stubs), *(str(path) for path in (OWN / "stubs").rglob("*.java"))])
    [library] = (tools / "kotlin").rglob("kotlin-stdlib-*.jar")
    return ":".join(map(str, (library, JSON, tools / "classes.jar", stubs)))


def compile_kotlin(tools: Path, pack: Path, out: Path, *more: Path) -> int:
    """Compile a pack's sources, warnings being errors; the number of classes."""
    jars = [
        str(path)
        for path in (tools / "kotlin").rglob("*.jar")
        if path.name.startswith(("kotlin-jupyter", "kotlin-stdlib"))
    ]
    compiler = ["java", "-cp", ":".join(jars), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    options = ["-no-stdlib", "-no-reflect", "-Werror", "-jvm-target", "1.8", "-cp", class_path(tools), "-d", str(out)]
    ask([*compiler, *options, *(str(path) for path in pack.rglob("*.kt")), *map(str, more)])
    return len(list(out.rglob("*.class")))


def run_kotlin(tools: Path, work: Path) -> float:
    """Compile the C++ beside the Kotlin, run both on this machine's JVM, and compare with Python."""
    library = Path(llama_cpp.__file__).parent / "lib"
    headers = next(path.parent for path in Path(llama_cpp.__file__).parents[1].glob("include/llama.h"))
    java = Path(shutil.which("javac") or "").resolve().parents[1] / "include"
    includes = [f"-I{path}" for path in (headers, java, java / "linux")]
    source = work / "gguf-android" / "src" / "main" / "cpp" / "embedder.cpp"
    out = work / "libembedder.so"
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    ask(["g++", *flags, *includes, str(source), f"-L{library}", "-lllama", f"-Wl,-rpath,{library}", "-o", str(out)])
    command = ["java", f"-Djava.library.path={work}", "-cp", f"{work / 'classes-gguf'}:{class_path(tools)}"]
    answer = ask([*command, "mlexport.sample.DriverKt", str(work / "gguf-android" / "model")], json.dumps(TEXTS))
    found = json.loads(answer.splitlines()[-1])
    with mlexport.open_artifact(work / "gguf") as model:
        plain, queries = model.embed(TEXTS), model.embed(TEXTS, query=True)
        stored = model.store(np.array(found["vectors"], dtype=np.float32))
    assert np.array_equal(np.array(found["stored"]).astype(np.int8).view(np.uint8), stored)
    return min(lowest(found["vectors"], plain), lowest(found["queries"], queries))


def in_strings(tools: Path, pack: Path) -> float:
    """The phones' model with the extensions' version that phones get."""
    [model] = (pack / "model").glob("*.onnx")
    answer = ask([str(tools / "extensions" / "bin" / "python"), "-c", STRINGS, str(model)], json.dumps(TEXTS))
    with mlexport.open_artifact(pack.with_name("onnx")) as reference:
        return lowest(json.loads(answer), reference.embed(TEXTS))


def lowest(found: Sequence[Sequence[float]], expected: np.ndarray) -> float:
    """Lowest cosine of unit vectors."""
    return float((np.array(found) * expected).sum(axis=1).min())


def ask(command: list[str], text: str = "") -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False, env=os.environ)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:300]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def row(sample: str, done: str, cosine: float | None) -> None:
    """A line of the table."""
    print(f"| {sample} | {done} | {'–' if cosine is None else f'{cosine:.6f}'} |", flush=True)


if __name__ == "__main__":
    main()
