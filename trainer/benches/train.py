"""The steps of train.rs in PyTorch: what `cargo xtask bench train` and `gpu-check` set beside ours.

After a few steps to warm up, it does `--steps` steps for every line on stdin, and prints a JSON line after each.
Layers, first values and padding are those of the trainer's backbones, but for EfficientNet-Lite0's odd zeros, which
stand on both sides here: PyTorch then needs no padding pass of its own. `--channels-last` is the layout that GPUs
like; `--compile` puts network and losses through torch.compile.
"""

import argparse
import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

XI = 3
WARM_UP = 3


def conv(inputs, outputs, kernel, stride=1, groups=1, act=None):
    """Convolution, batch norm, and an activation if one is named."""
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)]
    layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, *([act(inplace=True)] if act else []))


class Residual(nn.Module):
    """ResNet's unit: a computing branch and a shortcut."""

    def __init__(self, body, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(*body)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, stride)

    def forward(self, x):
        return F.relu(self.body(x).add_(self.shortcut(x)), inplace=True)


def basic(inputs, inner, stride):
    body = [conv(inputs, inner, 3, stride, act=nn.ReLU), conv(inner, inner, 3)]
    return Residual(body, inputs, inner, stride), inner


def bottleneck(inputs, inner, stride):
    """The 3x3 convolution has the stride."""
    body = [
        conv(inputs, inner, 1, act=nn.ReLU),
        conv(inner, inner, 3, stride, act=nn.ReLU),
        conv(inner, 4 * inner, 1),
    ]
    return Residual(body, inputs, 4 * inner, stride), 4 * inner


def resnet(unit, repeats):
    layers = [conv(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for index, repeat in enumerate(repeats):
        for first in range(repeat):
            layer, inputs = unit(inputs, 64 << index, 2 if index > 0 and first == 0 else 1)
            layers.append(layer)
    return nn.Sequential(*layers), inputs


class Inverted(nn.Module):
    """EfficientNet-Lite's unit: widen, depthwise, narrow without activation."""

    def __init__(self, inputs, outputs, expansion, kernel, stride):
        super().__init__()
        inner = inputs * expansion
        widen = [conv(inputs, inner, 1, act=nn.ReLU6)] if expansion > 1 else []
        depthwise = conv(inner, inner, kernel, stride, inner, nn.ReLU6)
        self.body = nn.Sequential(*widen, depthwise, conv(inner, outputs, 1))
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.body(x)
        return y.add_(x) if self.has_shortcut else y


def efficientnet_lite0():
    layers = [conv(3, 32, 3, 2, act=nn.ReLU6)]
    inputs = 32
    stages = (
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    )
    for expansion, kernel, outputs, repeats, stride in stages:
        for index in range(repeats):
            layers.append(Inverted(inputs, outputs, expansion, kernel, stride if index == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers, conv(inputs, 1280, 1, act=nn.ReLU6)), 1280


BACKBONES = {
    "resnet18": lambda: resnet(basic, (2, 2, 2, 2)),
    "resnet50": lambda: resnet(bottleneck, (3, 4, 6, 3)),
    "efficientnet_lite0": efficientnet_lite0,
}


class Network(nn.Module):
    """Backbone, class-aligned maps, and a head of one weight a channel."""

    def __init__(self, backbone, classes):
        super().__init__()
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))
        self.backbone, width = backbone()
        self.class_aligned = conv(width, classes * XI, 1, act=nn.ReLU)
        self.weight = nn.Parameter(torch.full((classes, XI), 5.0 / XI))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, images):
        maps = self.class_aligned(self.backbone((images - self.mean) / self.deviation)).float()
        pooled = maps.mean((2, 3)).view(len(images), *self.weight.shape)
        return maps, (pooled * self.weight).sum(2) + self.bias


def mc_loss(maps, labels, classes, mu=1.0, weight=0.5):
    """mu (L_dis - weight L_div); each class keeps half of its channels, rounded up, in L_dis."""
    groups = maps.flatten(2).view(len(maps), classes, XI, -1)
    kept = torch.rand(classes, XI, device=maps.device).argsort(1) < (XI + 1) // 2
    strongest = (groups * kept.view(1, classes, XI, 1)).amax(2)
    discriminality = F.cross_entropy(strongest.mean(2), labels)
    diversity = groups.softmax(3).amax(2).sum(2).mean()
    return mu * (discriminality - weight * diversity)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True, choices=BACKBONES)
    for name, default in (("side", 96), ("batch", 16), ("classes", 50), ("threads", 1), ("steps", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--on-line", action="store_true", help="a round a line on stdin; there is no other way"
    )
    return parser.parse_args()


def training(args):
    """A function that does some steps."""
    network = Network(BACKBONES[args.backbone], args.classes)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    network = network.to(args.device, memory_format=layout)
    sgd = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    images = torch.rand(args.batch, 3, args.side, args.side, device=args.device) * 255
    images = images.to(memory_format=layout)
    labels = torch.randint(args.classes, (args.batch,), device=args.device)

    def loss():
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16"):
            maps, logits = network(images)
        return F.cross_entropy(logits, labels) + mc_loss(maps, labels, args.classes)

    compiled = torch.compile(loss) if args.compile else loss

    def steps(count):
        for _ in range(count):
            sgd.zero_grad()
            compiled().backward()
            sgd.step()
        if args.device == "cuda":
            torch.cuda.synchronize()

    return steps


def peak_bytes(device):
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    steps = training(args)
    steps(WARM_UP)
    for _ in sys.stdin:
        started, cpu = time.perf_counter(), time.process_time()
        steps(args.steps)
        line = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "images": args.steps * args.batch,
            "peak_bytes": peak_bytes(args.device),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
