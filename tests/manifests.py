"""A small artifact for tests that need no model."""

from __future__ import annotations

from pathlib import Path

from mlexport.artifact import FORMAT_VERSION, IDS, Artifact, Manifest, TensorPlan, Variant, VerifyReport
from mlexport.commit import building
from mlexport.retained import FLOAT_VECTORS


def make_manifest() -> Manifest:
    """A complete manifest but for its files."""
    report = VerifyReport(
        status="off",
        mode="off",
        texts=0,
        mean_cosine=None,
        min_cosine=None,
        threshold={"mean": 0.5, "min": 0.5},
        worst_text="",
        token_mismatches=0,
        largest_residual=None,
        reference="none",
        not_checked=("vectors",),
    )
    text = {
        "end_id": 1,
        "end_token": "<e>",
        "end_appended": True,
        "pad_id": 0,
        "max_length": 8,
        "prompts": {"query": "q "},
    }
    sizes = {"layers": 1, "dim": 8, "table_parameters": 8, "body_parameters": 8, "table_bytes": 32, "body_bytes": 32}
    variant = Variant(
        precision="f32",
        table_precision=None,
        takes=IDS,
        model_file="model.gguf",
        sizes=sizes,
        plan=(TensorPlan(name="norm.weight", shape=(8,), scheme="f32", bytes=32, reason="asked for"),),
        table_error=None,
        verification=report,
        retention=None,
    )
    return Manifest(
        format_version=FORMAT_VERSION,
        tool="mlexport test",
        model="tiny",
        revision=None,
        source="tiny",
        spec="L1-D8",
        target="gguf",
        hidden=8,
        text=text,
        before=sizes,
        untrained=(),
        notes=("a note",),
        vectors=FLOAT_VECTORS,
        variants=(variant,),
        files=(),
    )


def make_artifact(target: Path, content: bytes = b"weights", *, force: bool = False) -> Artifact:
    """Commit an artifact of two files."""
    with building(target, needed_bytes=len(content), force=force) as build:
        (build.folder / "model.gguf").write_bytes(content)
        (build.folder / "1_Pooling").mkdir()
        (build.folder / "1_Pooling" / "config.json").write_text("{}", encoding="utf-8")
        return build.commit(make_manifest())
