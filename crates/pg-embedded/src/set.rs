//! A whole set: which class and which cue each image gets, and the images.

use crate::editor::{self, Edit};
use crate::scene::{self, Scene};
use crate::{Spec, SpecError};
use pg_random::Seed;
use rayon::prelude::*;

/// A drawn set.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Names of the classes, by label.
    pub classes: Vec<String>,
    /// Names of the kinds of cue.
    pub cues: Vec<String>,
    /// Names of the groups, such as `cat/stamp-red`: class-major, see [`Embedded::group`].
    pub groups: Vec<String>,
    /// Training scenes, whose cue goes with the class.
    pub train: Vec<Scene>,
    /// Validation scenes, whose cue is independent of the class.
    pub val: Vec<Scene>,
    /// Test scenes, whose cue is independent of the class.
    pub test: Vec<Scene>,
    /// Edits of the training scenes, in their order.
    pub edits: Vec<Edit>,
}

#[derive(Clone, Copy)]
enum Split {
    Train,
    Val,
    Test,
}

impl Embedded {
    /// Draws a set. Every image has a random stream of its own, so that the number of threads changes nothing.
    ///
    /// # Errors
    /// [`SpecError`] when the specification asks for what cannot be drawn.
    pub fn generate(spec: &Spec, seed: Seed) -> Result<Embedded, SpecError> {
        spec.check()?;
        let kinds = spec.classes.len();
        let classes: Vec<String> = spec.classes.iter().map(|class| class.name().to_owned()).collect();
        let cues: Vec<String> =
            spec.cue.family.kinds()[..kinds].iter().map(|&kind| kind.to_owned()).collect();
        let groups =
            classes.iter().flat_map(|class| cues.iter().map(move |cue| format!("{class}/{cue}"))).collect();

        let train = draw_split(spec, Split::Train, seed);
        let edits = (0..train.len() * spec.edits.per_image)
            .into_par_iter()
            .map(|i| {
                let (original, copy) = (i / spec.edits.per_image, i % spec.edits.per_image);
                let (scene, mut rng) =
                    (&train[original], seed.stream("edit", &[original as u64, copy as u64]));
                let class = &classes[scene.label as usize];
                editor::edit((original, scene), class, (spec.cue.family, kinds), &spec.edits, &mut rng)
            })
            .collect();
        let (val, test) = (draw_split(spec, Split::Val, seed), draw_split(spec, Split::Test, seed));
        Ok(Embedded { classes, cues, groups, train, val, test, edits })
    }

    /// Index in [`Embedded::groups`] of a class and a kind of cue.
    pub fn group(&self, label: u32, cue: usize) -> usize {
        label as usize * self.cues.len() + cue
    }
}

fn draw_split(spec: &Spec, split: Split, seed: Seed) -> Vec<Scene> {
    let count = match split {
        Split::Train => spec.train,
        Split::Val => spec.val,
        Split::Test => spec.test,
    };
    let draw = |index: usize| {
        let (label, cue) = match split {
            Split::Train => confounded(index, spec.classes.len(), spec.cue.agreement),
            Split::Val | Split::Test => balanced(index, spec.classes.len()),
        };
        let mut rng = seed.stream("scene", &[split as u64, index as u64]);
        scene::draw(spec.classes[label], label as u32, (spec.cue.family, cue), &spec.image, &mut rng)
    };
    (0..count).into_par_iter().map(draw).collect()
}

/// Class and cue of the image `index`, independent of each other: every `kinds`^2 images hold each pair once.
pub(crate) fn balanced(index: usize, kinds: usize) -> (usize, usize) {
    (index % kinds, index / kinds % kinds)
}

/// Class and cue of the training image `index`: of the first n images of each class, `agreement` n, rounded, carry the
/// cue of their class; the others take turns among the other cues.
pub(crate) fn confounded(index: usize, kinds: usize, agreement: f64) -> (usize, usize) {
    let (label, nth) = (index % kinds, index / kinds);
    let agreeing = |n: usize| (agreement * n as f64).round() as usize;
    if agreeing(nth + 1) > agreeing(nth) {
        return (label, label);
    }
    let disagreeing = nth - agreeing(nth);
    (label, (label + 1 + disagreeing % (kinds - 1)) % kinds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn training_agrees_as_asked(kinds in 2usize..=4, members in 1usize..200, agreement in 0.0..=1.0f64) {
            let mut counts = vec![vec![0usize; kinds]; kinds];
            for index in 0..kinds * members {
                let (label, cue) = confounded(index, kinds, agreement);
                counts[label][cue] += 1;
            }
            for (label, cues) in counts.iter().enumerate() {
                prop_assert_eq!(cues.iter().sum::<usize>(), members);
                prop_assert!((cues[label] as f64 - agreement * members as f64).abs() <= 0.5 + 1e-9);
                let others: Vec<usize> = (0..kinds).filter(|&k| k != label).map(|k| cues[k]).collect();
                let (least, most) = (others.iter().min().unwrap(), others.iter().max().unwrap());
                prop_assert!(most - least <= 1);
            }
        }

        #[test]
        fn pairs_are_balanced(kinds in 2usize..=4, rounds in 1usize..20) {
            let mut counts = vec![0usize; kinds * kinds];
            for index in 0..rounds * kinds * kinds {
                let (label, cue) = balanced(index, kinds);
                counts[label * kinds + cue] += 1;
            }
            prop_assert!(counts.iter().all(|&n| n == rounds));
        }
    }
}
