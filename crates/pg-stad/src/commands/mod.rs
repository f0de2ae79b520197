//! The commands, one a file.

pub(crate) mod convert;
pub(crate) mod detect;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod synth;
pub(crate) mod train;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device};
use pg_cli::About;
use pg_models::{Skp, SkpSpec};
use pg_random::Seed;
use pg_skeleton::Clip;
use pg_stad::linking::{LinkConfig, LinkingName};
use pg_stad::settings::Config;

/// What weights files call this program.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Refuses a place for a file whose folder is not there, before hours of work for it.
fn check_folder(file: &Path) -> Result<()> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            bail!("{}: {} is no folder; make it, or name another file", file.display(), folder.display())
        }
        _ => Ok(()),
    }
}

/// Says that no tube can come of clips without tracks, if they are to be linked by these.
fn warn_without_tracks<'a>(link: &LinkConfig, clips: impl IntoIterator<Item = &'a Clip>) {
    let mut people = clips.into_iter().flat_map(|clip| &clip.instances).peekable();
    let waits = link.linking == LinkingName::Tracks && people.peek().is_some();
    if waits && people.all(|person| person.track.is_none()) {
        tracing::warn!("--linking tracks: nobody in the clips has a `track`, so that there will be no tubes");
    }
}

/// A trained network, and what is known of its run.
struct Checkpoint {
    skp: Skp,
    about: About<SkpSpec>,
    config: Config,
}

impl Checkpoint {
    /// The selected weights of a run directory, or the weights in one of its files.
    fn open(path: &Path, device: &Device) -> Result<Self> {
        let (dir, weights) = match path.parent() {
            Some(dir) if path.is_file() => (dir, path.to_owned()),
            _ => (path, path.join("best.safetensors")),
        };
        let (tensors, about) = About::<SkpSpec>::load(&weights, PROGRAM)?;
        let settings = dir.join("args.toml");
        let config: Config = pg_cli::read_run(&settings)?;
        // The values of a file that was changed are no fault of the flags.
        if let Err(error) = config.check() {
            bail!("{}: {error}", settings.display());
        }
        let (named, scored) = (about.classes.len(), about.model.classes);
        ensure!(
            named == scored,
            "{}: {named} class names for {scored} scores; use an earlier one",
            weights.display()
        );
        let skp = Skp::new(about.model.clone(), Seed(0), DType::F32, device)
            .and_then(|skp| skp.params().load(&tensors).map(|_| skp))
            .with_context(|| weights.display().to_string())?;
        Ok(Self { skp, about, config })
    }
}
