//! The labels of the frames of a path: the greatest sum of scores, less a penalty for each change of label (Singh
//! et al., ICCV 2017, section 3.4, after Saha et al., BMVC 2016).

use crate::ranking::greatest;

/// The best label of each frame, given the scores of all labels in each. Of equally good sequences the one that
/// changes earlier is chosen, and of equally good labels the first; a missing score counts as 0.
pub(crate) fn best_labels(scores: &[&[f32]], labels: usize, penalty: f64) -> Vec<usize> {
    let at = |frame: usize, label: usize| f64::from(scores[frame].get(label).copied().unwrap_or(0.0));
    let mut sums = vec![0.0; labels];
    // For each frame and label, the label of the frame before.
    let mut before: Vec<Vec<usize>> = Vec::with_capacity(scores.len());
    for frame in 0..scores.len() {
        let Some((best, sum)) = greatest(sums.iter().copied().enumerate()) else { return Vec::new() };
        let changed = sum - penalty;
        let from = (0..labels).map(|label| if sums[label] >= changed { label } else { best }).collect();
        sums = (0..labels).map(|label| sums[label].max(changed) + at(frame, label)).collect();
        before.push(from);
    }
    let Some((mut label, _)) = greatest(sums.into_iter().enumerate()) else { return Vec::new() };
    let mut path = Vec::with_capacity(scores.len());
    for from in before.iter().rev() {
        path.push(label);
        label = from[label];
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn score(scores: &[Vec<f32>], path: &[usize], penalty: f64) -> f64 {
        let sum: f64 = scores.iter().zip(path).map(|(scores, &label)| f64::from(scores[label])).sum();
        sum - penalty * path.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64
    }

    #[test]
    fn a_change_has_to_pay() {
        let scores: [&[f32]; 5] = [&[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0], &[1.0, 0.0], &[1.0, 0.0]];
        assert_eq!(best_labels(&scores, 2, 3.0), [0; 5]);
        assert_eq!(best_labels(&scores, 2, 0.4), [0, 0, 1, 0, 0]);
        let halves: [&[f32]; 4] = [&[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0], &[0.0, 1.0]];
        assert_eq!(best_labels(&halves, 2, 1.5), [0, 0, 1, 1]);
        let undecided: [&[f32]; 4] = [&[1.0, 0.0], &[0.0, 0.0], &[0.0, 0.0], &[0.0, 1.0]];
        assert_eq!(best_labels(&undecided, 2, 0.5), [0, 1, 1, 1], "of equally good changes the earliest");
        assert_eq!(best_labels(&[&[0.5, 1.0, 1.0]], 3, 0.5), [1], "of equally good labels the first");
        assert_eq!(best_labels(&[], 2, 1.0), [0; 0]);
        assert_eq!(best_labels(&[&[], &[]], 0, 1.0), [0; 0]);
        assert_eq!(best_labels(&[&[], &[f32::NAN]], 3, 1.0).len(), 2);
    }

    proptest! {
        #[test]
        fn no_other_labels_are_better(
            scores in prop::collection::vec(prop::collection::vec(0.0f32..1.0, 3), 1..6), penalty in 0.0f64..1.0
        ) {
            let rows: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
            let found = score(&scores, &best_labels(&rows, 3, penalty), penalty);
            for code in 0..3_usize.pow(scores.len() as u32) {
                let digits = (0..scores.len()).map(|frame| code / 3_usize.pow(frame as u32) % 3);
                let path: Vec<usize> = digits.collect();
                prop_assert!(score(&scores, &path, penalty) <= found + 1e-9);
            }
        }
    }
}
