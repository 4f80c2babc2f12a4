"""Train the demo checkpoint with 3D Matryoshka losses, on a CPU or a GPU.

    python benchmarks/demo_model/train.py --work WORK --minutes 66
    python benchmarks/demo_model/train.py --work WORK --start FOLDER --minutes 66 102

Needs WORK/rows.jsonl, tokenizer.json, teacher.npy (corpus.py, train_tokenizer.py,
teacher.py). Writes WORK/state.pt every 100 steps and resumes from it: learning
rate and depth follow the time spent, so a stop costs at most the last 100 steps.
With --start and no state.pt, the second cycle begins at the weights of an exported
checkpoint (export.py's folder), with fresh optimisers; the first cycle is skipped,
and a teacher made anew gets the signs of axes that the checkpoint was trained on.

Each step: one rank is sampled; the loss is a weighted mean over every depth being
trained and every dim. In the first cycle of the learning rate depth grows (4, 8, then
all 12 layers): new layers start as the identity, and a step of four layers costs a
third. After it depth 1 alone, a bag of words, was within .02 nDCG@10 of the whole. A
second cycle, which all but ignores the shallow depths, is what --minutes with two
numbers adds; the checkpoint shipped is the first cycle's (README.md has what the
second gave). Batches are pairs of title and lead, in the same language, sampled by
language. Loss at a depth and dim:
  - soft-target contrastive: softmax of the similarities to the batch's teacher
    vectors against the softmax of the teacher's own similarities;
  - title to lead, half teacher's similarities, half the known pair;
  - cosine distance to the teacher's vector (its first dims: principal axes).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from data import Pairs
from model import Encoder, Shape
from muon import Muon
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from warm_start import warm_start

TEMPERATURE = 0.05
DEPTH_WEIGHTS = (
    {1: 0.6, 2: 0.6, 4: 0.8, 8: 1.0, 12: 1.5},
    {1: 0.02, 2: 0.1, 4: 0.5, 8: 1.0, 12: 2.0},
)
CYCLE_LR = (1.0, 0.8)
DIM_WEIGHT = {8: 0.4, 16: 0.5, 32: 0.7, 64: 0.9, 128: 1.1, 256: 1.4}


def depth_at(cycle: int, progress: float) -> int:
    """Layers being trained after this share of the cycle's time."""
    return 12 if cycle > 0 or progress >= 0.45 else 8 if progress >= 0.25 else 4


def matryoshka_loss(pooled: list[Tensor], teacher: Tensor, depth_weights: dict[int, float]) -> Tensor:
    """Mean loss over depths × dims; pooled [2n, hidden] each: n titles, then their n leads."""
    n = len(teacher) // 2
    with torch.no_grad():
        similar = teacher @ teacher.T
        bank = torch.softmax(similar / TEMPERATURE, dim=1)
        pair = 0.5 * torch.softmax(similar[:n, n:] / TEMPERATURE, dim=1) + 0.5 * torch.eye(n, device=teacher.device)
    total = teacher.new_zeros(())
    weights = 0.0
    for depth_weight, vectors in zip(depth_weights.values(), pooled, strict=False):
        for dim, dim_weight in DIM_WEIGHT.items():
            student = F.normalize(vectors[:, :dim], dim=1)
            target = F.normalize(teacher[:, :dim], dim=1)
            against_bank = torch.log_softmax(student @ target.T / TEMPERATURE, dim=1)
            against_leads = torch.log_softmax(student[:n] @ student[n:].T / TEMPERATURE, dim=1)
            loss = (
                -(bank * against_bank).sum(1).mean()
                - (pair * against_leads).sum(1).mean()
                + 2.0 * (1 - (student * target).sum(1).mean())
            )
            weight = depth_weight * dim_weight
            total = total + weight * loss
            weights += weight
    return total / weights


def encode_groups(
    model: Encoder, ids: list[Tensor], *, rank: int, layers: int, groups: int, device: str
) -> list[Tensor]:
    """Pooled vectors of ragged token ids, run in groups of like length: little padding, cache-sized tensors."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    back = torch.empty(len(ids), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(ids))
    parts = []
    for part in np.array_split(np.array(order), groups):
        rows = [ids[i] for i in part]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        parts.append(model(padded, torch.tensor([len(row) for row in rows], device=device), rank, layers))
    return [torch.cat(depth)[back.to(device)] for depth in zip(*parts, strict=True)]


def exported_weights(folder: Path) -> dict[str, Tensor]:
    """The training model's state dict from an exported checkpoint: its tensors, the table as its two factors."""
    weights = load_file(folder / "model.safetensors")
    del weights["embed_tokens.weight"]  # bf16(U @ V)
    weights |= {name: torch.load(folder / f"{name}.pth", weights_only=True) for name in ("U", "V")}
    return {name: value.float() for name, value in weights.items()}


class Training:
    """Model, optimisers, clock; saved and resumed as a whole."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.work = args, args.work
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(0)
        self.shape = Shape()
        self.model = Encoder(self.shape).to(self.device)
        for block in self.model.layers:
            block.compile(dynamic=True)  # fused norms and rotations: twice the steps on 2 cores
        self.pairs = Pairs(self.work, seed=0)
        self.step, self.cycle, self.spent = 0, 0, 0.0
        self.signs = torch.ones(self.shape.hidden)
        matrices = [p for name, p in self.model.layers.named_parameters() if p.dim() == 2]
        rest = [p for p in self.model.parameters() if all(p is not m for m in matrices)]
        self.optimisers = [
            Muon(matrices, lr=args.lr, weight_decay=0.01),
            torch.optim.AdamW(rest, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        if (self.work / "state.pt").exists():
            self.resume()
        elif args.start:
            self.model.load_state_dict(exported_weights(args.start))
            self.cycle = 1
            self.turn_teacher(self.signs_of_checkpoint())
        else:
            warm_start(self.model, self.pairs)

    @torch.no_grad()
    def signs_of_checkpoint(self) -> Tensor:
        """Sign of the model's correlation with the teacher on each axis: an eigenvector's own sign means nothing."""
        ids, teacher = self.pairs.batch(512)
        pooled = self.encode(ids, self.shape.rank, self.shape.layers)
        student = F.normalize(pooled[-1].cpu(), dim=1)
        signs = torch.where((student * teacher).sum(0) < 0, -1.0, 1.0)
        cosine = (student * teacher * signs).sum(1).mean()
        print(f"{int((signs < 0).sum())} of the teacher's axes turned; mean cosine to it {cosine:.4f}", flush=True)
        return signs

    def turn_teacher(self, signs: Tensor) -> None:
        self.signs = signs
        self.pairs.teacher *= signs.to(self.pairs.teacher.dtype)

    def resume(self) -> None:
        state = torch.load(self.work / "state.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.cycle, self.spent = state["step"], state["cycle"], state["spent"]
        self.turn_teacher(state["signs"])
        self.pairs.random = np.random.default_rng(self.step)
        print(f"resumed at step {self.step}, cycle {self.cycle}, {self.spent / 60:.1f} minutes", flush=True)

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "cycle": self.cycle,
            "spent": self.spent,
            "signs": self.signs,
        }
        torch.save(state, self.work / "state.tmp")
        (self.work / "state.tmp").replace(self.work / "state.pt")

    def encode(self, ids: list[Tensor], rank: int, layers: int) -> list[Tensor]:
        groups, device = self.args.groups, self.device
        return encode_groups(self.model, ids, rank=rank, layers=layers, groups=groups, device=device)

    def one_step(self, progress: float) -> float:
        layers = depth_at(self.cycle, progress)
        rank = int(self.pairs.random.choice(self.shape.ranks, p=(0.25, 0.25, 0.5)))
        ids, teacher = self.pairs.batch(self.args.batch)
        warm = min(1.0, (self.step + 1) / 30) * CYCLE_LR[self.cycle]
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.args.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        bf16 = self.device == "cuda" or self.args.bf16
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=bf16):
            pooled = self.encode(ids, rank, layers)
        loss = matryoshka_loss(pooled, teacher.to(self.device), DEPTH_WEIGHTS[self.cycle])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return loss.item()

    def run(self) -> None:
        log = (self.work / "train.jsonl").open("a")
        while self.cycle < len(self.args.minutes):
            self.run_cycle(self.args.minutes[self.cycle] * 60, log)
            self.cycle, self.spent = self.cycle + 1, 0.0

    def run_cycle(self, budget: float, log: TextIO) -> None:
        while self.spent < budget:
            start = time.perf_counter()
            loss = self.one_step(self.spent / budget)
            self.step += 1
            self.spent += time.perf_counter() - start
            if self.step % 10 == 0:
                line = {
                    "step": self.step,
                    "cycle": self.cycle,
                    "minutes": round(self.spent / 60, 2),
                    "loss": round(loss, 4),
                }
                log.write(json.dumps(line) + "\n")
                log.flush()
            if self.step % 100 == 0:
                self.save()
        self.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--start", type=Path, help="exported checkpoint to begin the second cycle at, where there is no state.pt"
    )
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[66], help="time of each cycle, resumed parts included"
    )
    parser.add_argument("--batch", type=int, default=192, help="pairs of title and lead a step")
    parser.add_argument("--groups", type=int, default=6, help="length groups a batch runs in")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast on a CPU that has it in hardware")
    Training(parser.parse_args()).run()


if __name__ == "__main__":
    main()
