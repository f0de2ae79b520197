use pg_random::Stream;

use crate::{SynthError, Synthetic};

/// Makes training samples from sources and remembers which part came from which source.
pub trait Synthesiser {
    /// What is synthesised from: a [`Batch`](crate::Batch) for mixes, pairs of images for edits.
    type Input: ?Sized;
    /// What is known about the parts: [`Masks`](crate::Masks), or [`NoProvenance`](crate::NoProvenance).
    type Provenance;

    /// Synthesises one sample for each source. All randomness is drawn from `rng` before any work is shared
    /// among threads, so the result is the same for every number of threads.
    ///
    /// # Errors
    /// [`SynthError`] if the input or a parameter is unusable.
    fn synthesise(
        &self,
        input: &Self::Input,
        rng: &mut Stream,
    ) -> Result<Synthetic<Self::Provenance>, SynthError>;
}
