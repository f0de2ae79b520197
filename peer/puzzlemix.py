"""What an alpha-beta swap finds of PuzzleMix's energy, for a test to compare the exact minimum with.

    peer/.venv/bin/python peer/puzzlemix.py > crates/pg-synth/src/puzzlemix/swaps.json

Each line is one instance. Its numbers come from a generator of integers that the test has, too: number k of a seed is
splitmix64(seed * 2^32 + k), of which the upper 53 bits are a fraction in [0, 1). In turn: the share that is aimed at; the saliency of
each block of both images, to a power and divided by its sum; their colours, three channels of two cells a side of a block.
"""

import json

import numpy as np

from data import energy, swapped

BETA, GAMMA, ETA, FINE, CHANNELS = 1.2, 0.5, 0.2, 2, 3
MASK = (1 << 64) - 1


def number(seed, k):
    x = ((seed << 32) + k + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return ((x ^ x >> 31) >> 11) / 2**53


def instance(side, power, seed):
    counts = (1, 2 * side**2, 2 * CHANNELS * (side * FINE) ** 2)
    numbers = np.array([number(seed, k) for k in range(sum(counts))])
    alpha, salient, colours = np.split(numbers, np.cumsum(counts)[:2])
    salient = salient.reshape(2, side, side) ** power
    salient /= salient.sum((1, 2), keepdims=True)
    alpha = alpha[0]
    prior = -ETA / side**2 * np.log(np.array([alpha**2, 2 * alpha * (1 - alpha), (1 - alpha) ** 2]) + 1e-8)
    colours = colours.reshape(2, CHANNELS, side * FINE, side * FINE)
    unary, weights = energy(salient, colours, 0, 1, side, BETA, GAMMA, prior)
    labels = swapped(unary, weights)
    return {
        "side": side,
        "power": power,
        "seed": seed,
        "labels": "".join(map(str, labels.ravel())),
        "energy": value(unary, weights, labels),
    }


def value(unary, weights, labels):
    z = 1 - labels / 2
    down, right = weights
    costs = np.take_along_axis(unary, labels[..., None].astype(int), 2).sum()
    return float(costs + (down * np.diff(z, axis=0) ** 2).sum() + (right * np.diff(z, axis=1) ** 2).sum())


if __name__ == "__main__":
    shapes = [(side, power) for side in (2, 4, 8, 16) for power in (1, 4)]
    rows = [instance(side, power, seed) for seed in range(10) for side, power in shapes]
    print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
