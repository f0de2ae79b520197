//! The commands, one a file.

pub(crate) mod convert;
pub(crate) mod detect;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod train;

use std::path::{Path, PathBuf};

use anyhow::Result;
use candle_core::{DType, Device};
use pg_cli::About;
use pg_models::{Skp, SkpSpec};
use pg_random::Seed;
use pg_stad::settings::Config;

/// What weights files call this program.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// A trained network, and what is known of its run.
struct Checkpoint {
    skp: Skp,
    about: About<SkpSpec>,
    config: Config,
}

impl Checkpoint {
    /// The selected weights of a run directory.
    fn open(dir: &Path, device: &Device) -> Result<Self> {
        let path: PathBuf = dir.join("best.safetensors");
        let (tensors, about) = About::<SkpSpec>::load(&path, PROGRAM)?;
        let config: Config = pg_cli::read_run(&dir.join("args.toml"))?;
        let skp = Skp::new(about.model.clone(), Seed(0), DType::F32, device)?;
        skp.params().load(&tensors)?;
        Ok(Self { skp, about, config })
    }
}
