//! Whatever is wrong with the input: one line that names it and says what to do, and nothing half-written.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use pg_cli::About;
use pg_models::SkpSpec;
use pg_tasks::checkpoint;
use serde_json::{Value, json};
use support::{
    CLASSES, DATA, changed, clip, clips, clips_of, contents, lines, quick, run, run_line, sample, trained,
    truth, write_lines,
};
use tempfile::tempdir;

fn says(error: &str, words: &[&str]) -> bool {
    words.iter().all(|word| error.contains(word))
}

#[test]
fn settings_without_sense_are_usage_errors_that_name_their_flag() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("unknown.toml"), "alpha = 1\nalpa = 2\n").unwrap();
    fs::write(root.join("type.toml"), "epochs = \"ten\"\n").unwrap();
    let before = contents(root);
    let cases: &[(&str, &[&str])] = &[
        ("train --batch 0", &["--batch must be at least 1, got 0"]),
        ("train --alpha -1", &["--alpha must be 0 or more, got -1"]),
        ("train --alpha nan", &["--alpha must be 0 or more, got NaN"]),
        ("train --alpha much", &["--alpha <A>", "much"]),
        ("train --alpha 1", &["--alpha does nothing without --synth batchmix", "no provenance"]),
        ("train --grad-features xy", &["--grad-features does nothing without --synth batchmix"]),
        ("train --sources 3", &["--sources does nothing without --synth batchmix; add it"]),
        ("train --synth batchmix --sources 1", &["--sources must be from 2 to 16, got 1"]),
        (
            "train --synth batchmix --epochs 3 --mix-start 3",
            &["--mix-start must be less than the epochs, got 3"],
        ),
        ("train --synth cutmix", &["--synth", "cutmix"]),
        ("train --target hard", &["--target", "hard"]),
        ("train --mask none", &["--mask", "none"]),
        ("train --frames 0", &["--frames must be from 1 to 4096, got 0"]),
        ("train --people 0", &["--people must be from 1 to 256, got 0"]),
        ("train --dim 0", &["--dim must be from 1 to 4096, got 0"]),
        ("train --repeats 1 2", &["--repeats"]),
        ("train --repeats 1 2 99", &["--repeats must be at most 64 each, got 99"]),
        ("train --joint-drop 1", &["--joint-drop must be in [0, 1), got 1"]),
        ("train --joint-drop 0.1 --augment false", &["--joint-drop does nothing without --augment"]),
        ("train --person-drop -0.1", &["--person-drop must be in [0, 1), got -0.1"]),
        ("train --lr inf", &["--lr must be more than 0, got inf"]),
        ("train --seed -1", &["-1"]),
        ("train --threads 0", &["--threads", "0"]),
        ("train --device tpu", &["--device", "tpu", "cuda:N"]),
        ("train --data a.jsonl", &["--label-map is missing"]),
        ("train --test a.jsonl", &["--test does nothing without --data"]),
        ("train --keep-going", &["--keep-going does nothing without --data"]),
        (
            "train --data a --label-map b --ground-truth c",
            &["--ground-truth does nothing without --test; add it"],
        ),
        ("train --data a --label-map b --select val-top1", &["--select val-top1 does nothing without --val"]),
        ("train --patience 3 --select last", &["--patience does nothing with --select last"]),
        ("train --trim-window 0", &["--trim-window must be at least 1, got 0"]),
        ("train --trim-smoothing mean", &["--trim-smoothing", "median, closing"]),
        (
            "train --linking online --trim-smoothing median",
            &["--trim-smoothing does nothing with --linking online"],
        ),
        (
            "train --synth batchmix --alpha 1 --score log-probability",
            &["--score log-probability", "--loss bce"],
        ),
        (
            "train --trim-window 1 --trim-smoothing median",
            &["--trim-smoothing does nothing with --trim-window 1; leave it out"],
        ),
        ("train --loss hinge", &["--loss", "cross-entropy, bce"]),
        ("train --min-length 0", &["--min-length must be at least 1, got 0"]),
        ("train --linking viterbi", &["--linking", "viterbi"]),
        ("train --config unknown.toml", &["unknown.toml", "line 2", "alpa"]),
        ("train --config type.toml", &["type.toml", "epochs"]),
        ("train --config none.toml", &["none.toml", "check the path"]),
        ("train --bogus", &["--bogus"]),
        ("detect --checkpoint x", &["--data"]),
        ("detect --data x", &["--checkpoint"]),
        ("detect --data x --checkpoint y --window 0", &["--window", "0"]),
        (
            "detect --data x --checkpoint y --trim-threshold nan",
            &["--trim-threshold must be a number, got NaN"],
        ),
        (
            "detect --data x --checkpoint y --linking online --trim false",
            &["--trim does nothing with --linking online"],
        ),
        (
            "detect --data x --checkpoint y --linking tracks --trim false",
            &["--trim does nothing with --linking tracks"],
        ),
        (
            "detect --data x --checkpoint y --linking online --trim-threshold 0.1",
            &["--trim-threshold does nothing with --linking online; leave it out"],
        ),
        (
            "detect --data x --checkpoint y --trim false --trim-window 3",
            &["--trim-window does nothing with --trim false; leave it out"],
        ),
        ("evaluate --detections x", &["--ground-truth"]),
        ("evaluate --detections x --ground-truth y --convention mot", &["--convention", "act, voc, cheron"]),
        ("explain --checkpoint x --count 0", &["--count", "0"]),
        ("explain --checkpoint x --ground-truth y", &["--data"]),
        ("convert a", &["<TO>"]),
        ("convert a b --format csv", &["--format", "known formats: clip, coco"]),
        ("convert a b --keypoint-scale inches", &["known scales: pixels, unit, signed"]),
        ("convert a b --size 10", &["--size"]),
        ("convert a b --fps 0", &["--fps must be more than 0, got 0"]),
        ("convert a b --fps nan", &["--fps must be more than 0, got NaN"]),
        ("convert a b --greatest-confidence -1", &["--greatest-confidence must be more than 0, got -1"]),
    ];
    for (args, words) in cases {
        let run = run_line(root, args);
        run.error(2);
        assert!(says(&run.stderr, words), "{args}: {run:?}");
    }
    assert_eq!(contents(root), before);
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    for name in ["empty.jsonl", "empty.txt", "empty.pkl", "empty.json", "empty.npz", "empty.skeleton"] {
        fs::write(root.join(name), "").unwrap();
    }
    fs::create_dir(root.join("folder")).unwrap();
    let before = contents(root);
    let train = "train --data train.jsonl --label-map labels.txt";
    let cases: &[(String, &[&str])] = &[
        ("train --data none.jsonl --label-map labels.txt".into(), &["none.jsonl: ", "; check the path"]),
        ("train --data train.jsonl --label-map none.txt".into(), &["none.txt: ", "; check the path"]),
        (
            "train --data empty.jsonl --label-map labels.txt".into(),
            &["empty.jsonl: is empty; one JSON object"],
        ),
        ("train --data folder --label-map labels.txt".into(), &["folder: ", "; check the path"]),
        (
            "train --data train.jsonl --label-map empty.txt".into(),
            &["empty.txt:1: 0 class; name at least two"],
        ),
        (format!("{train} --test none.jsonl"), &["none.jsonl: ", "; check the path"]),
        (format!("{train} --test test.jsonl --ground-truth none.jsonl"), &["none.jsonl: ", "check the path"]),
        (format!("{train} --test test.jsonl --ground-truth empty.jsonl"), &["empty.jsonl: is empty"]),
        (format!("{train} --device metal"), &["--features metal", "--device cpu"]),
        (
            "detect --data train.jsonl --checkpoint none".into(),
            &["none/best.safetensors: ", "check the path"],
        ),
        ("explain --checkpoint folder".into(), &["folder/best.safetensors: ", "check the path"]),
        (
            "evaluate --detections none.jsonl --ground-truth truth.jsonl".into(),
            &["none.jsonl: ", "check the path"],
        ),
        (
            "evaluate --detections truth.jsonl --ground-truth none.pkl".into(),
            &["none.pkl: ", "check the path"],
        ),
        ("evaluate --detections empty.jsonl --ground-truth truth.jsonl".into(), &["empty.jsonl: is empty"]),
        ("evaluate --detections empty.jsonl --ground-truth empty.pkl".into(), &["empty.pkl: "]),
        ("convert none out.jsonl".into(), &["none: ", "; check the path"]),
        (
            "convert folder out.jsonl".into(),
            &["folder: is in no format that is known; name one of clip, coco"],
        ),
        ("convert labels.txt out.jsonl".into(), &["labels.txt: is in no format that is known"]),
        ("convert empty.jsonl out.jsonl".into(), &["empty.jsonl: is empty"]),
        ("convert empty.pkl out.jsonl".into(), &["empty.pkl: "]),
        ("convert empty.json out.jsonl --format coco".into(), &["empty.json"]),
        ("convert empty.json out.jsonl --format kinetics".into(), &["empty.json"]),
        ("convert empty.npz out.jsonl".into(), &["empty.npz: "]),
        ("convert empty.skeleton out.jsonl".into(), &["empty.skeleton"]),
        (
            "convert train.jsonl out.pkl --to-format pyskl".into(),
            &["out.pkl: the format `pyskl` is only read"],
        ),
        ("convert train.jsonl none/out.jsonl".into(), &["none/out.jsonl: ", "check that its folder exists"]),
        ("convert train.jsonl folder".into(), &["folder: "]),
    ];
    for (args, words) in cases {
        if args.contains("metal") && cfg!(feature = "metal") {
            continue;
        }
        let run = run_line(root, args);
        let error = run.error(1);
        assert!(says(error, words), "{args}: {error}");
    }
    assert_eq!(contents(root), before);
}

/// Lines of clips that are wrong, and what is said after the place.
fn broken_lines() -> Vec<(&'static str, String, &'static str)> {
    let with = |change: fn(&mut Value)| changed("x", change).to_string();
    let text = clip("x", "wave").to_string();
    let number = |number: &str| text.replacen("0.9", number, 1);
    vec![
        ("no JSON", "{".into(), "EOF while parsing an object (column 1); correct the line"),
        ("NaN", number("NaN"), "expected value"),
        ("1e999", number("1e999"), "number out of range"),
        (
            "a confidence above 1",
            number("1.5"),
            "keypoint 0 of instance 0 has confidence 1.5; bring it into [0, 1]",
        ),
        ("a list", "[1]".into(), "invalid"),
        (
            "a text for a number",
            with(|clip| clip["width"] = json!("160")),
            "invalid type: string \"160\", expected u32",
        ),
        (
            "a negative frame",
            with(|clip| clip["instances"][0]["frame"] = json!(-1)),
            "invalid value: integer `-1`",
        ),
        (
            "a fraction of a frame",
            with(|clip| clip["frames"] = json!(1.5)),
            "invalid type: floating point `1.5`",
        ),
        (
            "keypoints of two numbers",
            with(|clip| clip["instances"][0]["keypoints"] = json!([[1, 2]])),
            "invalid length 2",
        ),
        (
            "no instances",
            r#"{"id": "x", "width": 1, "height": 1, "frames": 1}"#.into(),
            "missing field `instances`",
        ),
        ("no name", with(|clip| clip["id"] = json!("")), "`id` is empty; name the video"),
        ("no area", with(|clip| clip["height"] = json!(0)), "the image is 160 x 0; give its size in pixels"),
        ("no frames", with(|clip| clip["frames"] = json!(0)), "`frames` is 0; count the frames"),
        (
            "frames without end",
            with(|clip| clip["frames"] = json!(1_u64 << 62)),
            "`frames` is 4611686018427387904; cut the video to at most",
        ),
        (
            "a frame beyond",
            with(|clip| clip["frames"] = json!(5)),
            "instance 10 is in frame 5 of 5; frames count from 0",
        ),
        ("no rate", with(|clip| clip["fps"] = json!(0)), "`fps` is 0; give a number above 0"),
        (
            "no joints",
            with(|clip| clip["instances"][1]["keypoints"] = json!([])),
            "instance 1 has no keypoints",
        ),
        (
            "joints of another number",
            with(|clip| clip["instances"][1]["keypoints"] = json!([[1, 2, 0.5]])),
            "instance 1 has 1 keypoints, the first has 17",
        ),
        (
            "a box that ends before it starts",
            with(|clip| clip["instances"][0]["box"] = json!([9, 0, 1, 5])),
            "the box of instance 0 is [9, 0, 1, 5]; give x0 <= x1",
        ),
        (
            "a name that is taken",
            clip("a0", "wave").to_string(),
            "video `a0` is on line 1 too; remove one of them",
        ),
    ]
}

#[test]
fn a_line_that_is_wrong_stops_a_command_or_is_passed_over_by_name() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    let before = contents(root);
    let good: Vec<String> = clips_of("a", 4).iter().map(Value::to_string).collect();
    for (what, line, expected) in broken_lines() {
        fs::write(root.join("bad.jsonl"), format!("{}\n\n{line}\n{}\n", good[0], good[1..].join("\n")))
            .unwrap();
        let expected = format!("bad.jsonl:3: {expected}");
        let train = ["--data", "bad.jsonl", "--label-map", "labels.txt", "--out", "new"];
        let detect = "detect --checkpoint runs/train-1 --threads 1 --json --out new.jsonl --data bad.jsonl";
        let explain = "explain --checkpoint runs/train-1 --out new.html --data bad.jsonl";
        for run in [quick(root, train), run_line(root, detect), run_line(root, explain)] {
            let error = run.error(1);
            assert!(error.starts_with(&expected) && error.contains("; "), "{what}: {error}");
        }
        fs::remove_file(root.join("bad.jsonl")).unwrap();
        assert_eq!(contents(root), before, "{what}");
    }
    // What is passed over is told in the same words.
    let (_, line, expected) = &broken_lines()[3];
    fs::write(root.join("bad.jsonl"), format!("{}\n{line}\n{}\n", good[0], good[1..].join("\n"))).unwrap();
    let warning = format!(" WARN skipped: bad.jsonl:2: {expected}");
    let train = ["--data", "bad.jsonl", "--label-map", "labels.txt", "--out", "new", "--keep-going"];
    let lenient = quick(root, train);
    assert_eq!(lenient.json()["epochs"], 1);
    assert!(lenient.stderr.contains(&warning) && lenient.stderr.contains("; 4 training,"), "{lenient:?}");
    let detect = "detect --checkpoint runs/train-1 --json --out new.jsonl --keep-going --data bad.jsonl";
    let lenient = run_line(root, detect);
    let report = lenient.json();
    assert_eq!((&report["clips"], report["skipped"].as_array().unwrap().len()), (&4.into(), 1));
    assert!(lenient.stderr.contains(&warning), "{lenient:?}");
    assert_eq!(lines(&root.join("new.jsonl")).len(), 4);
    let text =
        run_line(root, "detect --checkpoint runs/train-1 --out new.jsonl --keep-going --data bad.jsonl");
    assert!(text.stdout.ends_with("; 1 clips skipped\n"), "{text:?}");

    fs::write(root.join("bad.jsonl"), "{\n").unwrap();
    for run in [quick(root, train), run_line(root, detect)] {
        assert!(says(run.error(1), &["bad.jsonl: no clip can be used for ", "; mend the clips named above"]));
    }
}

/// Clips that can be used, however little is in them.
fn poor_clips() -> Vec<(&'static str, Value)> {
    let one_frame = |clip: &mut Value| {
        clip["frames"] = json!(1);
        clip["instances"].as_array_mut().unwrap().truncate(2);
    };
    let one_person = |clip: &mut Value| {
        let instances = clip["instances"].as_array_mut().unwrap();
        *instances = instances.iter().step_by(2).cloned().collect();
    };
    let one_joint = |clip: &mut Value| {
        clip["frames"] = json!(1);
        let mut person = clip["instances"][0].clone();
        person["keypoints"].as_array_mut().unwrap()[1..].fill(json!([0, 0, 0]));
        clip["instances"] = json!([person]);
    };
    let crowd = |clip: &mut Value| {
        let person = clip["instances"][0].clone();
        clip["instances"].as_array_mut().unwrap().extend(vec![person; 40]);
    };
    let late = |clip: &mut Value| {
        clip["frames"] = json!(500);
        let instances = clip["instances"].as_array_mut().unwrap();
        instances.drain(2..);
        instances.iter_mut().for_each(|person| person["frame"] = json!(499));
    };
    vec![
        ("one frame", changed("one-frame", one_frame)),
        ("one person", changed("one-person", one_person)),
        ("one joint", changed("one-joint", one_joint)),
        ("more people than slots", changed("crowd", crowd)),
        ("people in the last frame only", changed("late", late)),
        (
            "a joint far outside",
            changed("far", |clip| clip["instances"][0]["keypoints"][0] = json!([9e9, -9e9, 1])),
        ),
    ]
}

#[test]
fn clips_with_little_in_them_are_trained_on_detected_in_and_evaluated() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    for (what, poor) in poor_clips() {
        let id = poor["id"].as_str().unwrap();
        let people = poor["instances"].as_array().unwrap().len();
        write_lines(&root.join("poor.jsonl"), std::slice::from_ref(&poor));
        write_lines(&root.join("poor-truth.jsonl"), &[truth(id, "wave")]);
        let data = "--data poor.jsonl --label-map labels.txt --val poor.jsonl --test poor.jsonl --ground-truth \
                    poor-truth.jsonl --synth batchmix --alpha 0.1 --people 2";
        let report = quick(root, data.split_whitespace()).json();
        assert_eq!(report["test_clips"], 1, "{what}");
        assert!(report["test_video_map_50"].is_number(), "{what}: {report}");
        assert!(
            report["test_instance_ap"].is_number() || id == "one-joint" || id == "late",
            "{what}: {report}"
        );

        let detect =
            "detect --checkpoint runs/train-1 --data poor.jsonl --out found.jsonl --json --min-length 1";
        assert_eq!(run_line(root, detect).json()["clips"], 1, "{what}");
        let found = lines(&root.join("found.jsonl"));
        assert_eq!(found[0]["instances"].as_array().unwrap().len(), people, "{what}");
        let evaluate = "evaluate --detections found.jsonl --ground-truth poor-truth.jsonl --json";
        assert!(run_line(root, evaluate).json()["video_map"]["0.5"]["trapezoid"].is_number(), "{what}");
        run_line(root, "explain --checkpoint runs/train-1 --data poor.jsonl").succeeded();
    }
}

#[test]
fn clips_without_anyone_are_not_trained_on_but_detected_in() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    let unseen = |clip: &mut Value| {
        for person in clip["instances"].as_array_mut().unwrap() {
            person["keypoints"].as_array_mut().unwrap().fill(json!([0, 0, 0]));
        }
    };
    let nobody = changed("nobody", |clip| clip["instances"] = json!([]));
    for (what, empty) in [("nobody", nobody), ("all-zero skeletons", changed("zeros", unseen))] {
        let id = empty["id"].as_str().unwrap();
        for split in ["data", "val", "test"] {
            let mut clips = clips_of("d", 3);
            clips.push(empty.clone());
            write_lines(&root.join("some.jsonl"), &clips);
            let mut args = vec!["--label-map", "labels.txt", "--out", "new"];
            let flag = format!("--{split}");
            args.extend([flag.as_str(), "some.jsonl"]);
            if split != "data" {
                args.extend(["--data", "train.jsonl"]);
            }
            let strict = quick(root, &args);
            let expected = format!("some.jsonl: clip `{id}` has nobody in it; leave it out");
            assert_eq!(strict.error(1), expected, "{what} in {split}");
            assert!(!root.join("new").exists());
            args.push("--keep-going");
            let lenient = quick(root, &args);
            lenient.succeeded();
            assert!(lenient.stderr.contains(&format!(" WARN skipped: {expected}")), "{what} in {split}");
            fs::remove_dir_all(root.join("new")).unwrap();
        }
        write_lines(&root.join("empty.jsonl"), std::slice::from_ref(&empty));
        let detect = "detect --checkpoint runs/train-1 --data empty.jsonl --out found.jsonl --json";
        assert_eq!(run_line(root, detect).json()["tubes"], 0);
        write_lines(&root.join("idle.jsonl"), &[json!({"id": id, "tubes": []})]);
        run_line(root, "evaluate --detections found.jsonl --ground-truth idle.jsonl --json").json();
        let drawn = run_line(root, "explain --checkpoint runs/train-1 --data empty.jsonl");
        assert_eq!(drawn.error(1), "no clip shows anyone; choose other --data");
        let named = format!("explain --checkpoint runs/train-1 --data empty.jsonl --clip {id}");
        assert_eq!(run_line(root, &named).error(1), format!("clip `{id}` shows nobody; choose another"));
    }
    let unknown = run_line(root, "explain --checkpoint runs/train-1 --data train.jsonl --clip z");
    assert_eq!(unknown.error(1), "no clip `z`; the first is `a0`");
    let unknown = run_line(root, "explain --checkpoint runs/train-1 --data train.jsonl --class sing");
    assert_eq!(unknown.error(1), "no class `sing`; the checkpoint knows wave, kick, jump");
    assert!(!root.join("explain.html").exists());
}

/// As another pose estimator would see the people.
fn of_five_joints(clip: &mut Value) {
    for person in clip["instances"].as_array_mut().unwrap() {
        person["keypoints"].as_array_mut().unwrap().truncate(5);
    }
}

#[test]
fn labels_and_clips_that_do_not_fit_together_are_refused() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    fs::write(root.join("doubles.txt"), "wave\nkick\n\nwave\n").unwrap();
    fs::write(root.join("one.txt"), "\nwave\n").unwrap();
    fs::write(root.join("latin.txt"), b"wave\nk\xfcck\n").unwrap();
    fs::write(root.join("two.txt"), "wave\nkick\n").unwrap();
    write_lines(&root.join("unlabelled.jsonl"), &[changed("x", |clip| clip["label"] = Value::Null)]);
    write_lines(&root.join("odd.jsonl"), &[clip("a\nb", "sing\r")]);
    write_lines(&root.join("short.jsonl"), &[changed("short", of_five_joints)]);
    write_lines(&root.join("other.jsonl"), &[clip("other", "wave")]);
    write_lines(&root.join("twice.jsonl"), &[clip("c3", "wave")]);
    write_lines(&root.join("sing.jsonl"), &[truth("c0", "sing")]);
    let before = contents(root);
    let cases: &[(&str, &str)] = &[
        (
            "--data train.jsonl --label-map doubles.txt",
            "doubles.txt:4: `wave` is already in line 1; remove one",
        ),
        ("--data train.jsonl --label-map one.txt", "one.txt:1: 1 class; name at least two, one a line"),
        ("--data train.jsonl --label-map latin.txt", "latin.txt:2: not UTF-8 text; save the file as UTF-8"),
        (
            "--data train.jsonl --label-map two.txt",
            "train.jsonl: clip `a2` has the label `jump`, which is not in the label map; add it there",
        ),
        (
            "--data odd.jsonl --label-map labels.txt",
            "odd.jsonl: clip `a\\nb` has the label `sing\\r`, which is not in the label map; add it there",
        ),
        (
            "--data unlabelled.jsonl --label-map labels.txt",
            "unlabelled.jsonl: clip `x` has no label; add \"label\", or leave it out",
        ),
        (
            "--data train.jsonl short.jsonl --label-map labels.txt",
            "short.jsonl: clip `short` has 5 joints a person, others have 17; use one pose estimator",
        ),
        (
            "--data train.jsonl --label-map labels.txt --test test.jsonl twice.jsonl",
            "twice.jsonl: clip `c3` is in test.jsonl too; remove or rename one",
        ),
        (
            "--data train.jsonl --label-map labels.txt --test other.jsonl --ground-truth truth.jsonl",
            "truth.jsonl: clip `other` is not annotated; annotate it (without tubes if idle), or leave it out of --test",
        ),
        (
            "--data train.jsonl --label-map labels.txt --test test.jsonl --ground-truth sing.jsonl",
            "sing.jsonl: clip `c0` has a tube with the label `sing`, which is not in the label map; add it there",
        ),
    ];
    for (args, expected) in cases {
        let run = quick(root, args.split_whitespace());
        let error = run.error(1);
        assert!(error.starts_with(expected), "{args}: {error}");
    }
    assert_eq!(contents(root), before);

    let lenient = "--data train.jsonl short.jsonl --label-map labels.txt --test test.jsonl other.jsonl twice.jsonl \
                   --ground-truth truth.jsonl --keep-going";
    let run = quick(root, lenient.split_whitespace());
    assert_eq!(run.json()["test_clips"], 6);
    for skipped in ["short.jsonl: clip `short`", "truth.jsonl: clip `other`", "twice.jsonl: clip `c3`"] {
        assert!(run.stderr.contains(&format!(" WARN skipped: {skipped}")), "{run:?}");
    }
}

#[test]
fn pickles_that_are_broken_or_hostile_are_refused_in_one_line() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let convert = |name: &Path| run(root, [Path::new("convert"), name, Path::new("out.jsonl")]);
    // A length of 2^63 bytes, of 4 GiB, a memo that is not there, a global, an empty stack.
    let hostile: &[(&str, &[u8])] = &[
        ("long.pkl", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f."),
        ("binary.pkl", b"\x80\x04B\xff\xff\xff\xff."),
        ("memo.pkl", b"\x80\x04j\xff\xff\xff\xff."),
        ("system.pkl", b"cos\nsystem\n(S'touch executed'\ntR."),
        ("stack.pkl", b"\x80\x04."),
        ("text.pkl", b"hello"),
    ];
    for (name, bytes) in hostile {
        fs::write(root.join(name), bytes).unwrap();
        let run = convert(Path::new(name));
        assert!(run.error(1).starts_with(&format!("{name}: ")), "{run:?}");
    }
    for name in ["evil.pkl", "cycle.pkl"] {
        let run = convert(&sample(name));
        assert!(run.error(1).contains(&format!("{name}: ")), "{run:?}");
    }
    assert!(convert(&sample("evil.pkl")).error(1).contains("print"));
    let whole = fs::read(sample("skeletons_4.pkl")).unwrap();
    for length in [1, 2, whole.len() / 2, whole.len() - 1] {
        fs::write(root.join("cut.pkl"), &whole[..length]).unwrap();
        let run = convert(Path::new("cut.pkl"));
        assert!(run.error(1).starts_with("cut.pkl: "), "{run:?}");
    }
    for line in fs::read_to_string(sample("broken.txt")).unwrap().lines() {
        let (name, expected) = line.split_once(": ").unwrap();
        let run = convert(&sample(name));
        assert!(run.error(1).ends_with(expected), "{name}: {run:?}");
    }
    let swapped = convert(&sample("swapped.pkl"));
    assert!(says(swapped.error(1), &["swapped.pkl", "(`v`)", "seem swapped, say which comes first"]));
    assert!(!root.join("out.jsonl").exists() && !root.join("executed").exists());
    let turned =
        [Path::new("convert"), &sample("swapped.pkl"), Path::new("out.jsonl"), Path::new("--width-first")];
    run(root, turned).succeeded();
    assert_eq!((&lines(&root.join("out.jsonl"))[0]["width"], 1), (&320.into(), 1));

    for line in fs::read_to_string(sample("ucf101.txt")).unwrap().lines() {
        let (name, expected) = line.split_once(": ").unwrap();
        let truth = sample(name);
        let args = ["evaluate", "--detections", "none.jsonl", "--ground-truth", truth.to_str().unwrap()];
        let run = run(root, args);
        assert!(run.error(1).ends_with(expected), "{name}: {run:?}");
    }
}

#[test]
fn tubes_and_detections_that_are_wrong_are_refused_or_passed_over() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let found = |id: &str| {
        json!({"id": id, "frames": 10, "classes": CLASSES,
               "instances": [{"frame": 0, "box": [28, 36, 42, 82], "scores": [0.5, 0.25, 0.25]}],
               "tubes": [{"label": "wave", "score": 0.5, "start": 0, "boxes": vec![[28, 36, 42, 82]; 10]}]})
    };
    let with = |change: fn(&mut Value)| {
        let mut found = found("x");
        change(&mut found);
        found.to_string()
    };
    write_lines(&root.join("truth.jsonl"), &[truth("c0", "wave"), truth("x", "wave")]);
    let detections: &[(String, &str)] = &[
        ("{".into(), "found.jsonl:2: EOF"),
        (
            with(|video| video["tubes"][0]["score"] = json!("high")),
            "found.jsonl:2: invalid type: string \"high\"",
        ),
        (
            with(|video| video["instances"][0]["scores"] = json!([0.5])),
            "found.jsonl:2: instance 0: 1 scores for 3 classes; give one",
        ),
        (
            with(|video| video["instances"][0]["frame"] = json!(10)),
            "found.jsonl:2: instance 0: frame 10 of a video of 10",
        ),
        (with(|video| video["instances"][0]["scores"][0] = Value::Null), "found.jsonl:2: invalid type: null"),
        (
            with(|video| video["tubes"][0]["boxes"] = json!([])),
            "found.jsonl:2: tube 0: ends before it starts; give it a box",
        ),
        (
            with(|video| video["tubes"][0]["start"] = json!(5)),
            "found.jsonl:2: tube 0: reaches frame 14 of a video of 10",
        ),
        (
            with(|video| video["tubes"][0]["label"] = json!("sing")),
            "found.jsonl:2: tube 0: label `sing` is not among `classes`",
        ),
        (
            with(|video| video["tubes"][0]["boxes"][3] = json!([5, 5, 1, 9])),
            "found.jsonl:2: tube 0: frame 3: box",
        ),
        (
            with(|video| video["classes"] = json!(["wave", "wave"])),
            "found.jsonl:2: class `wave` is in `classes` twice",
        ),
        (found("c0").to_string(), "found.jsonl:2: video `c0` is on line 1 too; remove one of them"),
        (found("z").to_string(), "found.jsonl: video `z` has detections but no ground truth; annotate it"),
    ];
    let evaluate = "evaluate --detections found.jsonl --ground-truth truth.jsonl --json";
    for (line, expected) in detections {
        fs::write(root.join("found.jsonl"), format!("{}\n{line}\n", found("c0"))).unwrap();
        let strict = run_line(root, evaluate);
        assert!(strict.error(1).starts_with(expected), "{strict:?}");
        let lenient = run_line(root, &format!("{evaluate} --keep-going")).json();
        let skipped = lenient["skipped"].as_array().unwrap();
        let place = expected.split(": ").next().unwrap();
        assert!(skipped.len() == 1 && skipped[0].as_str().unwrap().starts_with(place), "{lenient}");
        assert_eq!(lenient["classes"]["wave"]["ground_truth"], 2);
        let text =
            run_line(root, "evaluate --detections found.jsonl --ground-truth truth.jsonl --keep-going");
        text.succeeded();
        assert_eq!(text.stderr.matches(" WARN skipped: found.jsonl").count(), 1, "{text:?}");
    }

    write_lines(&root.join("found.jsonl"), &[found("c0")]);
    let tube = |tube: &str| format!(r#"{{"id": "x", "tubes": [{tube}]}}"#);
    let truths: &[(String, &str)] = &[
        (
            tube(r#"{"label": "wave", "start": 0, "boxes": []}"#),
            "tube 0: ends before it starts; give it a box",
        ),
        (tube(r#"{"label": "wave", "start": -1, "boxes": [[0, 0, 1, 1]]}"#), "invalid value: integer `-1`"),
        (tube(r#"{"label": "wave", "start": 0}"#), "missing field `boxes`"),
        (
            tube(r#"{"label": "wave", "start": 0, "boxes": [[3, 0, 1, 1]]}"#),
            "tube 0: frame 0: box [3.0, 0.0, 1.0, 1.0] ends",
        ),
        (tube(r#"{"label": "wave", "start": 0, "boxes": [[0, 0, 1e999, 1]]}"#), "number out of range"),
        (tube(r#"{"label": 1, "start": 0, "boxes": [[0, 0, 1, 1]]}"#), "invalid type: integer `1`"),
        (truth("c0", "wave").to_string(), "video `c0` is on line 1 too"),
    ];
    for (line, expected) in truths {
        fs::write(root.join("truth.jsonl"), format!("{}\n{line}\n", truth("c0", "wave"))).unwrap();
        let strict = run_line(root, evaluate);
        assert!(strict.error(1).starts_with(&format!("truth.jsonl:2: {expected}")), "{strict:?}");
        let lenient = run_line(root, &format!("{evaluate} --keep-going")).json();
        assert_eq!(lenient["skipped"].as_array().unwrap().len(), 1);
        assert_eq!(lenient["video_map"]["0.5"]["trapezoid"], 1.0, "{lenient}");
    }
    write_lines(&root.join("truth.jsonl"), &[truth("y", "wave")]);
    let none = run_line(root, &format!("{evaluate} --keep-going"));
    assert!(none.error(1).starts_with("found.jsonl: no video is left to measure; "), "{none:?}");

    write_lines(&root.join("truth.jsonl"), &[truth("c0", "Wave")]);
    let unknown = run_line(root, evaluate);
    assert_eq!(unknown.json()["video_map"]["0.5"]["trapezoid"], 0.0);
    let warning = " WARN class `Wave` is annotated, but among no detections; is it spelt differently?\n";
    assert!(unknown.stderr.ends_with(warning), "{unknown:?}");
}

#[test]
fn clips_of_another_pose_estimator_are_not_for_the_network() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    let clips: Vec<Value> = (0..6).map(|index| changed(&format!("s{index}"), of_five_joints)).collect();
    write_lines(&root.join("short.jsonl"), &clips);
    let reason = "short.jsonl: clip `s0` has 5 joints a person, the network was trained on 17; use the same pose estimator";
    for command in ["detect --out new.jsonl", "explain --out new.html"] {
        let run =
            run_line(root, &format!("{command} --data test.jsonl short.jsonl --checkpoint runs/train-1"));
        assert_eq!(run.error(1), reason, "{run:?}");
    }
    let lenient = "detect --data test.jsonl short.jsonl --checkpoint runs/train-1 --keep-going --json";
    let report = run_line(root, lenient).json();
    assert_eq!((report["clips"].clone(), report["skipped"].as_array().unwrap().len()), (6.into(), 6));

    let train = "train --data short.jsonl --label-map labels.txt --epochs 1 --dim 4 --frames 4 --out other";
    assert_eq!(run_line(root, train).code, Some(0));
    let run = run_line(root, "explain --checkpoint other/short-1 --out new.html");
    let expected = "the embedded set has 17 joints a person, the network was trained on 5; add --data";
    assert_eq!(run.error(1), expected, "{run:?}");
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_another_program_is_refused() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let dir = trained(root);
    let best = dir.join("best.safetensors");
    let whole = fs::read(&best).unwrap();
    let before = contents(root);
    let both = |expected: &str| {
        for args in [
            "detect --data test.jsonl --checkpoint runs/train-1 --out new.jsonl",
            "explain --data test.jsonl --checkpoint runs/train-1 --out new.html",
            "explain --checkpoint runs/train-1/best.safetensors --out new.html",
        ] {
            let run = run_line(root, args);
            assert!(run.error(1).starts_with(expected), "{args}: {run:?}");
        }
    };
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&best, &whole[..length]).unwrap();
        both("runs/train-1/best.safetensors: truncated or not a checkpoint");
    }
    fs::write(&best, &whole).unwrap();

    type Described = About<SkpSpec>;
    let (tensors, about) = checkpoint::load::<Described>(&best).unwrap();
    let save = |tensors: &_, about: &Described| checkpoint::save(&best, tensors, about).unwrap();
    save(&tensors, &About { program: "pg-wsol".into(), ..about.clone() });
    both("runs/train-1/best.safetensors: weights of a run of pg-wsol; use that program with them");
    save(&tensors, &About { classes: vec!["wave".into()], ..about.clone() });
    both("runs/train-1/best.safetensors: 1 class names for 3 scores; ");
    save(&tensors, &About { model: SkpSpec { dim: 16, ..about.model.clone() }, ..about.clone() });
    both("runs/train-1/best.safetensors: weights do not fit");
    save(&tensors, &About { model: SkpSpec { dim: 1 << 40, ..about.model.clone() }, ..about.clone() });
    both("runs/train-1/best.safetensors: ");
    let mut spoilt = tensors.clone();
    spoilt.insert("head.bias".into(), Tensor::new(&[f32::NAN, 0.0, 0.0], &Device::Cpu).unwrap());
    save(&spoilt, &about);
    both("runs/train-1/best.safetensors: weight `head.bias` holds NaN or infinity");
    fs::write(&best, &whole).unwrap();

    let args = dir.join("args.toml");
    let settings = fs::read_to_string(&args).unwrap();
    for (text, expected) in [
        (
            settings.replace("frames = 4", "frames = 0"),
            "runs/train-1/args.toml: --frames must be from 1 to 4096, got 0",
        ),
        (
            settings.replace("frames = 4", "frames = \"4\""),
            "runs/train-1/args.toml: not the settings of a run",
        ),
        ("epochs = 1\n".into(), "runs/train-1/args.toml: not the settings of a run (missing field"),
    ] {
        fs::write(&args, text).unwrap();
        both(expected);
    }
    fs::remove_file(&args).unwrap();
    both("runs/train-1/args.toml: not a run directory");
    fs::write(&args, settings).unwrap();
    assert_eq!(contents(root), before);
    let state = run_line(root, "detect --data test.jsonl --checkpoint runs/train-1/state.safetensors");
    assert!(state.error(1).contains("state.safetensors: not a checkpoint of this program"), "{state:?}");
}

#[test]
fn resuming_asks_for_a_run_and_takes_no_settings() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let dir = trained(root);
    let before = contents(root);
    for (args, code, words) in [
        ("--resume none", 1, &["none: no such run directory; check the path"][..]),
        ("--resume .", 1, &["args.toml: not a run directory that can be resumed"]),
        ("--resume runs/train-1 --epochs 3", 2, &["--epochs cannot change", "begin a new run"]),
        ("--resume runs/train-1 --alpha 0.1", 2, &["--alpha cannot change"]),
        ("--resume runs/train-1 --linking act", 2, &["--linking cannot change"]),
        ("--resume runs/train-1 --data train.jsonl", 2, &["--data cannot change"]),
        ("--resume runs/train-1 --out x", 2, &["--out", "--resume"]),
        ("--resume runs/train-1 --config x", 2, &["--config", "--resume"]),
    ] {
        let run = run_line(root, &format!("train {args}"));
        let error = run.error(code);
        assert!(says(error, words), "{args}: {error}");
    }
    assert_eq!(contents(root), before);
    let state = fs::read(dir.join("state.safetensors")).unwrap();
    fs::write(dir.join("state.safetensors"), &state[..state.len() / 2]).unwrap();
    let cut = run_line(root, "train --resume runs/train-1");
    assert!(
        cut.error(1).starts_with("runs/train-1/state.safetensors: truncated or not a checkpoint"),
        "{cut:?}"
    );
    fs::write(dir.join("state.safetensors"), &state).unwrap();

    // The clips are read again, and have to be the same.
    write_lines(&root.join("train.jsonl"), &clips_of("other", 7));
    let other = run_line(root, "train --resume runs/train-1");
    assert!(other.error(1).contains("training"), "{other:?}");
}

#[test]
fn output_that_cannot_be_written_is_one_line_and_leaves_nothing() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    fs::create_dir(root.join("folder")).unwrap();
    let before = contents(root);
    for (args, expected) in [
        ("detect --data test.jsonl --checkpoint runs/train-1 --out none/x.jsonl", "none/x.jsonl: "),
        ("detect --data test.jsonl --checkpoint runs/train-1 --out folder", "folder: "),
        ("detect --data test.jsonl --checkpoint runs/train-1 --out labels.txt/x", "labels.txt/x: "),
        ("explain --checkpoint runs/train-1 --count 1 --out none/x.html", "none/x.html: "),
        ("explain --checkpoint runs/train-1 --count 1 --out folder", "folder: "),
        ("train --data train.jsonl --label-map labels.txt --epochs 1 --out labels.txt", "labels.txt"),
        ("convert train.jsonl labels.txt/x.json --to-format coco", "labels.txt"),
        ("convert train.jsonl labels.txt --to-format openpose", "labels.txt"),
    ] {
        let run = run_line(root, args);
        assert!(run.error(1).starts_with(expected), "{args}: {run:?}");
    }
    assert_eq!(contents(root), before);
    assert!(DATA.iter().filter(|word| word.ends_with(".jsonl")).all(|file| root.join(file).exists()));
}
