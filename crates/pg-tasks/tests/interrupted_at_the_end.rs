//! Ctrl-C in the epoch in which patience runs out. The wish to stop belongs to the process, so this is a process of its
//! own.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use pg_tasks::run_dir::RunDir;
use pg_tasks::train::Ending;
use support::{BATCHES, Toy, hear_ctrl_c, press_ctrl_c};

#[test]
fn a_run_that_is_over_was_not_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let dir = RunDir::create(folder.path(), "toy").unwrap();
    let interrupt = hear_ctrl_c();
    let mut toy = Toy::new(&[]);
    toy.selection = Some(0.5);
    // In the last batch of the second epoch, which does not improve on the first.
    toy.during = Box::new(move |step| {
        if step == 2 * BATCHES as u64 - 1 {
            press_ctrl_c(interrupt);
        }
    });
    let mut setup = toy.setup(&dir, 1, None);
    (setup.options.epochs, setup.options.patience) = (3, Some(1));
    let outcome = setup.start().unwrap().interruptible(interrupt).run().unwrap();
    assert_eq!((outcome.ending, outcome.epochs), (Ending::EarlyStopped, 2));
}
