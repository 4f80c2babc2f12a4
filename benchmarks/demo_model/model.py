"""A Qwen3 encoder for training on small machines: every depth's pooled vector in one pass.

Parameter names are those of transformers' Qwen3Model, so a state dict is a
checkpoint; `export.py` checks the vectors against transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the demo model. heads × head_dim = 512 ≠ hidden, as in the released family."""

    layers: int = 12
    hidden: int = 256
    mlp: int = 256
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 64
    rank: int = 128
    vocabulary: int = 16384
    theta: float = 10000.0
    eps: float = 1e-6
    depths: tuple[int, ...] = (1, 2, 4, 8, 12)
    ranks: tuple[int, ...] = (32, 64, 128)
    dims: tuple[int, ...] = (8, 16, 32, 64, 128, 256)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on [batch, heads, sequence, head_dim], halves as in transformers' Qwen3."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention, [batch, heads, sequence, head_dim], groups of heads sharing keys and values.

    Written out: on texts this short PyTorch's fused kernel takes five times as long backwards, in bf16 on a CPU.
    """
    batch, heads, length, size = q.shape
    shared = k.shape[1]
    stacked = (batch, shared, heads // shared * length, size)
    scores = (q.reshape(stacked) @ k.transpose(-1, -2)) * size**-0.5
    future = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    scores = scores.view(batch, shared, heads // shared, length, length).masked_fill(future, float("-inf"))
    shares = torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype)
    return (shares.view(batch, shared, -1, length) @ v).view(batch, heads, length, size)


class Attention(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head_dim, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.o_proj = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)
        self.q_norm = nn.RMSNorm(s.head_dim, eps=s.eps)
        self.k_norm = nn.RMSNorm(s.head_dim, eps=s.eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        heads = (batch, length, -1, self.s.head_dim)
        q = rotate(self.q_norm(self.q_proj(x).view(heads)).transpose(1, 2), cos, sin)
        k = rotate(self.k_norm(self.k_proj(x).view(heads)).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        out = attend(q, k, v)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden, s.mlp, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.mlp, bias=False)
        self.down_proj = nn.Linear(s.mlp, s.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(s.hidden, eps=s.eps)
        self.self_attn = Attention(s)
        self.post_attention_layernorm = nn.RMSNorm(s.hidden, eps=s.eps)
        self.mlp = Mlp(s)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Encoder(nn.Module):
    """Factorised table U·V, causal blocks, one final norm shared by every depth."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.U = nn.Parameter(torch.randn(s.vocabulary, s.rank) * 0.02)
        self.V = nn.Parameter(torch.randn(s.rank, s.hidden) / s.rank**0.5)
        self.layers = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = nn.RMSNorm(s.hidden, eps=s.eps)
        for block in self.layers:
            for name, weight in block.named_parameters():
                if weight.dim() == 2:
                    nn.init.normal_(weight, std=0.5 / weight.shape[1] ** 0.5)
                # New depth starts as the identity, so it can be grown in the middle of training
                if "o_proj" in name or "down_proj" in name:
                    nn.init.zeros_(weight)

    def forward(self, ids: Tensor, lengths: Tensor, rank: int, layers: int) -> list[Tensor]:
        """Pooled vectors, float32 [batch, hidden], at each trained depth up to `layers`.

        ids: int64 [batch, sequence], padded right, EOS last; lengths: int64 [batch].
        """
        s = self.s
        position = torch.arange(ids.shape[1], device=ids.device, dtype=torch.float32)
        steps = torch.arange(0, s.head_dim, 2, device=ids.device, dtype=torch.float32) / s.head_dim
        angle = torch.outer(position, s.theta**-steps)
        cos, sin = (torch.cat((f, f), dim=-1) for f in (angle.cos(), angle.sin()))
        x = F.embedding(ids, self.U)[..., :rank] @ self.V[:rank]
        rows = torch.arange(len(ids), device=ids.device)
        pooled = []
        for number, block in enumerate(self.layers[:layers], start=1):
            x = block(x, cos, sin)
            if number in s.depths:
                pooled.append(self.norm(x[rows, lengths - 1]).float())
        return pooled
