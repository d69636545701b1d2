"""Small files in every form that torch.save writes, and what timm calls its tensors, for tests/promises/weights.rs.
PyTorch 2.15.0, CPU; timm 1.0.31.

Names and shapes are EfficientNet-Lite0's; values[i] of the t-th tensor is ((7 i + 13 t) % 101 - 50) / 64, which f16 and bf16
hold exactly.
"""

import json
import pathlib

import timm
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


TIMM = ["resnet18", "resnet50", "vgg16", "vgg16_bn", "mobilenetv2_100", "efficientnet_lite0", "tf_efficientnet_lite0"]


def names():
    """Names and shapes of timm's networks, a line each."""
    lines = []
    for name in TIMM:
        tensors = timm.create_model(name, pretrained=False).state_dict()
        shapes = {n: list(t.shape) for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
        lines.append(f"  {json.dumps(name)}: {json.dumps(shapes, separators=(',', ':'))}")
    (FOLDER / "timm.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    FOLDER.mkdir(exist_ok=True)
    names()
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
    # A name of 21 characters, which stands in the file: its directory's entries are as long as what follows the directory.
    save("mobilenet_v2-7ebf99e0.pth", plain)
    beside = {"epoch": torch.tensor(3), "best": torch.tensor(0.5), "scale": torch.ones(2, 2)}
    save("beside.pth", {**beside, "state_dict": {f"_orig_mod.module.{n}": t for n, t in plain.items()}})
    of_lightning = {f"model.backbone.{n}": t for n, t in plain.items()}
    moments = {0: {"step": torch.tensor(9.0), "exp_avg": torch.zeros(32, 3, 3, 3)}}
    save("lightning.pth", {"epoch": 3, "state_dict": of_lightning, "optimizer_states": [{"state": moments}]})
    save("model.pth", {"model": {"state_dict": half}, "args": "none"})
    save("legacy.pth", {LUKEMELAS.get(n, n): t for n, t in last.items()}, legacy=True)
    save("legacy_shared.pth", {"state_dict": shared}, legacy=True)
    save("legacy_half.pth", half, legacy=True)
    module = torch.nn.Linear(2, 2)
    save("module.pth", module)


if __name__ == "__main__":
    main()
