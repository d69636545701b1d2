"""Small files in every form that torch.save writes, for tests/promises/weights.rs. PyTorch 2.15.0, CPU.

Names and shapes are EfficientNet-Lite0's; values[i] of the t-th tensor is ((7 i + 13 t) % 101 - 50) / 64, which f16 and bf16
hold exactly.
"""

import pathlib

import torch

FOLDER = pathlib.Path(__file__).parent / "weights"

SHAPES = {
    "conv_stem.weight": (32, 3, 3, 3),
    "bn1.weight": (32,),
    "bn1.running_mean": (32,),
    "blocks.0.0.conv_pw.weight": (16, 32, 1, 1),
}

LUKEMELAS = {
    "conv_stem.weight": "_conv_stem.weight",
    "bn1.weight": "_bn0.weight",
    "bn1.running_mean": "_bn0.running_mean",
    "blocks.0.0.conv_pw.weight": "_blocks.0._project_conv.weight",
}


def tensors():
    made = {}
    for t, (name, shape) in enumerate(SHAPES.items()):
        count = torch.Size(shape).numel()
        made[name] = (((torch.arange(count) * 7 + 13 * t) % 101 - 50) / 64).reshape(shape)
    made["bn1.num_batches_tracked"] = torch.tensor(7)
    return made


def save(name, saved, legacy=False):
    torch.save(saved, FOLDER / name, _use_new_zipfile_serialization=not legacy)


def main():
    FOLDER.mkdir(exist_ok=True)
    plain = tensors()
    last = {n: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for n, t in plain.items()}
    half = {n: t.half() if t.is_floating_point() else t for n, t in plain.items()}
    # Two tensors in one storage, one of them not at its beginning.
    both = torch.cat([plain["bn1.weight"], plain["bn1.running_mean"]])
    shared = {**plain, "bn1.weight": both[:32], "bn1.running_mean": both[32:]}
    parameters = {n: torch.nn.Parameter(t) if t.is_floating_point() else t for n, t in plain.items()}
    save("plain.pth", plain)
    save("half.pth", half)
    save("bf16.pth", {n: t.bfloat16() if t.is_floating_point() else t for n, t in plain.items()})
    save("double.pth", {n: t.double() if t.is_floating_point() else t for n, t in plain.items()})
    save("channels_last.pth", last)
    save("parameters.pth", parameters)
    save("state_dict.pth", {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in plain.items()}, "optimizer": {}})
    save("model.pth", {"model": {"state_dict": half}, "args": "none"})
    save("legacy.pth", {LUKEMELAS.get(n, n): t for n, t in last.items()}, legacy=True)
    save("legacy_shared.pth", {"state_dict": shared}, legacy=True)
    save("legacy_half.pth", half, legacy=True)
    module = torch.nn.Linear(2, 2)
    save("module.pth", module)


if __name__ == "__main__":
    main()
