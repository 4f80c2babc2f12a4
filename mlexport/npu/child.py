"""The process that holds Qualcomm's libraries: their memory, their messages and their faults stay in it.

    python -m mlexport.npu.child compile JOB.json
    python -m mlexport.npu.child serve MODEL.onnx

"compile" ends with 0; or it writes one line to standard error and ends with 3 where the compiler left nodes to the CPU,
with 4 where it failed. "serve" writes batch, tokens and dim as
three int64, then for each batch of ids and mask (int64 [batch, tokens] each) that it reads from standard input the
vectors, float32 [batch, dim], to standard output; the end of its input ends it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mlexport.npu.htp import CompilerError, Job, NotTakenError, compile_context, open_context
from mlexport.npu.simulator import NOT_TAKEN

OUTPUT = "sentence_embedding"
FAILED = 4


def compile_job(path: Path) -> int:
    """Compile what the job says; the exit code."""
    request = json.loads(path.read_text(encoding="utf-8"))
    job = Job(**request | {key: Path(request[key]) for key in ("model", "out", "work")})
    try:
        compile_context(job)
    except CompilerError as error:
        sys.stderr.write(f"\n{error}\n")
        return NOT_TAKEN if isinstance(error, NotTakenError) else FAILED
    return 0


def serve(path: Path, out: BinaryIO) -> None:
    """Vectors of batches until there are no more."""
    session = open_context(path)
    batch, tokens = session.get_inputs()[0].shape
    dim = session.get_outputs()[0].shape[1]
    out.write(np.array([batch, tokens, dim], dtype=np.int64).tobytes())
    out.flush()
    size = batch * tokens
    while content := sys.stdin.buffer.read(2 * size * 8):
        ids, mask = np.frombuffer(content, dtype=np.int64).reshape(2, batch, tokens)
        [vectors] = session.run([OUTPUT], {"input_ids": ids, "attention_mask": mask})
        out.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
        out.flush()


def main() -> int:
    """Do the job of the arguments."""
    job, path = sys.argv[1], Path(sys.argv[2])
    # Qualcomm's libraries write to standard output what belongs to standard error
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if job == "compile":
        return compile_job(path)
    serve(path, answers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
