"""llama.cpp's own converter and vocabulary tests, from the source distribution of the installed llama-cpp-python.

    python benchmarks/llama_sources.py --out FOLDER

pip fetches the archive (the one that it built llama-cpp-python from); only what is named in KEEP is unpacked.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

KEEP = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/gguf/", "models/ggml-vocab-qwen2.gguf")
_INSIDE = "vendor/llama.cpp/"


def fetch(out: Path) -> Path:
    """Unpack the files into `out`, unless a former call did; returns `out`."""
    release = version("llama-cpp-python")
    done = out / f"llama-cpp-python-{release}"
    if done.exists():
        return out
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", ":all:", "--dest", work, f"llama-cpp-python=={release}"]
        subprocess.run(command, check=True)
        [archive] = Path(work).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            for member in tar:
                place = member.name.partition(_INSIDE)[2]
                if member.isfile() and place.startswith(KEEP):
                    member.name = place
                    tar.extract(member, out, filter="data")
    done.touch()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    print(fetch(parser.parse_args().out))


if __name__ == "__main__":
    main()
