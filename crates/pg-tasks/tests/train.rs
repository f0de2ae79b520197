//! The loop against the same run in scalars.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test may panic, and what is saved comes back bit-equal"
)]

mod support;

use pg_tasks::checkpoint;
use pg_tasks::results::Results;
use pg_tasks::run_dir::RunDir;
use pg_tasks::train::{Ending, TrainError};
use support::{BATCHES, LR, Toy, number, plan, slope, tensors};

fn run_dir(folder: &tempfile::TempDir) -> RunDir {
    RunDir::create(folder.path(), "toy").unwrap()
}

fn close(ours: f64, expected: f64) {
    assert!((ours - expected).abs() < 1e-12, "{ours} != {expected}");
}

/// w after two epochs whose batches make one step in groups of `accumulate`, without those of `skipped`.
fn trained(accumulate: usize, skipped: &[(usize, usize)]) -> f64 {
    let per_epoch = BATCHES.div_ceil(accumulate);
    let mut w = 1.0;
    for epoch in 0..2 {
        for group in 0..per_epoch {
            let batches = group * accumulate..BATCHES.min((group + 1) * accumulate);
            let left: Vec<f64> =
                batches.filter(|&b| !skipped.contains(&(epoch, b))).map(|b| slope(epoch, b) + w).collect();
            if !left.is_empty() {
                let gradient = left.iter().sum::<f64>() / left.len() as f64;
                w -= LR * plan(per_epoch).multiplier(epoch * per_epoch + group) * gradient;
            }
        }
    }
    w
}

/// Five batches in twos are three steps an epoch, and it is these that the schedule counts.
#[test]
fn the_learning_rate_advances_by_optimiser_steps() {
    for accumulate in [1, 2, 3, 5, 7] {
        let folder = tempfile::tempdir().unwrap();
        let (dir, toy) = (run_dir(&folder), Toy::new(&[]));
        toy.setup(&dir, accumulate, None).start().unwrap().run().unwrap();
        close(toy.w(), trained(accumulate, &[]));
        let per_epoch = BATCHES.div_ceil(accumulate);
        let logged = Results::read(&dir.file("results.csv")).unwrap().series("lr");
        for (epoch, lr) in logged {
            close(lr, LR * plan(per_epoch).multiplier(epoch * per_epoch - 1));
        }
    }
}

#[test]
fn running_statistics_are_averaged_with_the_weights_they_belong_to() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, toy) = (run_dir(&folder), Toy::new(&[]));
    toy.setup(&dir, 1, Some(0.5)).start().unwrap().run().unwrap();

    let (mut w, mut mean) = (1.0, 0.0);
    let (mut average, mut validated) = ((w, mean), Vec::new());
    for epoch in 0..2 {
        for batch in 0..BATCHES {
            mean = 0.9 * mean + 0.1 * slope(epoch, batch);
            w -= LR * plan(BATCHES).multiplier(epoch * BATCHES + batch) * (slope(epoch, batch) + w);
            average = (0.5 * average.0 + 0.5 * w, 0.5 * average.1 + 0.5 * mean);
        }
        validated.push(average);
    }
    for (ours, expected) in toy.validated.borrow().iter().zip(&validated) {
        close(ours.0, expected.0);
        close(ours.1, expected.1);
    }
    // The averages are kept, and training goes on from the values themselves.
    let kept = tensors(&dir.file("best.safetensors"));
    close(number(&kept["w"]), average.0);
    close(number(&kept["mean"]), average.1);
    assert_eq!(kept["count"].to_vec1::<i64>().unwrap(), [10]);
    close(toy.mean(), mean);
}

#[test]
fn a_batch_without_samples_is_passed_over() {
    for (accumulate, skipped) in
        [(1, &[(0, 0), (1, 4)][..]), (2, &[(0, 1), (0, 4), (1, 0), (1, 1)]), (2, &[(0, 0), (1, 2), (1, 3)])]
    {
        let folder = tempfile::tempdir().unwrap();
        let (dir, toy) = (run_dir(&folder), Toy::new(skipped));
        let outcome = toy.setup(&dir, accumulate, None).start().unwrap().run().unwrap();
        assert_eq!((outcome.ending, outcome.epochs), (Ending::Completed, 2));
        close(toy.w(), trained(accumulate, skipped));
    }
}

#[test]
fn the_losses_of_a_run_are_those_of_its_last_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, mut toy) = (run_dir(&folder), Toy::new(&[]));
    toy.guided_until = BATCHES as u64;
    let outcome = toy.setup(&dir, 1, None).start().unwrap().run().unwrap();
    let results = Results::read(&dir.file("results.csv")).unwrap();
    assert_eq!(results.series("loss_pg"), [(1, 0.5)]);
    assert!(outcome.loss_pg.is_nan(), "{} is of the first epoch", outcome.loss_pg);
    assert_eq!(outcome.loss_cls, results.series("loss_cls")[1].1);
}

#[test]
fn an_epoch_without_samples_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<(usize, usize)> = (0..BATCHES).map(|batch| (1, batch)).collect();
    let (dir, toy) = (run_dir(&folder), Toy::new(&all));
    let error = toy.setup(&dir, 1, None).start().unwrap().run().unwrap_err();
    assert!(matches!(error, TrainError::NoSamples { epoch: 2 }), "{error}");
}

#[test]
fn divergence_is_told_by_epoch_and_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, mut toy) = (run_dir(&folder), Toy::new(&[]));
    let w = toy.params.vars()["w"].clone();
    toy.during = Box::new(move |step| {
        if step == BATCHES as u64 + 2 {
            w.set(&(w.as_tensor() * f64::NAN).unwrap()).unwrap();
        }
    });
    let error = toy.setup(&dir, 1, None).start().unwrap().run().unwrap_err().to_string();
    assert!(error.starts_with("epoch 2, batch 3: L_cls is not finite; "), "{error}");

    // The loss is finite, its gradient slope + w is not: the step after two batches meets it.
    let mut toy = Toy::new(&[]);
    toy.overflows_at = Some(BATCHES as u64 + 2);
    let error = toy.setup(&dir, 2, None).start().unwrap().run().unwrap_err().to_string();
    assert!(error.starts_with("epoch 2, batch 4: the gradient of w is not finite; "), "{error}");
}

#[test]
fn a_run_does_not_go_on_with_other_data() {
    let folder = tempfile::tempdir().unwrap();
    let dir = run_dir(&folder);
    let toy = Toy::new(&[]);
    toy.setup(&dir, 1, None).start().unwrap().run().unwrap();

    let mut other = Toy::new(&[]);
    other.samples.push("c");
    let error = other.setup(&dir, 1, None).resume().map(drop).unwrap_err().to_string();
    let expected = "state.safetensors: the data changed since the run began (training samples: 3 instead of 2); \
                    restore them, or begin a new run";
    assert!(error.ends_with(expected), "{error}");
    assert_eq!(other.w(), 1.0, "nothing was loaded");

    let same = Toy::new(&[]);
    same.setup(&dir, 1, None).resume().unwrap().run().unwrap();
    assert_eq!(same.w(), toy.w());
}

#[test]
fn seconds_of_an_earlier_process_count() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, toy) = (run_dir(&folder), Toy::new(&[]));
    drop(toy.setup(&dir, 1, None).start().unwrap());
    let path = dir.file("state.safetensors");
    let (tensors, mut state) = checkpoint::load::<serde_json::Value>(&path).unwrap();
    state["sums"]["seconds"] = 1000.0.into();
    checkpoint::save(&path, &tensors, &state).unwrap();
    toy.setup(&dir, 1, None).resume().unwrap().run().unwrap();
    let seconds = Results::read(&dir.file("timings.csv")).unwrap().series("seconds");
    assert!(seconds[0].1 > 1000.0 && seconds[1].1 < 1000.0, "{seconds:?}");
}
