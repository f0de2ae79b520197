//! The order of things that have scores.

use std::cmp::Ordering;

/// Higher scores first. Total, so that a sort cannot fail; 0 and -0 are equal.
pub(crate) fn falling(a: f64, b: f64) -> Ordering {
    (b + 0.0).total_cmp(&(a + 0.0))
}

/// The positions of the scores from the highest to the lowest; of equal ones the first comes first.
pub(crate) fn ranking(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| falling(scores[a], scores[b]));
    order
}

/// The position of the greatest number; of equal ones the first. `None` if there is none.
pub(crate) fn greatest(numbers: impl IntoIterator<Item = (usize, f64)>) -> Option<(usize, f64)> {
    numbers.into_iter().reduce(|best, other| if other.1 > best.1 { other } else { best })
}

/// The mean of the greatest `count` scores, of all if there are fewer; 0 without any.
pub(crate) fn mean_of_greatest(scores: &[f64], count: usize) -> f64 {
    let mut scores = scores.to_vec();
    scores.sort_by(|&a, &b| falling(a, b));
    scores.truncate(count);
    mean(&scores)
}

/// The mean; 0 without numbers.
pub(crate) fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_keep_their_order() {
        assert_eq!(ranking(&[0.5, 0.9, 0.5, -0.0, 0.0]), [1, 0, 2, 3, 4]);
        assert_eq!(ranking(&[f64::NAN, f64::INFINITY, -f64::NAN, 1.0]), [0, 1, 3, 2], "no panic");
        assert_eq!(greatest([0.1, 0.3, 0.3].into_iter().enumerate()), Some((1, 0.3)));
    }

    #[test]
    fn means_are_of_what_there_is() {
        assert_eq!(mean_of_greatest(&[1.0, 5.0, 3.0], 2), 4.0);
        assert_eq!(mean_of_greatest(&[1.0, 5.0, 3.0], 40), 3.0);
        assert_eq!(mean_of_greatest(&[], 40), 0.0);
        assert_eq!(mean_of_greatest(&[1.0], 0), 0.0);
    }
}
