"""Times what happens to images before a step: what `cargo xtask bench --data --peer` compares this workspace with.

    python data.py --work load|cutmix|resizemix|puzzlemix|mask --pictures DIR [--batch 64] [--size 224] [--threads 1] [--repeats 5]

Each work is done with the tools that users of PyTorch have: Pillow and torchvision load and mix, pyGCO cuts the graphs of
PuzzleMix, NumPy, scikit-image and OpenCV make masks. DIR holds the pictures that `pg-peer data` drew. With several threads a process each loads and makes
masks, as PyTorch's loader does. Prints one JSON line with the keys of `pg-peer data`.
"""

import argparse
import json
import random
import statistics
import time
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.filters import threshold_otsu
from torchvision.transforms import v2

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def load(path, size, _):
    transform = v2.Compose([
        v2.Resize((size, size), antialias=True), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD),
    ])
    return transform(Image.open(path).convert("RGB")).numpy()


def mask(original, edit, size, _):
    def resized(image):
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).astype(np.float32)

    difference = np.abs(resized(original) - resized(edit)).mean(axis=2).round().astype(np.uint8)
    unmodified = (difference <= threshold_otsu(difference)).astype(np.uint8)
    return cv2.dilate(unmodified, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))


def resizemix(images, labels):
    """The authors': one scale a batch, nearest neighbour, a place of its own for each sample."""
    n, _, height, width = images.shape
    partner = torch.randperm(n)
    scale = random.uniform(0.1, 0.8)
    small = F.interpolate(images[partner], (max(1, int(height * scale)), max(1, int(width * scale))), mode="nearest")
    h, w = small.shape[2:]
    mixed, masks = images.clone(), torch.ones(n, 1, height, width)
    for i in range(n):
        y, x = random.randint(0, height - h), random.randint(0, width - w)
        mixed[i, :, y : y + h, x : x + w] = small[i]
        masks[i, :, y : y + h, x : x + w] = 0
    return mixed, masks, labels, labels[partner]


def puzzlemix(images, saliency, labels, side=16, beta=1.2, gamma=0.5, eta=0.2, neigh=2, t_eps=0.8):
    """Kim et al.'s: an alpha-beta swap and a loop for the transport, sample by sample, of `side` x `side` blocks."""
    n, channels, size, _ = images.shape
    partner = torch.randperm(n)
    alpha = random.betavariate(1, 1)
    block = size // side
    salient = F.avg_pool2d(saliency[:, None], block)[:, 0]
    salient = (salient / salient.sum((1, 2), keepdim=True)).numpy().astype(np.float64)
    colours = F.avg_pool2d(images, neigh).numpy()
    prior = np.array([alpha**2, 2 * alpha * (1 - alpha), (1 - alpha) ** 2])
    prior = -eta / side**2 * np.log(prior + 1e-8)
    z = torch.empty(n, side, side)
    for i in range(n):
        unary, weights = energy(salient, colours, i, int(partner[i]), side, beta, gamma, prior)
        z[i] = torch.from_numpy(1 - swapped(unary, weights).astype(np.float32) / 2)
    places = torch.arange(side * side)
    place = torch.stack([places // side, places % side], 1).float()
    distance = ((place[:, None] - place[None]) ** 2).sum(-1) * t_eps / (side - 1) ** 2
    moved = transported(images, salient, z > 0, distance, block)
    other = transported(images[partner], salient[partner.numpy()], z < 1, distance, block)
    masks = F.interpolate(z[:, None], scale_factor=block)
    return masks * moved + (1 - masks) * other, masks, labels, labels[partner]


def energy(salient, colours, i, j, side, beta, gamma, prior):
    """Of mixing images i and j: costs of each block's labels, and weights of its borders with the next below and beside."""
    fine = colours.shape[2] // side
    beta = beta / (16 * side)

    def seams(p, q, axis):
        p, q = np.moveaxis(p, axis, 1), np.moveaxis(q, axis, 1)
        gap = np.abs(p[:, fine - 1 : -1 : fine] - q[:, fine::fine]).mean(0)
        return np.moveaxis(gap.reshape(side - 1, side, fine).mean(-1), 0, axis - 1) * beta * gamma

    a, b = colours[i], colours[j]
    cost1, cost0, weights = salient[j].copy(), salient[i].copy(), []
    for axis in (1, 2):
        d11, d10, d01, d00 = seams(a, a, axis), seams(a, b, axis), seams(b, a, axis), seams(b, b, axis)
        first = (slice(None, -1), slice(None)) if axis == 1 else (slice(None), slice(None, -1))
        second = (slice(1, None), slice(None)) if axis == 1 else (slice(None), slice(1, None))
        cost1[first] += (d10 + d11) / 2
        cost0[first] += (d01 + d00) / 2
        cost1[second] += (d01 + d11) / 2
        cost0[second] += (d10 + d00) / 2
        weights.append(beta + (d10 + d01 - d11 - d00) / 2)
    return np.stack([cost1 + prior[0], (cost1 + cost0) / 2 + prior[1], cost0 + prior[2]], -1), weights


def swapped(unary, weights):
    """Labels of least energy as an alpha-beta swap finds them: 0 where all is image i, 2 where all is image j."""
    import gco

    steps = np.arange(3) / 2
    between = (steps[:, None] - steps[None]) ** 2
    # Integers of the authors' scale; pyGCO has no others.
    unary, *weights = ((1000 * len(unary) ** 2 * costs).astype(np.int32) for costs in (unary, *weights))
    label = gco.cut_grid_graph(unary, between.astype(np.float32), *weights, n_iter=-1, algorithm="swap")
    return label.reshape(unary.shape[:2])


def transported(images, salient, shown, distance, block):
    """Blocks moved to places that are shown."""
    n, channels, size, _ = images.shape
    side, count = size // block, (size // block) ** 2
    salient = torch.from_numpy(salient).float().reshape(n, count, 1)
    cost = distance[None] - salient * shown.reshape(n, 1, count).float()
    for _ in range(side):
        wanted = torch.zeros_like(cost).scatter_(2, cost.argmin(2, keepdim=True), 1.0)
        asked = torch.where(wanted > 0, cost, torch.full_like(cost, 1e9))
        won = torch.zeros_like(cost).scatter_(1, asked.argmin(1, keepdim=True), 1.0) * wanted
        cost = cost + (wanted - won)
    blocks = images.reshape(n, channels, side, block, side, block).permute(0, 2, 4, 1, 3, 5).reshape(n, count, -1)
    moved = won.transpose(1, 2) @ blocks
    return moved.reshape(n, side, side, channels, block, block).permute(0, 3, 1, 4, 2, 5).reshape(images.shape)


def batch_of(work, options, pool):
    """A function that does one batch of the work."""
    n, size = options.batch, options.size
    original, edit = options.pictures / "original.jpg", options.pictures / "edit.jpg"
    each = pool.map if pool else lambda f, items: list(map(f, items))
    if work == "load":
        return lambda: torch.from_numpy(np.stack(each(partial(load, original, size), range(n))))
    if work == "mask":
        pair = Image.open(original).convert("RGB"), Image.open(edit).convert("RGB")
        return lambda: each(partial(mask, *pair, size), range(n))
    images, labels = torch.rand(n, 3, size, size), torch.arange(n)
    if work == "cutmix":
        cutmix = v2.CutMix(num_classes=n)
        return lambda: cutmix(images, labels)
    if work == "puzzlemix":
        saliency = F.interpolate(torch.rand(n, 1, 14, 14), (size, size), mode="bilinear")[:, 0]
        return lambda: puzzlemix(images, saliency, labels)
    return lambda: resizemix(images, labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", choices=["load", "cutmix", "resizemix", "puzzlemix", "mask"], required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    pool = Pool(options.threads) if options.threads > 1 and options.work in ("load", "mask") else None
    batch = batch_of(options.work, options, pool)
    seconds = []
    for _ in range(1 + options.repeats):
        start = time.perf_counter()
        batch()
        seconds.append(time.perf_counter() - start)
    row = {
        "engine": "pytorch " + torch.__version__, "work": options.work, "batch": options.batch, "size": options.size,
        "threads": options.threads, "images_per_second": options.batch / statistics.median(seconds[1:]),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
