"""Times a training step in PyTorch: what `cargo xtask bench --peer` compares this workspace's own step with.

    python step.py --model vgg16-gap|resnet50|sat|skp --mode plain|hard|soft [--batch 8] [--size 224] [--threads 2] [--repeats 5]
                   [--device cpu|cuda[:n]] [--tf32]

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


class Block(nn.Module):
    """A pre-norm transformer block; of the last token's attention to each key it makes a gate."""

    def __init__(self, dim, heads, is_spatial):
        super().__init__()
        self.heads, self.is_spatial = heads, is_spatial
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def attention(self, x):
        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, dim // self.heads)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(-2, -1) * (dim // self.heads) ** -0.5
        weights = scores.softmax(-1)
        if self.is_spatial:
            weights = weights * torch.sigmoid(scores[:, :, -1].mean(1))[:, None, None, :]
        return self.proj((weights @ values).transpose(1, 2).reshape(n, tokens, dim))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Sat(nn.Module):
    """DeiT-S/16 with a spatial token in the last three of its blocks, without drop path."""

    def __init__(self, size, dim=384, depth=12, heads=6, spatial_blocks=3):
        super().__init__()
        self.side = size // 16
        self.patches = nn.Conv2d(3, dim, 16, 16)
        self.tokens = nn.Parameter(0.02 * torch.randn(2, dim))
        self.positions = nn.Parameter(0.02 * torch.randn(1, self.side**2 + 1, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads, i + spatial_blocks >= depth) for i in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Conv2d(dim, CLASSES, 3, padding=1)

    def forward(self, x):
        n = len(x)
        patches = self.patches(x).flatten(2).transpose(1, 2)
        cls, spatial = (token.expand(n, 1, -1) for token in self.tokens)
        x = torch.cat([torch.cat([cls, patches], 1) + self.positions, spatial], 1)
        x = self.norm(self.blocks(x))[:, 1:-1].transpose(1, 2)
        return self.head(x.reshape(n, -1, self.side, self.side)).mean((2, 3))


class PointBlock(nn.Module):
    """A residual block on points, of which some are not there and do not count."""

    def __init__(self, dim):
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(dim, 2 * dim), nn.BatchNorm1d(2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x, valid):
        hidden = self.fc1(x)
        active = torch.zeros_like(hidden)
        active[valid] = F.gelu(self.norm(hidden[valid]))
        return x + self.fc2(active)


def maximum(x, valid, dim):
    return x.masked_fill(~valid.unsqueeze(-1), float("-inf")).amax(dim, keepdim=True)


class Skp(nn.Module):
    """Structured keypoint pooling with one block a stage; points (n, people, joints, 5), one in ten not there."""

    def __init__(self, _, dim=256):
        super().__init__()
        self.embed = nn.Linear(5, dim)
        self.stages = nn.ModuleList(PointBlock(dim << stage) for stage in range(3))
        self.head = nn.Linear(4 * dim, CLASSES)
        self.valid = None

    def forward(self, points):
        if self.valid is None:
            self.valid = torch.rand(points.shape[:3], generator=torch.Generator().manual_seed(1)) > 0.1
            self.valid = self.valid.to(points.device)
        n, people, joints, _ = points.shape
        there = self.valid.any(2)
        x = self.stages[0](self.embed(points), self.valid)
        local = torch.where(there.unsqueeze(-1), maximum(x, self.valid, 2).squeeze(2), 0.0)
        common = maximum(x.flatten(1, 2), self.valid.flatten(1, 2), 1)
        x = self.stages[1](torch.cat([local, common.expand(-1, people, -1)], -1), there)
        x = self.stages[2](torch.cat([x, maximum(x, there, 1).expand(-1, people, -1)], -1), there)
        return self.head(maximum(x, there, 1).squeeze(1))


MODELS = {"vgg16-gap": lambda _: vgg16_gap(), "resnet50": lambda _: resnet50(), "sat": Sat, "skp": Skp}


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


def batch_of(model, n, size):
    """Gaussian images with a central square of half the side as source A, or two scenes of skeletons; class b = a + 1."""
    generator = torch.Generator().manual_seed(0)
    if model == "skp":
        x = torch.rand(n, 120, 17, 5, generator=generator) * 2 - 1
        mask = (torch.arange(120) < 60).float().reshape(1, 120, 1, 1).expand(n, -1, -1, -1)
    else:
        x = torch.randn(n, 3, size, size, generator=generator)
        mask = torch.zeros(n, 1, size, size)
        mask[:, :, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    a = torch.arange(n) * 37 % CLASSES
    return x, mask, a, (a + 1) % CLASSES


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_mib(device):
    """Of tensors on a CUDA device, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 2**20
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
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--tf32", action="store_true", help="let products and convolutions of f32 be computed in TF32")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = options.device
    net = MODELS[options.model](options.size).train().to(device)
    batch = [tensor.to(device) for tensor in batch_of(options.model, options.batch, options.size)]
    seconds = []
    for _ in range(1 + options.repeats):
        net.zero_grad(set_to_none=True)
        synchronize(device)
        start = time.perf_counter()
        loss_of(net, options.mode, *batch).backward()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    seconds = seconds[1:]
    row = {
        "engine": "pytorch " + torch.__version__, "model": options.model, "mode": options.mode,
        "batch": options.batch, "size": options.size, "threads": options.threads,
        "seconds": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "peak_mib": peak_mib(device),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
