"""Trains language_id and writes weights.npz.

    python models/language_id/train.py [--out weights.npz] [--steps 1200]

Takes about three minutes on one core. Every batch is drawn anew from the names to train on; the held-out ones are read
once, at the end, for the figures that are printed: the accuracy on `evaluation()`, and what is taken for what. Seeded
and on one thread: one machine, one PyTorch and one Babel give the same weights bit by bit.
"""

# ruff: noqa: T201 - a script that prints its figures

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from model import EVALUATION_SEED, LANGUAGES, WEIGHTS, accuracy, evaluation, network, samples, texts
from torch import nn

SEED = 20_261_124
BATCH = 120
PEAK_RATE = 3e-3
WARM_UP = 0.1
"""Share of the steps over which the learning rate rises; a cosine takes it back to zero."""
WEIGHT_DECAY = 0.05


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / WEIGHTS)
    parser.add_argument("--steps", type=int, default=1200)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)

    encoder = train(options.steps)
    print_figures(encoder)
    np.savez_compressed(options.out, **{name: tensor.numpy() for name, tensor in encoder.state_dict().items()})
    print(f"wrote {options.out}, {options.out.stat().st_size} bytes")


def train(steps: int) -> nn.Module:
    """Minimises the cross-entropy with AdamW (Loshchilov, Hutter 2019). Returns the encoder in eval mode."""
    encoder = network().train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=WARM_UP)
    loss_of = nn.CrossEntropyLoss()
    began = time.monotonic()
    for step in range(1, steps + 1):
        tokens, labels = samples(SEED + step, BATCH, held_out=False)
        optimizer.zero_grad()
        loss = loss_of(encoder(torch.from_numpy(tokens)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step:5d}  loss {loss.item():.3f}  {time.monotonic() - began:5.0f} s", flush=True)
    return encoder.eval().requires_grad_(False)


def print_figures(encoder: nn.Module) -> None:
    """The accuracy that `evaluation()` gives, the confusions behind it, and the texts that were missed."""
    held_out = evaluation()
    logits = encoder(torch.from_numpy(held_out.inputs["tokens"][:, 0])).numpy()
    print(f"accuracy {accuracy({'logits': logits}, held_out.targets):.4f} on {len(logits)} texts")
    drawn, labels = texts(EVALUATION_SEED, len(logits), held_out=True)
    missed = np.flatnonzero(logits.argmax(axis=1) != labels)
    pairs = Counter((LANGUAGES[labels[i]], LANGUAGES[logits[i].argmax()]) for i in missed)
    for (language, taken_for), count in pairs.most_common():
        print(f"  {language} taken for {taken_for}: {count}")
    for i in missed:
        print(f"  {LANGUAGES[labels[i]]} as {LANGUAGES[logits[i].argmax()]}: {drawn[i]}")


if __name__ == "__main__":
    main()
