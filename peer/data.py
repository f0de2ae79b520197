"""Times what happens to images before a step: what `cargo xtask bench --data --peer` compares this workspace with.

    python data.py --work load|cutmix|resizemix|mask --pictures DIR [--batch 64] [--size 224] [--threads 1] [--repeats 5]

Each work is done with the tools that users of PyTorch have: Pillow and torchvision load and mix, NumPy, scikit-image and
OpenCV make masks. DIR holds the pictures that `pg-peer data` drew. With several threads a process each loads and makes
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
    return lambda: resizemix(images, labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", choices=["load", "cutmix", "resizemix", "mask"], required=True)
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
