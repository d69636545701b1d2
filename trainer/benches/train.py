"""The steps of train.rs in PyTorch, with the same options and the same lines on stdout.

Layers, initial values and padding are those of the trainer's backbones, but for EfficientNet-Lite0's
odd zeros, which stand on both sides here: PyTorch then needs no padding pass of its own.
"""

import argparse
import json
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def conv_bn(inputs, outputs, kernel, stride=1, groups=1, act=None):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act(inplace=True)] if act else []))


class Basic(nn.Module):
    """ResNet's unit of two 3x3 convolutions."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(inputs, outputs, 3, stride, act=nn.ReLU), conv_bn(outputs, outputs, 3)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x):
        return F.relu(self.body(x).add_(self.shortcut(x)), inplace=True)


def resnet18():
    layers = [conv_bn(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Basic(inputs, outputs, stride), Basic(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers), inputs


class Inverted(nn.Module):
    """The inverted residual: widen, depthwise, narrow without activation."""

    def __init__(self, inputs, outputs, expansion, kernel, stride):
        super().__init__()
        inner = inputs * expansion
        widen = [conv_bn(inputs, inner, 1, act=nn.ReLU6)] if expansion > 1 else []
        depthwise = conv_bn(inner, inner, kernel, stride, inner, nn.ReLU6)
        self.body = nn.Sequential(*widen, depthwise, conv_bn(inner, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.body(x)
        return y.add_(x) if self.residual else y


def efficientnet_lite0():
    layers = [conv_bn(3, 32, 3, 2, act=nn.ReLU6)]
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
    return nn.Sequential(*layers, conv_bn(inputs, 1280, 1, act=nn.ReLU6)), 1280


class Network(nn.Module):
    """Backbone, class-aligned maps, and the head of one weight a channel."""

    def __init__(self, backbone, classes, xi):
        super().__init__()
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))
        self.backbone, width = backbone()
        self.class_aligned = conv_bn(width, classes * xi, 1, act=nn.ReLU)
        self.weight = nn.Parameter(torch.full((classes, xi), 5.0 / xi))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x):
        maps = self.class_aligned(self.backbone((x - self.mean) / self.std))
        pooled = maps.mean((2, 3)).view(len(x), *self.weight.shape)
        return maps, (pooled * self.weight).sum(2) + self.bias


def mc_loss(maps, labels, classes, xi, mu=1.0, weight=0.5):
    """mu (L_dis - weight L_div), Chang et al. 2020."""
    batch, _, height, width = maps.shape
    groups = maps.view(batch, classes, xi, height * width)
    kept = torch.rand(classes, xi).argsort(1) < (xi + 1) // 2
    strongest = (groups * kept.view(1, classes, xi, 1)).amax(2)
    discriminality = F.cross_entropy(strongest.mean(2), labels)
    diversity = groups.softmax(3).amax(2).sum(2).mean()
    return mu * (discriminality - weight * diversity)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", default="resnet18", choices=["resnet18", "efficientnet_lite0"])
    for name, default in (
        ("side", 96),
        ("batch", 16),
        ("classes", 50),
        ("threads", 1),
        ("steps", 4),
        ("rounds", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--on-line", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    xi = 3
    network = Network(globals()[args.backbone], args.classes, xi)
    sgd = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    images = torch.rand(args.batch, 3, args.side, args.side) * 255
    labels = torch.randint(args.classes, (args.batch,))

    def steps(count):
        for _ in range(count):
            maps, logits = network(images)
            loss = F.cross_entropy(logits, labels) + mc_loss(maps, labels, args.classes, xi)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            loss.item()

    def a_round():
        started, cpu = time.perf_counter(), time.process_time()
        steps(args.steps)
        line = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "images": args.steps * args.batch,
            # Linux counts in KiB.
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        print(json.dumps(line), flush=True)

    steps(2)
    for _ in sys.stdin if args.on_line else range(args.rounds):
        a_round()


if __name__ == "__main__":
    main()
