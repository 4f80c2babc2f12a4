"""What SentenceTransformer reads beside a model: its list of modules, pooling, length limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlexport.export.files import write_json
from mlexport.model import SubModel

_OTHER_POOLING = tuple(
    f"pooling_mode_{mode}"
    for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
)


def write_modules(sub: SubModel, folder: Path, width: int) -> None:
    """Last-token pooling, the dim cut as a linear layer (the first rows of the identity), normalisation.

    Args:
        width: numbers of the vectors that the model itself gives; above the cut's dim they are cut here.
    """
    dim = sub.spec.dim
    modules = ["Transformer", "Pooling"] + (["Dense"] if dim < width else []) + ["Normalize"]
    listed = []
    for number, name in enumerate(modules):
        path = "" if number == 0 else f"{number}_{name}"
        (folder / path).mkdir(exist_ok=True)
        # These import paths load in sentence-transformers 2 to 6
        listed.append(
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
        )
    write_json(folder / "modules.json", listed)
    pooling = {"word_embedding_dimension": width, "pooling_mode_lasttoken": True, "include_prompt": True}
    write_json(folder / "1_Pooling" / "config.json", pooling | dict.fromkeys(_OTHER_POOLING, False))
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": sub.text.max_length, "do_lower_case": False},
    )
    if dim < width:
        _write_dense(folder / "2_Dense", width, dim)


def _write_dense(folder: Path, width: int, dim: int) -> None:
    """sentence-transformers has no module that truncates; its Dense with an identity weight does it exactly."""
    from safetensors.numpy import save_file  # noqa: PLC0415

    config = {
        "in_features": width,
        "out_features": dim,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    write_json(folder / "config.json", config)
    save_file({"linear.weight": np.eye(dim, width, dtype=np.float32)}, folder / "model.safetensors")
