"""Begin near a bag of words: the table from a ridge regression, layer 1 passing it on.

Rows W of a table such that the mean of a text's rows comes near the teacher's
vector, min |X·W − T|² + λ|W|² by conjugate gradients; its SVD gives U·diag(S) and V,
as the family's own tables begin. Layer 1's values and outputs start as the identity
on the leading axes, so the last token sees the mean of the text.
"""

from __future__ import annotations

import numpy as np
import torch
from data import Pairs
from model import Encoder
from scipy import sparse

TEXTS = 120_000
ITERATIONS = 15
RIDGE = 2.0


def bag_of_words(pairs: Pairs, vocabulary: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Texts × vocabulary, rows summing to 1, and the texts' teacher vectors."""
    chosen = pairs.random.choice(len(pairs.leads), TEXTS // 2, replace=False)
    texts = [pairs.titles[i] for i in chosen] + [pairs.leads[i] for i in chosen]
    columns = np.concatenate(texts).astype(np.int32)
    lengths = np.array([len(text) for text in texts])
    values = np.repeat(1.0 / lengths, lengths).astype(np.float32)
    matrix = sparse.csr_matrix((values, columns, np.concatenate([[0], lengths.cumsum()])), shape=(TEXTS, vocabulary))
    places = np.concatenate([pairs.title_teacher[chosen], pairs.lead_teacher[chosen]])
    return matrix, pairs.teacher[places].float().numpy()


def ridge_table(matrix: sparse.csr_matrix, target: np.ndarray) -> np.ndarray:
    """Conjugate gradients on (XᵀX + λI)W = XᵀT, all columns at once; float32 [vocabulary, axes]."""
    turned = matrix.T.tocsr()
    table = np.zeros((matrix.shape[1], target.shape[1]), dtype=np.float32)
    residual = turned @ target
    direction = residual.copy()
    size = (residual**2).sum(0)
    for _ in range(ITERATIONS):
        image = turned @ (matrix @ direction) + RIDGE * direction
        step = size / np.maximum((direction * image).sum(0), 1e-12)
        table += step * direction
        residual -= step * image
        new = (residual**2).sum(0)
        direction = residual + new / np.maximum(size, 1e-12) * direction
        size = new
    return table


def warm_start(model: Encoder, pairs: Pairs) -> None:
    """Set U, V and layer 1's value path in place."""
    s = model.s
    table = ridge_table(*bag_of_words(pairs, s.vocabulary))
    table /= np.sqrt((table**2).mean()) * 4  # rows of size 1/4 a number: layers can still move the stream
    # Eigenvectors of the small gram matrix: the SVD without the 16384-row factor
    _, axes = np.linalg.eigh(table.T @ table)
    axes = axes[:, ::-1][:, : s.rank]
    with torch.no_grad():
        noise = 0.01 * torch.randn(s.vocabulary, s.rank)
        model.U.copy_(torch.from_numpy(np.ascontiguousarray(table @ axes)) + noise)
        model.V.copy_(torch.from_numpy(np.ascontiguousarray(axes.T)))
        first = model.layers[0].self_attn
        eye = torch.eye(s.kv_heads * s.head_dim, s.hidden)
        first.v_proj.weight.copy_(eye)
        per_head = s.heads // s.kv_heads
        spread = eye.T.reshape(s.hidden, s.kv_heads, 1, s.head_dim).expand(-1, -1, per_head, -1)
        first.o_proj.weight.copy_(spread.reshape(s.hidden, -1) / per_head)
