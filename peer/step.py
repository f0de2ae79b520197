"""Times a training step in PyTorch: what `cargo xtask bench --peer` compares this workspace's own step with.

    python step.py --model vgg16-gap|resnet50 --mode plain|hard|soft [--batch 8] [--size 224] [--threads 2] [--repeats 5]

A step is forward, loss and backward to every parameter, without optimiser and data loading. Guidance is written as a
user of PyTorch would: `torch.autograd.grad(..., create_graph=True)`. Prints one JSON line with the keys of
`pg-peer bench`; run one row a process, so that the peak of its memory is its own.
"""

import argparse
import json
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 200
ALPHA = 0.05
VGG16 = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512]


class GlobalMean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def vgg16_gap():
    layers, channels = [], 3
    for width in VGG16 + [1024]:
        if width == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, GlobalMean(), nn.Linear(channels, CLASSES))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1."""

    def __init__(self, channels, width, stride):
        super().__init__()
        out = 4 * width
        self.branch = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        return F.relu(self.branch(x) + self.shortcut(x))


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for depth, width, stride in [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)]:
        for index in range(depth):
            layers.append(Bottleneck(channels, width, stride if index == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, GlobalMean(), nn.Linear(channels, CLASSES))


MODELS = {"vgg16-gap": vgg16_gap, "resnet50": resnet50}


def input_gradient(logits, x, classes):
    score = logits.gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x, create_graph=True)[0]


def loss_of(net, mode, x, mask, a, b):
    x = x.clone().requires_grad_(mode != "plain")
    logits = net(x)
    if mode == "hard":
        residual = (1 - mask) * input_gradient(logits, x, a)
        return F.cross_entropy(logits, a) + ALPHA * residual.square().sum() / len(x)
    loss = (F.cross_entropy(logits, a) + F.cross_entropy(logits, b)) / 2
    if mode == "soft":
        residual = (1 - mask) * input_gradient(logits, x, a) + mask * input_gradient(logits, x, b)
        loss = loss + ALPHA * residual.square().sum() / len(x)
    return loss


def batch_of(n, size):
    """Gaussian images, a central square of half the side as source A, and class b = a + 1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, size, size, generator=generator)
    mask = torch.zeros(n, 1, size, size)
    mask[:, :, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    a = torch.arange(n) * 37 % CLASSES
    return x, mask, a, (a + 1) % CLASSES


def peak_mib():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--mode", choices=["plain", "hard", "soft"], required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    net = MODELS[options.model]().train()
    batch = batch_of(options.batch, options.size)
    seconds = []
    for _ in range(1 + options.repeats):
        net.zero_grad(set_to_none=True)
        start = time.perf_counter()
        loss_of(net, options.mode, *batch).backward()
        seconds.append(time.perf_counter() - start)
    seconds = seconds[1:]
    row = {
        "engine": "pytorch " + torch.__version__, "model": options.model, "mode": options.mode,
        "batch": options.batch, "size": options.size, "threads": options.threads,
        "seconds": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "peak_mib": peak_mib(),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
