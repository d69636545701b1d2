"""Golden numbers for trainer/src/net/mc_loss.rs: the paper's formulas written down in PyTorch, with gradients.

    pip install torch safetensors numpy
    python make_mc_loss.py                  # writes mc_loss.safetensors beside itself

The committed file was made with Python 3.11.7, torch 2.15.0 (CPU, 1 thread), numpy 2.4.6,
safetensors 0.8.0.

A case is a prefix `case/`: `sizes` (channels of each class), `maps` [B, N, H, W], `mask` [N], `labels`
[B], `weights` (mu, lambda); L_dis, L_div (mean h), mean h/xi and the loss; the gradients of L_dis,
L_div and the loss. All f64. Formulas: Chang et al., IEEE TIP 29, 2020 (arXiv 2002.04264), figure 2.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

torch.set_num_threads(1)
rng = np.random.default_rng(20200213)
golden = {}


def discriminality(maps, mask, labels, sizes):
    masked = maps * mask.reshape(1, -1, 1, 1)
    g = [group.max(1).values.mean((1, 2)) for group in torch.split(masked, sizes, dim=1)]
    return F.cross_entropy(torch.stack(g, 1), labels)


def h(maps, sizes):
    p = maps.flatten(2).softmax(2)
    return torch.stack([group.max(1).values.sum(1) for group in torch.split(p, sizes, dim=1)], 1)


def drawn(name, sizes, keep, batch, height, width, weights):
    maps = np.maximum(4.0 * rng.standard_normal((batch, sum(sizes), height, width)), 0.0)
    maps[0, 1] = 0.0  # a dead channel, and two channels alike
    maps[-1, 1] = maps[-1, 0]
    mask = [rng.permutation([1.0] * k + [0.0] * (xi - k)) for k, xi in zip(keep, sizes)]
    case(name, sizes, maps, np.concatenate(mask), rng.integers(0, len(sizes), batch), weights)


def formula(name, sizes, mask):
    """The maps that promises/mc_loss.rs writes down as a formula."""
    n = sum(sizes)
    index = np.arange(2 * n * 9)
    maps = 1.5 * np.sin(0.37 * index + 0.11) + 0.4 * np.cos(1.3 * (index // 9 % n))
    maps = np.maximum(maps, 0.0).reshape(2, n, 3, 3)
    case(name, sizes, maps, np.array(mask, dtype=np.float64), np.array([0, 1]), (1.0, 1.0))


def case(name, sizes, maps, mask, labels, weights):
    f = torch.from_numpy(maps).requires_grad_()
    l_dis = discriminality(f, torch.from_numpy(mask), torch.from_numpy(labels), sizes)
    h_i = h(f, sizes)
    l_div = h_i.mean()
    mu, lambda_ = weights
    loss = mu * (l_dis - lambda_ * l_div)
    numbers = {
        "sizes": np.asarray(sizes, dtype=np.uint32),
        "maps": maps,
        "mask": mask,
        "labels": labels.astype(np.uint32),
        "weights": np.asarray(weights),
        "discriminality": l_dis.item(),
        "diversity": l_div.item(),
        "coverage": (h_i / torch.tensor(sizes)).mean().item(),
        "total": loss.item(),
    }
    for key, value in (("discriminality", l_dis), ("diversity", l_div), ("total", loss)):
        (numbers[f"d{key}"],) = torch.autograd.grad(value, f, retain_graph=True)
    for key, value in numbers.items():
        golden[f"{name}/{key}"] = np.ascontiguousarray(value)


drawn("even", [3] * 5, [2] * 5, 3, 4, 5, (1.5, 4.44))
drawn("half", [4] * 3, [2] * 3, 2, 3, 3, (0.005, 10.0))
drawn("uneven", [2, 2, 3, 3], [1, 1, 2, 2], 4, 3, 4, (0.5, 2.0))
drawn("mixed", [1, 4, 2], [1, 3, 1], 2, 5, 3, (1.0, 1.0))
formula("formula_even", [3, 3], [1, 0, 1, 0, 1, 1])
formula("formula_uneven", [2, 2, 3], [1, 0, 0, 1, 1, 1, 0])

save_file(golden, Path(__file__).with_name("mc_loss.safetensors"))
