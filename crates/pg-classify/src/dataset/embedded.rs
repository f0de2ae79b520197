//! The set that `pg-embedded` draws: animals with a camera stamp that gives the class away in training, and
//! edits that break the tie.

use std::sync::Arc;

use pg_embedded::{Embedded, Scene, Spec};

use super::{Dataset, DatasetError, EditExample, Example, Options, Picture, edits};

/// Side of the network's input; scenes are drawn a little larger, as photographs are.
const SIDE: u32 = 32;

/// The set of the default specification, drawn from [`Options::seed`].
///
/// # Errors
/// As [`from_spec`], and [`DatasetError::EditsUnsupported`] when the options name edits: the set has its own.
pub fn open(options: &Options) -> Result<Dataset, DatasetError> {
    edits::refuse("embedded", options)?;
    from_spec(&Spec::default(), options)
}

/// The set of `spec`, drawn from [`Options::seed`]. Groups are `class/cue`, and the training set's cue aligns
/// with the class. `truth` is the animal, or for an edit what was kept.
///
/// # Errors
/// [`DatasetError::Spec`] if the specification asks for what cannot be drawn.
pub fn from_spec(spec: &Spec, options: &Options) -> Result<Dataset, DatasetError> {
    let drawn = Embedded::generate(spec, options.seed)?;
    let cues = drawn.cues.len();
    let examples = |scenes: Vec<Scene>| scenes.into_iter().map(|scene| example(scene, cues)).collect();
    let mut set = Dataset::empty("embedded", drawn.classes);
    set.side = SIDE;
    set.groups = drawn.groups;
    set.train = examples(drawn.train);
    set.val = examples(drawn.val);
    set.test = examples(drawn.test);
    set.group_counts = set.count_groups();
    set.edits = drawn
        .edits
        .into_iter()
        .map(|edit| EditExample {
            original: edit.original,
            picture: Picture::Memory(Arc::new(edit.image)),
            label: edit.label,
            mask: None,
            prompt: edit.prompt,
            truth: Some(edit.kept),
        })
        .collect();
    set.checked()
}

fn example(scene: Scene, cues: usize) -> Example {
    let group = scene.label * cues as u32 + scene.cue as u32;
    let mut example = Example::new(Picture::Memory(Arc::new(scene.image)), scene.label, Some(group));
    example.truth = Some(scene.truth);
    example
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Dataset {
        let spec = Spec { train: 16, val: 8, test: 32, ..Spec::default() };
        from_spec(&spec, &Options::default()).unwrap()
    }

    #[test]
    fn groups_are_class_and_cue_and_training_is_aligned() {
        let set = small();
        assert_eq!((set.train.len(), set.val.len(), set.test.len()), (16, 8, 32));
        let (aligned, classes) = (set.aligned_groups().unwrap(), set.classes.len());
        assert_eq!(aligned.iter().filter(|&&aligned| aligned).count(), classes);
        for example in set.train.iter().chain(&set.test) {
            let group = &set.groups[example.group.unwrap() as usize];
            assert_eq!(group.split_once('/').unwrap().0, set.classes[example.label as usize]);
        }
        assert!(set.train.iter().all(|example| aligned[example.group.unwrap() as usize]));
        assert!(set.test.iter().any(|example| !aligned[example.group.unwrap() as usize]));
    }

    #[test]
    fn edits_know_their_original_and_scenes_their_animal() {
        let set = small();
        assert_eq!(set.edits.len(), 16);
        assert!(set.edits.iter().all(|edit| edit.label == set.train[edit.original].label));
        assert!(set.edits.iter().all(|edit| edit.truth.as_ref().unwrap().area() > 0));
        let truth = set.test[0].truth.as_ref().unwrap();
        assert!(truth.area() > 0 && truth.area() < truth.bits().len());
        assert!(set.train.iter().all(|example| example.target.is_none()));
    }

    #[test]
    fn nonsense_is_refused() {
        let spec = Spec { train: 0, ..Spec::default() };
        let error = from_spec(&spec, &Options::default()).unwrap_err().to_string();
        assert_eq!(error, "embedded: `train` is 0; each split needs at least one image");
        let options = Options { edits: Some("edits.csv".into()), ..Options::default() };
        assert!(matches!(open(&options), Err(DatasetError::EditsUnsupported { .. })));
    }
}
