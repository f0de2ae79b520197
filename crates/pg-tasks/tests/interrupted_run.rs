//! A run that Ctrl-C stops within an epoch. The wish to stop belongs to the process, so this is a process of its own.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use pg_tasks::checkpoint;
use pg_tasks::run_dir::RunDir;
use pg_tasks::train::Ending;
use support::{BATCHES, Toy, hear_ctrl_c, press_ctrl_c};

/// With accumulation, an average and a skipped batch before the interruption: the rest must be what it would have been.
#[test]
fn it_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let skipped = [(0, 4), (1, 1)];
    let straight = RunDir::create(folder.path(), "straight").unwrap();
    Toy::new(&skipped).setup(&straight, 2, Some(0.9)).start().unwrap().run().unwrap();

    let dir = RunDir::create(folder.path(), "interrupted").unwrap();
    let interrupt = hear_ctrl_c();
    let mut toy = Toy::new(&skipped);
    // Batch 2 of epoch 1, counted from 0: the first of two that make a step.
    toy.during = Box::new(move |step| {
        if step == BATCHES as u64 + 2 {
            press_ctrl_c(interrupt);
        }
    });
    let trainer = toy.setup(&dir, 2, Some(0.9)).start().unwrap();
    let outcome = trainer.interruptible(interrupt).run().unwrap();
    assert_eq!((outcome.ending, outcome.epochs), (Ending::Interrupted, 1));
    let (_, state) = checkpoint::load::<serde_json::Value>(&dir.file("state.safetensors")).unwrap();
    assert_eq!((&state["sums"]["batches"], &state["sums"]["samples"]), (&4.into(), &6.into()));
    assert!(state["sums"]["seconds"].as_f64().unwrap() > 0.0);

    let again = Toy::new(&skipped).setup(&dir, 2, Some(0.9)).resume().unwrap().run().unwrap();
    assert_eq!((again.ending, again.epochs), (Ending::Completed, 2));
    for file in ["state.safetensors", "last.safetensors", "best.safetensors", "results.csv"] {
        let read = |dir: &RunDir| fs::read(dir.file(file)).unwrap();
        assert!(read(&dir) == read(&straight), "{file} differs");
    }
}
