"""Published latencies of other embedding models, and these models' shapes: what estimates are compared with.

Shapes are those of each model's own config.json or code, where `source` says nothing else. Latencies: Qualcomm AI Hub
models v0.47 (perf.yaml of each model in github.com/quic/ai-hub-models), model cards of google/embeddinggemma-300m and
litert-community, of Nomic, Harrier and LiquidAI.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An encoder's sizes.

    Attributes:
        gated: three matrices in the MLP, not two.
        kv_width: outputs of the key and of the value projection.
        head: whether every token is multiplied by the whole vocabulary.
        source: who says so.
    """

    layers: int
    hidden: int
    mlp: int
    gated: bool
    heads: int
    head_dim: int
    kv_width: int
    vocabulary: int
    source: str
    head: bool = False


_BERT_BASE = Shape(
    layers=12,
    hidden=768,
    mlp=3072,
    gated=False,
    heads=12,
    head_dim=64,
    kv_width=768,
    vocabulary=30522,
    source="config.json of google-bert/bert-base-uncased; AI Hub compiles AutoModelForMaskedLM, head included "
    "(qai_hub_models/models/bert_base_uncased_hf/model.py)",
    head=True,
)
_GEMMA = Shape(
    layers=24,
    hidden=768,
    mlp=1152,
    gated=True,
    heads=3,
    head_dim=256,
    kv_width=256,
    vocabulary=262144,
    source="config.json of google/embeddinggemma-300m",
)
SHAPES = {
    "Nomic-embed 137M": replace(
        _BERT_BASE,
        gated=True,
        vocabulary=30528,
        source="config.json of nomic-ai/nomic-embed-text-v1.5",
        head=False,
    ),
    "BERT-base": _BERT_BASE,
    "EmbeddingGemma-300M": _GEMMA,
    "EmbeddingGemma-2 text": replace(_GEMMA, source="assumed: as EmbeddingGemma-300M; compared with itself alone"),
    "Gecko-110M": replace(
        _BERT_BASE,
        vocabulary=32000,
        source="assumed: as BERT-base, which has 110 M parameters too",
        head=False,
    ),
    "Qwen3-Embedding-0.6B": Shape(
        layers=28,
        hidden=1024,
        mlp=3072,
        gated=True,
        heads=16,
        head_dim=128,
        kv_width=1024,
        vocabulary=151669,
        source="config.json of Qwen/Qwen3-Embedding-0.6B",
    ),
    "MiniLM-L6": Shape(
        layers=6,
        hidden=384,
        mlp=1536,
        gated=False,
        heads=12,
        head_dim=32,
        kv_width=384,
        vocabulary=30522,
        source="config.json of sentence-transformers/all-MiniLM-L6-v2",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A published latency.

    Attributes:
        unit: the processor; rows of one unit and precision are each other's partners.
        kind: cpu, gpu or npu.
        overhead_ms, bandwidth_gb_s: as the unit's profile has them.
        note: why it has no partner, or what is not said; empty for an ordinary row.
    """

    unit: str
    kind: str
    model: str
    tokens: int
    precision: str
    ms: float
    overhead_ms: float
    bandwidth_gb_s: float
    note: str = ""


def _hexagon() -> list[Row]:
    """Nomic at 128 tokens and BERT-base at 384 in f16, BERT-base in w8a16, milliseconds."""
    table = {
        "Hexagon, 8 Gen 1": (51.2, 10.94, 32.3, None),
        "Hexagon, 8 Gen 2": (67.0, 7.31, 22.5, 13.3),
        "Hexagon, 8 Gen 3": (76.8, 5.31, 17.0, 9.16),
        "Hexagon, 8 Elite": (84.8, 4.30, 12.0, 7.30),
        "Hexagon, 8 Elite Gen 5": (84.8, 3.88, 9.51, 5.13),
        "Hexagon, X Elite": (135.0, 8.03, 22.5, 13.9),
        "Hexagon, X2 Elite": (152.0, 3.58, 10.5, 6.09),
    }
    rows = []
    for unit, (bandwidth, nomic, bert, quantised) in table.items():
        common = {"unit": unit, "kind": "npu", "overhead_ms": 0.4, "bandwidth_gb_s": bandwidth}
        rows.append(Row(**common, model="Nomic-embed 137M", tokens=128, precision="f16", ms=nomic))
        rows.append(Row(**common, model="BERT-base", tokens=384, precision="f16", ms=bert))
        if quantised is not None:
            rows.append(Row(**common, model="BERT-base", tokens=384, precision="w8a16", ms=quantised))
    return rows


def _series(
    unit: str, kind: str, model: str, precision: str, *, times: dict[int, float], bandwidth: float
) -> list[Row]:
    overhead = 1.0 if kind == "gpu" else 0.4 if kind == "npu" else 0.05
    return [
        Row(
            unit=unit,
            kind=kind,
            model=model,
            tokens=tokens,
            precision=precision,
            ms=ms,
            overhead_ms=overhead,
            bandwidth_gb_s=bandwidth,
        )
        for tokens, ms in times.items()
    ]


def _alone(unit: str, kind: str, model: str, precision: str, *, facts: tuple[int, float, float], note: str) -> Row:
    tokens, ms, bandwidth = facts
    return Row(
        unit=unit,
        kind=kind,
        model=model,
        tokens=tokens,
        precision=precision,
        ms=ms,
        overhead_ms=0.05 if kind == "cpu" else 1.0,
        bandwidth_gb_s=bandwidth,
        note=note,
    )


_NO_PARTNER = "the only latency of its unit"
_TOKENS_UNKNOWN = f"{_NO_PARTNER}; its tokens are not said"
_GECKO_CPU = {256: 147.6, 512: 353.0, 1024: 954.0}
_GECKO_GPU = {256: 76.0, 512: 173.0, 1024: 397.0}
ROWS: tuple[Row, ...] = (
    *_hexagon(),
    # Its shape is not published: a size that is wrong by a factor cancels between its own two rows alone
    *_series(
        "Hexagon V69, EmbeddingGemma-2 alone",
        "npu",
        "EmbeddingGemma-2 text",
        "f16",
        times={128: 50.0, 512: 251.0},
        bandwidth=51.2,
    ),
    *_series("Oryon, S25 Ultra", "cpu", "EmbeddingGemma-300M", "int8", times={256: 66.0, 1024: 549.0}, bandwidth=84.8),
    *_series("CPU, S23 Ultra", "cpu", "Gecko-110M", "int8", times=_GECKO_CPU, bandwidth=67.0),
    *_series("Adreno 740, S23 Ultra", "gpu", "Gecko-110M", "f16", times=_GECKO_GPU, bandwidth=67.0),
    _alone("Neural engine, M4", "npu", "EmbeddingGemma-300M", "int8", facts=(128, 5.8, 120.0), note=_NO_PARTNER),
    _alone("Mali, Pixel 8a", "gpu", "Qwen3-Embedding-0.6B", "f16", facts=(256, 390.0, 60.0), note=_TOKENS_UNKNOWN),
    _alone("GPU, M4 Max", "gpu", "Qwen3-Embedding-0.6B", "int8", facts=(32, 13.1, 410.0), note=_TOKENS_UNKNOWN),
    _alone("CPU, Raspberry Pi 4", "cpu", "MiniLM-L6", "f32", facts=(128, 34.0, 4.0), note=_TOKENS_UNKNOWN),
    _alone("Edge TPU", "npu", "EmbeddingGemma-300M", "int8", facts=(256, 15.0, 60.0), note=f"{_NO_PARTNER}; a bound"),
)
# LFM2.5-230M (871 tokens/s of prefill on a Snapdragon 8 Elite Gen 5 CPU) is left out: most of its layers are
# convolutions, which nothing here counts, and no other latency is of that unit
