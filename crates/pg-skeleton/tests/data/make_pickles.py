"""Makes the pickles of the tests; run with Python 3 and NumPy 2, in this folder.

They are what PYSKL's and UCF101-24's files look like, small, in every protocol. What Python 2 and NumPy 1 write cannot be
made here as such: `old_names` renames NumPy 2's module, and `python2.pkl` is assembled from operations.
"""

import collections
import pickle
import struct
import zipfile

import numpy as np


def skeletons():
    """Two videos; of the first, person 0 is in frames 0 and 2, and person 1 in frame 2."""
    keypoint = np.zeros((2, 3, 2, 2), np.float16)
    keypoint[0, 0] = [[10, 20], [30, 60.5]]
    keypoint[0, 2] = [[11, 20], [31, 60.5]]
    keypoint[1, 2] = [[100, 20], [130, 60.5]]
    score = np.where(keypoint.any(-1), np.float16(0.75), np.float16(0))
    first = dict(frame_dir="v_1", label=1, img_shape=(240, 320), original_shape=(240, 320), total_frames=3,
                 keypoint=keypoint, keypoint_score=score)
    second = dict(frame_dir="v_2", label=np.int64(0), img_shape=(240, 320), total_frames=np.int64(5),
                  keypoint=np.asfortranarray(keypoint[:1].astype(np.float32)), keypoint_score=score[:1])
    return dict(split=dict(train=["v_1"], test=["v_2"]), annotations=[first, second])


def old_names(data):
    """NumPy 1's names in text protocols, whose lengths are not stored."""
    return data.replace(b"numpy._core", b"numpy.core")


def values():
    """Every plain value, and an array of every type and order."""
    arrays = [np.arange(6).reshape(2, 3).astype(kind) for kind in
              ["f2", "f4", "f8", "u1", "u2", "u4", "i1", "i2", "i4", "i8", "b1", ">f4", ">i2"]]
    arrays += [np.asfortranarray(arrays[1]), np.zeros((0, 2), np.float32), arrays[0][:, ::2]]
    # In protocol 5 as it is stored, with the order of its axes.
    arrays += [np.arange(12, dtype=np.uint8).reshape(2, 3, 2).transpose(1, 2, 0)]
    shared = [1, 2]
    return dict(none=None, true=True, false=False, ints=[0, -1, 255, 256, 65535, 65536, -2**31, 2**40, -2**62],
                floats=[0.5, -1e300], text="ré\\n\u2603\n", bytes=b"\x00\xff\n", empty=b"", tuple=(), four=(1, 2, 3, 4),
                shared=[shared, shared], ordered=collections.OrderedDict([("b", 1), ("a", 2)]),
                scalars=[np.float32(0.5), np.int16(-3), np.bool_(True), np.str_("wave")], arrays=arrays)


def singh():
    """Two videos of `pyannot.pkl`."""
    boxes = lambda kind, *rows: np.asfortranarray(np.array(rows, kind))
    return {
        np.str_("Basketball/v_Basketball_g01_c01"): dict(label=0, numf=9, annotations=[
            dict(label=0, sf=2, ef=4, boxes=boxes(np.uint8, [1, 1, 10, 20], [250, 200, 70, 40])),
            dict(label=0, sf=np.int64(0), ef=1, boxes=boxes(np.uint16, [300, 1, 20, 240])),
        ]),
        np.str_("Biking/v_Biking_g01_c01"): dict(label=2, numf=3, annotations=[
            dict(label=2, sf=0, ef=3, boxes=boxes(np.uint8, *[[5, 6, 7, 8]] * 3)),
        ]),
    }


def act():
    """The same videos as ACT has them."""
    rows = lambda *rows: np.array(rows, np.float32)
    return dict(
        labels=["Basketball", "BasketballDunk", "Biking"],
        train_videos=[["Basketball/v_Basketball_g01_c01"]], test_videos=[["Biking/v_Biking_g01_c01"]],
        nframes={"Basketball/v_Basketball_g01_c01": 9, "Biking/v_Biking_g01_c01": 3},
        resolution={"Basketball/v_Basketball_g01_c01": (240, 320), "Biking/v_Biking_g01_c01": (240, 320)},
        gttubes={
            "Basketball/v_Basketball_g01_c01": {0: [rows([3, 0, 0, 9, 19], [4, 249, 199, 318, 238]),
                                                    rows([1, 299, 0, 318, 239])]},
            "Biking/v_Biking_g01_c01": {2: [rows(*[[frame, 4, 5, 10, 12] for frame in (1, 2, 3)])]},
        })


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def python2():
    """`{"a": array([[1, 2]], int16), "b": ["text"]}` with Python 2's strings and NumPy 1's names."""
    string = lambda text: b"U" + bytes([len(text)]) + text
    long_string = lambda text: b"T" + struct.pack("<i", len(text)) + text
    dtype = (b"cnumpy\ndtype\n(" + string(b"i2") + b"K\x00K\x01tR(K\x03" + string(b"<") + b"NNN" +
             b"J\xff\xff\xff\xff" * 2 + b"K\x00tb")
    array = (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + string(b"b") + b"tR" +
             b"(K\x01(K\x01K\x02t" + dtype + b"I00\n" + long_string(b"\x01\x00\x02\x00") + b"tb")
    return b"\x80\x02}(" + string(b"a") + array + string(b"b") + b"](" + string(b"text") + b"eu."


def oddities():
    """Annotations that are sound in their way."""
    nan = np.array([[[[np.nan, 5], [1, 2]]]], np.float32)
    return dict(
        listed=[dict(frame_dir="v", total_frames=6, img_shape=(240, 320), frame_inds=np.array([1, 1, 3], np.int16),
                     keypoint=np.array([[[10, 20, 1.01]], [[11, 21, 0.5]], [[12, 22, 0.25]]], np.float16))],
        nobody=[dict(frame_dir="none", keypoint=np.zeros((0, 3, 2, 2)), label=None),
                dict(frame_dir="zeros", keypoint=np.zeros((2, 3, 2, 2)), keypoint_score=np.zeros((2, 3, 2))),
                dict(frame_dir="nan", keypoint=nan)],
        outside=[dict(frame_dir="v", img_shape=(240, 320), keypoint=np.array([[[[1000, 900]]]], np.float32))],
        swapped=[dict(frame_dir="v", img_shape=(320, 240), keypoint=np.array([[[[300, 20]]]], np.float32))],
    )


def broken():
    """Annotations that are not, with what is said of them."""
    sound = skeletons()["annotations"][0]
    first = "annotation 0 (`v_1`): "
    change = lambda **fields: [{**sound, **fields}]
    remove = lambda field: [{name: value for name, value in sound.items() if name != field}]
    big = np.zeros((1, 1, 2000, 2), np.float32)
    return {
        "broken_id": (remove("frame_dir"), "annotation 0: has no `frame_dir`; name the video"),
        "broken_keypoint": (remove("keypoint"), first + "has no `keypoint`; keypoints in files of their own "
                            "(kpfiles) are not read, store them here"),
        "broken_list": (change(keypoint=[[1.0, 2.0]]), first + "`keypoint` is a list; store a NumPy array"),
        "broken_axes": (change(keypoint=np.zeros((2, 3, 4))),
                        first + "`keypoint` is 2 x 3 x 4; store person x frame x joint x 2"),
        "broken_3d": (change(keypoint=np.zeros((2, 3, 2, 3))),
                      first + "`keypoint` has 3 coordinates and a score; store 2-D keypoints"),
        "broken_depth": ([{**remove("keypoint_score")[0], "keypoint": np.full((1, 3, 2, 3), 3.5)}],
                         first + "`keypoint` has a third number of 3.5, which is no confidence; 3-D skeletons "
                         "are not supported, use the 2-D file (or say how great confidences can be)"),
        "broken_score": (change(keypoint_score=np.zeros((3, 2, 2))),
                         first + "`keypoint_score` does not fit `keypoint`; store a score of each joint"),
        "broken_size": (remove("img_shape"),
                        first + "does not say how large its images are; give their width and height"),
        "broken_shape": (change(img_shape=(240, 320, 3)),
                         first + "`img_shape` is no height and width; write two whole numbers"),
        "broken_frames": (change(total_frames=2), first + "frame 2 is beyond the 2 frames; correct their number, or "
                          "that of the first"),
        "broken_total": (change(total_frames="3"), first + "`total_frames` is no number of frames; correct it"),
        "broken_label": (change(label=0.5), first + "`label` is a float; write a number or a name"),
        "broken_twice": ([sound, sound], "video `v_1` is there twice; remove or rename one"),
        "broken_repeats": ([{**sound, "frame_dir": f"v_{i}", "keypoint": big, "keypoint_score": None}
                            for i in range(12)],
                           "annotation 8 (`v_8`): repeats what is stored once, over and over; store it where it is used"),
    }


def broken_truth():
    """Ground truth that is wrong, with what is said of it."""
    video = lambda **fields: {"v": dict(label=0, numf=9, annotations=[{**dict(
        label=0, sf=2, ef=4, boxes=np.ones((2, 4), np.uint8)), **fields}])}
    tubes = lambda label, *rows: dict(gttubes={"v": {label: [np.array(rows, np.float32).reshape(len(rows), -1)]}},
                                      labels=["Biking"])
    in_v = "video `v`: "
    return {
        "truth_list": ([], "holds a list; the annotation of UCF101-24 is a dictionary of videos"),
        "truth_name": ({1: {}}, "a video is named by an integer; use its name"),
        "truth_empty": ({"v": {}}, in_v + "has no list `annotations`; use the file as its authors distribute it"),
        "truth_start": (video(sf="2"), in_v + "tube 0 has no number `sf`; correct it"),
        "truth_boxes": (video(boxes=[1]), in_v + "tube 0 has no array `boxes`; correct it"),
        "truth_axes": (video(boxes=np.zeros((2, 5))), in_v + "tube 0: `boxes` is not frames x 4; correct it"),
        "truth_length": (video(ef=5), in_v + "tube 0 goes from frame 2 to 5 but has 2 boxes; correct it"),
        "truth_none": (video(ef=2, boxes=np.zeros((0, 4))), in_v + "tube 0 has no boxes; remove it"),
        "truth_before": (video(sf=-1, ef=1), in_v + "tube 0 starts before the video; correct it"),
        "truth_width": (video(boxes=np.array([[1, 1, 1, 1], [1, 1, -1, 1]])), in_v +
                        "tube 0 has a box that ends before it starts, in frame 3; correct it"),
        "truth_class": (video(label=24), in_v + "tube 0: class 24 is not one of 24; correct it"),
        "truth_gap": (tubes(0, [1, 0, 0, 1, 1], [3, 0, 0, 1, 1]), in_v +
                      "tube 0 of class 0 skips a frame; fill the gap"),
        "truth_frame": (tubes(0, [np.nan, 0, 0, 1, 1]), in_v +
                        "tube 0 of class 0 starts in a frame that is no whole number; correct it"),
        "truth_late": (video(sf=2**62, ef=2**62 + 2), in_v + "tube 0 goes beyond frame 16777216; correct it"),
        "truth_nan": (tubes(0, [1, np.nan, 0, 1, 1]), in_v +
                      "tube 0 of class 0 has a box that ends before it starts, in frame 0; correct it"),
    }


def main():
    for protocol in range(6):
        for name, value in dict(values=values(), skeletons=skeletons(), singh=singh()).items():
            with open(f"{name}_{protocol}.pkl", "wb") as file:
                file.write(pickle.dumps(value, protocol))
    with open("act.pkl", "wb") as file:
        pickle.dump(act(), file, 2)
    with open("numpy1.pkl", "wb") as file:
        file.write(old_names(pickle.dumps(skeletons(), 2)))
    with open("python2.pkl", "wb") as file:
        file.write(python2())
    with open("texts.pkl", "wb") as file:
        pickle.dump([np.str_("v" * 100)], file, 2)
    with open("list.pkl", "wb") as file:
        pickle.dump(skeletons()["annotations"], file, 4)
    with open("evil.pkl", "wb") as file:
        pickle.dump([Evil()], file, 4)
    with open("cycle.pkl", "wb") as file:
        cycle = [1]
        cycle.append((cycle,))
        pickle.dump(cycle, file, 4)
    for name, value in oddities().items():
        with open(f"{name}.pkl", "wb") as file:
            pickle.dump(value, file, 2)
    with open("broken.txt", "w") as messages:
        for name, (value, message) in broken().items():
            with open(f"{name}.pkl", "wb") as file:
                pickle.dump(value, file, 4)
            print(f"{name}.pkl: {message}", file=messages)
    with open("ucf101.txt", "w") as messages:
        for name, (value, message) in broken_truth().items():
            with open(f"{name}.pkl", "wb") as file:
                pickle.dump(value, file, 4)
            print(f"{name}.pkl: {message}", file=messages)
    first = skeletons()["annotations"][0]
    names = ["keypoint", "keypoint_score", "label", "img_shape"]
    np.savez_compressed("skeletons.npz", **{name: first[name] for name in names})
    np.save("skeletons.npy", np.concatenate([first["keypoint"], first["keypoint_score"][..., None]], -1))
    assert zipfile.is_zipfile("skeletons.npz")


if __name__ == "__main__":
    main()
