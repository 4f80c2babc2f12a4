"""A cut against torch: which tensors stay, what the table and the final norm become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mlexport.checkpoint import open_checkpoint
from mlexport.errors import CutError
from mlexport.model import FINAL_NORM, TABLE
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec
from tests.tiny import make_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without U and V, as F2LLM-v2 and Qwen3-Embedding."""
    return make_tiny(tmp_path_factory.mktemp("plain") / "model", rank=None, trained=False)


def spec(layers: int = 3, rank: int | None = None, dim: int = 64) -> SubModelSpec:
    return SubModelSpec(layers=layers, rank=rank, dim=dim)


def test_depth_keeps_the_first_layers_and_the_final_norm(folder: Path) -> None:
    sub = cut(open_checkpoint(str(folder)), spec(layers=2))
    stored = load_file(folder / "model.safetensors")
    kept = {name for name in stored if not name.startswith("layers.2.")}
    assert set(sub.tensors) == kept
    assert next(iter(sub.tensors)) == TABLE
    assert list(sub.tensors)[-1] == FINAL_NORM
    for name, tensor in sub.tensors.items():
        assert np.array_equal(tensor.read(), stored[name].float().numpy()), name
    assert sub.config.raw["num_hidden_layers"] == sub.config.layers == 2
    assert len(sub.config.raw["layer_types"]) == 2  # type: ignore[arg-type]


def test_rank_multiplies_the_first_columns_and_rows(folder: Path) -> None:
    sub = cut(open_checkpoint(str(folder)), spec(rank=8))
    u, v = (torch.load(folder / f"{name}.pth", weights_only=True).float() for name in "UV")
    expected = (u[:, :8] @ v[:8]).numpy()
    assert np.allclose(sub.tensors[TABLE].read(), expected, atol=1e-6)
    assert np.allclose(sub.tensors[TABLE].read_rows(100, 103), expected[100:103], atol=1e-6)


def test_rank_without_factors_is_the_best_of_svd(plain: Path) -> None:
    checkpoint = open_checkpoint(str(plain))
    sub = cut(checkpoint, spec(rank=5), allow_untrained=True)
    stored = load_file(plain / "model.safetensors")[TABLE].double()
    left, values, right = torch.linalg.svd(stored, full_matrices=False)
    expected = (left[:, :5] * values[:5] @ right[:5]).numpy()
    assert np.abs(sub.tensors[TABLE].read() - expected).max() < 1e-4 * np.abs(expected).max()
    assert "by SVD" in sub.notes[0]
    assert sub.untrained == (
        "rank 5 is not a trained cut (no rank was trained: this checkpoint has no U.pth and V.pth, "
        "so the table is cut by SVD)",
    )


def test_dim_zeroes_the_final_norm_past_it(folder: Path) -> None:
    sub = cut(open_checkpoint(str(folder)), spec(dim=16))
    stored = load_file(folder / "model.safetensors")["norm.weight"].float().numpy()
    found = sub.tensors[FINAL_NORM].read()
    assert np.array_equal(found[:16], stored[:16])
    assert not found[16:].any()
    assert np.array_equal(sub.tensors[FINAL_NORM].read_rows(10, 20), found[10:20])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (spec(layers=4), "layers 4 is outside this checkpoint's 1 to 3 (trained: 1, 2, 3)"),
        (spec(layers=0), "layers 0 is outside this checkpoint's 1 to 3 (trained: 1, 2, 3)"),
        (spec(rank=17), "rank 17 is outside this checkpoint's 1 to 16 (trained: 8, 16)"),
        (spec(dim=65), "dim 65 is outside this checkpoint's 1 to 64 (trained: 8, 16, 32, 64)"),
        (spec(dim=-1), "dim -1 is outside this checkpoint's 1 to 64 (trained: 8, 16, 32, 64)"),
    ],
)
def test_a_cut_outside_the_checkpoint_is_refused_even_if_untrained_ones_are_allowed(
    folder: Path, wanted: SubModelSpec, message: str
) -> None:
    for allow in (False, True):
        with pytest.raises(CutError) as caught:
            cut(open_checkpoint(str(folder)), wanted, allow_untrained=allow)
        assert str(caught.value) == message


def test_an_untrained_cut_needs_the_option(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    with pytest.raises(CutError) as caught:
        cut(checkpoint, spec(rank=12))
    assert str(caught.value) == (
        "rank 12 is not a trained cut (trained: 8, 16). Choose a trained one, or pass --allow-untrained"
    )
    sub = cut(checkpoint, spec(rank=12, dim=9), allow_untrained=True)
    assert sub.untrained == (
        "rank 12 is not a trained cut (trained: 8, 16)",
        "dim 9 is not a trained cut (trained: 8, 16, 32, 64)",
    )


def test_without_factors_only_the_whole_depth_was_trained(plain: Path) -> None:
    checkpoint = open_checkpoint(str(plain))
    assert (checkpoint.trained_layers, checkpoint.trained_ranks) == ((3,), ())
    with pytest.raises(CutError, match="layers 2 is not a trained cut"):
        cut(checkpoint, spec(layers=2))


def test_cutting_reads_no_tensor(folder: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(folder))

    def never(start: int, stop: int) -> np.ndarray:
        raise AssertionError("read")

    from dataclasses import replace

    tensors = {name: replace(tensor, read_rows=never) for name, tensor in checkpoint.tensors.items()}
    factors = tuple(replace(tensor, read_rows=never) for tensor in checkpoint.factors or ())
    blind = replace(checkpoint, tensors=tensors, factors=factors)
    assert cut(blind, spec(layers=1, rank=8, dim=8)).spec.name == "L1-R8-D8"
