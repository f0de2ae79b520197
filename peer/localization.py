"""Compares `pg-wsol evaluate` with the same measures written with OpenCV's contours, number for number and in time.

    cargo build --release -p pg-wsol
    peer/.venv/bin/python peer/localization.py target/release/pg-wsol

The measures are those of wsolevaluation (Choe et al., CVPR 2020): a thousand thresholds, cv2.findContours at each, boxes of
all contours (MaxBoxAccV2) or of the largest (MaxBoxAcc). Exits with 1 if a number differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

SIDE = 224
DELTAS = (0.3, 0.5, 0.7)
THRESHOLDS = np.arange(0, 1, 0.001)


def normalized(scores):
    """Spans 0 to 1; a map with a NaN, or a constant one, becomes zero."""
    if np.isnan(scores).any() or scores.min() == scores.max():
        return np.zeros_like(scores)
    scores = scores - scores.min()
    return scores / scores.max()


def maps(count, rng):
    """Yields (kind, raw scores) of every kind in turn."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE]

    def smooth(cells):
        return cv2.resize(rng.normal(size=(cells, cells)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)

    def peak():
        x, y, spread = rng.uniform(0, SIDE, 2).tolist() + [rng.uniform(4, 60)]
        return np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * spread**2))

    def one_pixel():
        scores = np.zeros((SIDE, SIDE))
        scores[rng.integers(SIDE), rng.integers(SIDE)] = 1
        return scores

    def with_nan():
        scores = smooth(7)
        scores[0, 0] = np.nan
        return scores

    kinds = {
        "smooth 7": lambda: smooth(7),
        "smooth 14": lambda: smooth(14),
        "smooth 28": lambda: smooth(28),
        "peak": peak,
        "two peaks": lambda: peak() + peak(),
        "noise": lambda: rng.uniform(size=(SIDE, SIDE)),
        "peak with noise": lambda: peak() + 0.3 * rng.uniform(size=(SIDE, SIDE)),
        "levels": lambda: rng.integers(0, 4, size=(SIDE, SIDE)).astype(float),
        "blocks": lambda: np.kron(rng.integers(0, 3, size=(28, 28)), np.ones((8, 8))),
        "one pixel": one_pixel,
        "constant": lambda: np.full((SIDE, SIDE), 0.5),
        "NaN": with_nan,
    }
    names = list(kinds)
    for index in range(count):
        name = names[index % len(names)]
        yield name, kinds[name]()


def overlap(boxes, truth):
    """Intersection over union of inclusive boxes (n, 4) with one."""
    left_top = np.maximum(boxes[:, :2], truth[:2])
    right_bottom = np.minimum(boxes[:, 2:], truth[2:])
    inter = np.prod(np.maximum(right_bottom - left_top + 1, 0), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1) + np.prod(truth[2:] - truth[:2] + 1)
    return inter / (area - inter)


def box_of(contour):
    x, y, width, height = cv2.boundingRect(contour)
    return x, y, min(x + width, SIDE - 1), min(y + height, SIDE - 1)


def overlaps(scores, truth, every_contour):
    """The greatest overlap at each threshold."""
    levels = (scores * 255).astype(np.uint8)
    values = np.zeros(len(THRESHOLDS))
    for index, threshold in enumerate(THRESHOLDS):
        level = int(threshold * np.max(levels))
        _, binary = cv2.threshold(levels, level, 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        if not contours:
            boxes = [(0, 0, 0, 0)]
        elif every_contour:
            boxes = [box_of(contour) for contour in contours]
        else:
            boxes = [box_of(max(contours, key=cv2.contourArea))]
        values[index] = overlap(np.array(boxes), truth).max()
    return values


def write_metadata(folder, names, boxes):
    folder.mkdir(parents=True)
    lines = {
        "image_ids.txt": [name for name in names],
        "class_labels.txt": [f"{name},0" for name in names],
        "image_sizes.txt": [f"{name},{SIDE},{SIDE}" for name in names],
        "localization.txt": [f"{name}," + ",".join(map(str, box)) for name, box in zip(names, boxes)],
    }
    for file, rows in lines.items():
        (folder / file).write_text("\n".join(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", help="pg-wsol")
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(arguments.seed)

    scores, boxes = [], []
    for _, raw in maps(arguments.images, rng):
        scores.append(normalized(raw))
        (x0, x1), (y0, y1) = np.sort(rng.integers(0, SIDE, (2, 2)), axis=1)
        boxes.append(np.array([x0, y0, x1, y1]))

    seconds = {}
    counts = {}
    for every_contour in (False, True):
        start = time.perf_counter()
        values = np.array([overlaps(s, b, every_contour) for s, b in zip(scores, boxes)])
        seconds[every_contour] = time.perf_counter() - start
        counts[every_contour] = {d: 100 * (values >= d).mean(axis=0) for d in DELTAS}
    expected = {}
    for key, percents in [(f"box_acc_{100 * d:.0f}", counts[True][d]) for d in DELTAS] + [("max_box_acc", counts[False][0.5])]:
        expected[key], expected[key + "_at"] = percents.max(), THRESHOLDS[percents.argmax()]
    expected["max_box_acc_v2"] = float(np.mean([counts[True][d].max() for d in DELTAS]))

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        names = [f"{index}.png" for index in range(arguments.images)]
        write_metadata(folder / "metadata" / "test", names, boxes)
        (folder / "maps").mkdir()
        for name, values in zip(names, scores):
            np.save(folder / "maps" / name, values)
        command = [arguments.binary, "evaluate", "--scoremaps", folder / "maps", "--metadata", folder / "metadata"]
        start = time.perf_counter()
        output = subprocess.run([*command, "--threads", "1", "--json"], check=True, capture_output=True, text=True)
        ours = time.perf_counter() - start
    actual = json.loads(output.stdout)

    wrong = [key for key, value in expected.items() if f"{actual[key]:.9f}" != f"{value:.9f}"]
    for key, value in expected.items():
        print(f"{key:<16} {actual[key]:14.9f} {value:14.9f} {'DIFFERS' if key in wrong else 'equal'}")
    print(f"{arguments.images} maps on one thread: {ours:.3f} s for both measures, files read;")
    print(f"OpenCV, in memory: {seconds[False]:.2f} s (MaxBoxAcc) and {seconds[True]:.2f} s (V2),")
    print(f"{seconds[False] / ours:.0f} and {seconds[True] / ours:.0f} times as long")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
