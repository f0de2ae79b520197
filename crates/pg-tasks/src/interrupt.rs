//! Ctrl-C: once to save and stop, twice to stop at once.

use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the first signal.
static REQUESTED: AtomicBool = AtomicBool::new(false);
/// Whether the handler is in place, and why not.
static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();

/// The exit status of a process that was ended by Ctrl-C, as shells report it.
const EXIT_STATUS: i32 = 130;

/// Ctrl-C cannot be caught.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Ctrl-C cannot be caught ({0}); an interrupted run would lose its last epoch")]
pub struct InterruptError(String);

/// The user's wish to stop. The flag belongs to the process: every value sees the same one.
#[derive(Clone, Copy, Debug)]
pub struct Interrupt(());

impl Interrupt {
    /// Catches Ctrl-C from now on: the first sets the flag, the second ends the process with status 130. May be
    /// called again. Where Ctrl-C is ignored (shells start background jobs of a script so) or caught by something else,
    /// it stays so, and a warning says that it will not stop the run.
    ///
    /// # Errors
    /// If the system refuses the handler.
    pub fn install() -> Result<Self, InterruptError> {
        let installed = INSTALLED.get_or_init(|| match ctrlc::try_set_handler(on_signal) {
            Err(ctrlc::Error::MultipleHandlers) => {
                tracing::warn!(
                    "Ctrl-C is ignored or caught elsewhere here: it will not save and stop the run"
                );
                Ok(())
            }
            other => other.map_err(|error| error.to_string()),
        });
        installed.clone().map(|()| Self(())).map_err(InterruptError)
    }

    /// Whether to save and stop.
    #[must_use]
    pub fn requested(self) -> bool {
        REQUESTED.load(Ordering::SeqCst)
    }
}

fn on_signal() {
    if REQUESTED.swap(true, Ordering::SeqCst) {
        process::exit(EXIT_STATUS);
    }
    tracing::warn!("stopping as soon as what is done is saved; press Ctrl-C again to stop at once");
}
