#!/usr/bin/env python3
"""Checks `pg-stad evaluate` against an evaluation written from the definitions alone, on random tubes.

Draws videos, writes them as JSON lines, runs the program by each convention, and compares video-mAP and frame-mAP
(both forms of average precision, of every class) and the number of tubes found, to 1e-9. Exits
with 1 if any differs.

    peer/.venv/bin/python scripts/compare_tubes.py [--program target/release/pg-stad] [--seeds 40] [--first-seed 0]

Definitions: ACT (Kalogeiton et al., ICCV 2017), Singh et al. (ICCV 2017, the MATLAB evaluation, `voc`), Cheron et
al. (NeurIPS 2018), and PASCAL VOC 2011 for the envelope.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# The first is never annotated.
CLASSES = ["climb", "dive", "run", "wave"]
STRICT = [n / 100 for n in range(50, 100, 5)]
REPORTED = {"0.2": [0.2], "0.5": [0.5], "0.75": [0.75], "0.5:0.95": STRICT}
TOLERANCE = 1e-9


# What is drawn


def random_tube(rng):
    """A box that drifts; half of the tubes are long, the rest has one to six frames."""
    length = int(rng.integers(8, 30) if rng.random() < 0.5 else rng.integers(1, 7))
    corner, size = rng.uniform(0, 60, 2), rng.uniform(20, 60, 2)
    corners = corner + np.cumsum(rng.normal(0, 0.7, (length, 2)), axis=0)
    return {"start": int(rng.integers(0, 30)), "boxes": np.hstack([corners, corners + size])}


def near(rng, tube):
    """A detection of a tube: shifted in space and time, or an exact part of it, whose overlap is a threshold."""
    length = len(tube["boxes"])
    if rng.random() < 0.3:
        part = max(1, round(length * rng.choice([0.2, 0.5, 0.75, 1.0])))
        return {"start": tube["start"], "boxes": tube["boxes"][:part].copy()}
    first = int(rng.integers(0, max(1, length // 3)))
    last = int(rng.integers(max(first + 1, 2 * length // 3), length + 1))
    shift = rng.normal(0, 5, 4) if rng.random() < 0.8 else rng.normal(0, 20, 4)
    boxes = tube["boxes"][first:last] + shift
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    return {"start": tube["start"] + first, "boxes": boxes}


def random_twins(rng):
    """Two people side by side, and the halves in time of one as detections: both overlap with that one most."""
    one = random_tube(rng)
    two = {"start": one["start"], "boxes": one["boxes"] + rng.normal(0, 2, 4)}
    middle = len(one["boxes"]) // 2
    parts = [(0, middle), (middle, len(one["boxes"]))]
    halves = [{"start": one["start"] + a, "boxes": one["boxes"][a:b].copy()} for a, b in parts if b > a]
    label = str(rng.choice(CLASSES[1:]))
    detected = [{"label": label, "score": random_score(rng), **half} for half in halves]
    return [{"label": label, **one}, {"label": label, **two}], detected


def random_score(rng):
    """Often equal to another."""
    return float(rng.integers(0, 12)) / 16


def random_video(rng, name):
    truth, detected, instances = [], [], []
    for _ in range(rng.integers(0, 4)):
        truth.append({"label": str(rng.choice(CLASSES[1:])), **random_tube(rng)})
    for tube in truth:
        for _ in range(rng.integers(0, 4)):
            label = tube["label"] if rng.random() < 0.8 else str(rng.choice(CLASSES))
            detected.append({"label": label, "score": random_score(rng), **near(rng, tube)})
    for _ in range(rng.integers(0, 3)):
        detected.append({"label": str(rng.choice(CLASSES)), "score": random_score(rng), **random_tube(rng)})
    if rng.random() < 0.3:
        twins, halves = random_twins(rng)
        truth += twins
        detected += halves
    rng.shuffle(detected)
    for tube in truth + [random_tube(rng)]:
        for frame, box in enumerate(tube["boxes"], tube["start"]):
            for _ in range(rng.integers(0, 3)):
                seen = box + rng.normal(0, 6, 4)
                seen[2:] = np.maximum(seen[2:], seen[:2])
                scores = [random_score(rng) for _ in CLASSES]
                instances.append({"frame": frame, "box": seen, "scores": scores})
    rng.shuffle(instances)
    return (
        {"id": name, "tubes": truth},
        {"id": name, "frames": 100, "classes": CLASSES, "instances": instances, "tubes": detected},
    )


# What is measured


def box_iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = np.prod(sides) if (sides > 0).all() else 0.0
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common
    return common / union if union > 0 else 0.0


def tube_iou(a, b, convention):
    """The mean overlap over all frames in which either tube has a box."""
    boxes = [dict(enumerate(tube["boxes"], tube["start"])) for tube in (a, b)]
    common = boxes[0].keys() & boxes[1].keys()
    if not common or (convention == "voc" and len(common) == 1):
        return 0.0
    total = sum(box_iou(boxes[0][frame], boxes[1][frame]) for frame in sorted(common))
    return total / len(boxes[0].keys() | boxes[1].keys())


def suppress(items, overlap, is_too_much):
    """Goes through items by falling score (equal ones in their order) and keeps those unlike all kept before."""
    kept = []
    for item in sorted(items, key=lambda item: -item["score"]):
        if not any(is_too_much(overlap(item, other)) for other in kept):
            kept.append(item)
    return kept


def average_precision(scored, positives):
    """`scored`: (score, is a hit), equal scores in their order."""
    if positives == 0 or not scored:
        return {"trapezoid": 0.0, "envelope": 0.0}
    order = np.argsort([-score for score, _ in scored], kind="stable")
    hits = np.array([hit for _, hit in scored], dtype=float)[order]
    found = np.cumsum(hits)
    precision, recall = found / np.arange(1, len(hits) + 1), found / positives
    points = np.vstack([[1.0, 0.0], np.column_stack([precision, recall])])
    trapezoid = np.sum(np.diff(points[:, 1]) * (points[1:, 0] + points[:-1, 0]) / 2)
    envelope = sum(precision[i:].max() for i in np.flatnonzero(hits)) / positives
    return {"trapezoid": trapezoid, "envelope": envelope}


class Assignment:
    """Detections of a class in a video, against its ground truth."""

    def __init__(self, truth, detected, label, convention):
        self.convention = convention
        overlap = lambda a, b: tube_iou(a, b, convention)
        too_much = {"act": lambda o: o > 0.3, "voc": lambda o: False, "cheron": lambda o: o >= 0.2}[convention]
        self.truth = [tube for tube in truth if tube["label"] == label]
        self.detected = suppress([tube for tube in detected if tube["label"] == label], overlap, too_much)
        self.overlaps = np.array([[overlap(d, t) for t in self.truth] for d in self.detected])

    def hits(self, threshold):
        taken, hits = set(), []
        for row, detection in enumerate(self.detected):
            best = None
            for index in range(len(self.truth)):
                if self.convention != "cheron" and index in taken:
                    continue
                if best is None or self.overlaps[row, index] > self.overlaps[row, best]:
                    best = index
            overlap = -1.0 if best is None else self.overlaps[row, best]
            enough = overlap > threshold if self.convention == "voc" else overlap >= threshold
            hit = best is not None and enough and best not in taken
            if hit:
                taken.add(best)
            hits.append((detection["score"], hit))
        return hits


def video_precision(videos, label, convention):
    assigned = [Assignment(truth["tubes"], detected["tubes"], label, convention) for truth, detected in videos]
    positives = sum(len(one.truth) for one in assigned)
    hits = lambda threshold: [hit for one in assigned for hit in one.hits(threshold)]
    at = {threshold: average_precision(hits(threshold), positives) for threshold in [0.2, *STRICT]}
    found_at_half = sum(hit for _, hit in hits(0.5))
    named = {name: mean([at[t] for t in thresholds]) for name, thresholds in REPORTED.items()}
    return positives, named, found_at_half


def frame_precision(videos, label):
    scored, positives = [], 0
    for truth, detected in videos:
        tubes = [tube for tube in truth["tubes"] if tube["label"] == label]
        positives += sum(len(tube["boxes"]) for tube in tubes)
        for frame in sorted({instance["frame"] for instance in detected["instances"]}):
            left = [t["boxes"][frame - t["start"]] for t in tubes if 0 <= frame - t["start"] < len(t["boxes"])]
            items = [
                {"box": instance["box"], "score": instance["scores"][CLASSES.index(label)]}
                for instance in detected["instances"]
                if instance["frame"] == frame
            ]
            for item in suppress(items, lambda a, b: box_iou(a["box"], b["box"]), lambda o: o > 0.3):
                overlaps = [box_iou(item["box"], box) for box in left]
                hit = bool(overlaps) and max(overlaps) >= 0.5
                if hit:
                    del left[int(np.argmax(overlaps))]
                scored.append((item["score"], hit))
    return average_precision(scored, positives)


def mean(values):
    forms = ("trapezoid", "envelope")
    return {form: float(np.mean([value[form] for value in values])) if values else 0.0 for form in forms}


def evaluate(videos, convention):
    annotated = {tube["label"] for truth, _ in videos for tube in truth["tubes"]}
    counted = set(CLASSES) if convention == "voc" else annotated
    classes, hits = {}, 0
    for label in sorted(counted):
        positives, video_ap, found = video_precision(videos, label, convention)
        frame_ap = frame_precision(videos, label) if label in annotated else None
        classes[label] = {"ground_truth": positives, "video_ap": video_ap, "frame_ap": frame_ap}
        hits += found
    return {
        "convention": convention,
        "video_map": {name: mean([c["video_ap"][name] for c in classes.values()]) for name in REPORTED},
        "frame_map": mean([c["frame_ap"] for c in classes.values() if c["frame_ap"] is not None]),
        "classes": classes,
        "failures": {"outcomes": {"hit": hits}},
    }


# The comparison


def differences(expected, found, place=""):
    """Places where numbers differ or one side has something that the other lacks; of failures, hits only."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = expected.keys() if place.startswith("/failures") or place == "" else expected.keys() | found.keys()
        for key in sorted(keys):
            yield from differences(expected.get(key), found.get(key), f"{place}/{key}")
    elif isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        if not abs(expected - found) <= TOLERANCE:
            yield f"{place}: {found!r}, by definition {expected!r}"
    elif expected != found:
        yield f"{place}: {found!r}, by definition {expected!r}"


def write_lines(path, values):
    lines = (json.dumps(value, default=np.ndarray.tolist) for value in values)
    path.write_text("".join(f"{line}\n" for line in lines))


def run(program, truth, detections, convention):
    files = ["--detections", str(detections), "--ground-truth", str(truth)]
    command = [*shlex.split(program), "evaluate", *files, "--json", "--convention", convention]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}; build it, or name another with --program")
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)} exited with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def compare(program, seed, folder):
    rng = np.random.default_rng(seed)
    videos = [random_video(rng, f"v{index:02}") for index in range(rng.integers(1, 12))]
    truth, detections = folder / "truth.jsonl", folder / "detections.jsonl"
    write_lines(truth, [truth for truth, _ in videos])
    # Lines in another order, and a video that the detections do not mention.
    mentioned = [detected for _, detected in videos[1:]]
    rng.shuffle(mentioned)
    silent = {**videos[0][1], "instances": [], "tubes": []}
    if not mentioned:
        mentioned = [silent]
    write_lines(detections, mentioned)
    videos[0] = (videos[0][0], silent)
    for convention in ("act", "voc", "cheron"):
        expected, found = evaluate(videos, convention), run(program, truth, detections, convention)
        for difference in differences(expected, found):
            yield f"seed {seed}, {convention}: {difference}"


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=shlex.quote(str(root / "target/release/pg-stad")))
    parser.add_argument("--seeds", type=int, default=40, help="how many sets of videos are drawn")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            found = list(compare(options.program, seed, Path(folder)))
        if found:
            print("\n".join(found))
            return 1
    print(f"{options.seeds} sets of videos by 3 conventions: equal to {TOLERANCE:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
