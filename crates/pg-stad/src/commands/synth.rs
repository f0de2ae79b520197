//! Writes the embedded set.

use std::path::PathBuf;

use anyhow::Result;
use pg_cli::output::{make_folder, say};
use pg_embedded::{SkeletonSet, SkeletonSpec};
use pg_random::Seed;
use serde_json::json;

/// Writes train.jsonl, val.jsonl, test.jsonl, truth-val.jsonl, truth-test.jsonl and labels.txt.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for the files.
    #[arg(long, value_name = "DIR", default_value = "example")]
    out: PathBuf,
    /// Seed of the clips; those that `train` draws by itself have 0.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object as the last line of standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let set = SkeletonSet::generate(&SkeletonSpec::default(), Seed(args.seed))?;
    make_folder(&args.out)?;
    set.write(&args.out)?;
    let folder = args.out.display();
    let [train, val, test] = [&set.train, &set.val, &set.test].map(Vec::len);
    if args.json {
        return say(json!({"folder": folder.to_string(), "train": train, "val": val, "test": test}));
    }
    say(format_args!("{train} training, {val} validation and {test} test clips written to {folder}"))
}
