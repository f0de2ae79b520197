//! Results are bit-equal for any number of threads.

#![expect(clippy::unwrap_used, reason = "a failure to set a test up is a failed test")]

use image::{Rgb, RgbImage};
use pg_provenance::Extractor;
use pg_random::Seed;
use pg_synth::{
    Batch, CutMix, CutMixVariant, EditPair, Edits, Mixup, ResizeMix, ResizeMixVariant, Synthesiser, Synthetic,
};

fn synthesise<S>(synthesiser: &S, input: &S::Input, threads: usize) -> Synthetic<S::Provenance>
where
    S: Synthesiser + Sync,
    S::Input: Sync,
    S::Provenance: Send,
{
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| synthesiser.synthesise(input, &mut Seed(9).stream("threads", &[])).unwrap())
}

fn assert_invariant<S>(synthesiser: &S, input: &S::Input)
where
    S: Synthesiser + Sync,
    S::Input: Sync,
    S::Provenance: Send + PartialEq + std::fmt::Debug,
{
    let (one, four) = (synthesise(synthesiser, input, 1), synthesise(synthesiser, input, 4));
    let bits = |synthetic: &Synthetic<S::Provenance>| -> Vec<u32> {
        synthetic.pixels.iter().chain(&synthetic.lam).map(|value| value.to_bits()).collect()
    };
    assert_eq!(bits(&one), bits(&four));
    assert_eq!(one, four);
}

#[test]
fn mixes() {
    let pixels = (0..32 * 3 * 17 * 23).map(|v| (v as f32 * 0.37).sin()).collect();
    let batch = Batch::new(pixels, 3, 17, 23, (0..32).collect()).unwrap();
    for variant in [CutMixVariant::Authors, CutMixVariant::PerSample, CutMixVariant::UncorrectedLam] {
        assert_invariant(&CutMix { variant, ..CutMix::default() }, &batch);
    }
    for variant in [ResizeMixVariant::Authors, ResizeMixVariant::OpenMixup, ResizeMixVariant::MmPretrain] {
        assert_invariant(&ResizeMix { variant, ..ResizeMix::default() }, &batch);
    }
    assert_invariant(&Mixup { alpha: 0.4 }, &batch);
}

#[test]
fn edits() {
    let pair = |label: u32| EditPair {
        original: RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x * y) as u8])),
        edited: RgbImage::from_fn(36, 28, |x, y| {
            Rgb([(x * 3) as u8, (y * 5) as u8, if x > label { 255 } else { 0 }])
        }),
        label,
    };
    let pairs: Vec<EditPair> = (0..32).map(pair).collect();
    assert_invariant(&Edits { extractor: Extractor::new(24, 24) }, pairs.as_slice());
}
