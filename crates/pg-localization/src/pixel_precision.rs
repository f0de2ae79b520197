//! PxAP: the average precision of pixels, where masks tell object from background (wsolevaluation, OpenImages).

/// What a pixel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixel {
    /// Of an object.
    Object,
    /// Of none.
    Background,
    /// Not to be counted.
    Ignored,
}

/// Histograms of the scores of object and background pixels over all images.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelCounts {
    /// Lower edges of the bins, rising: 0, the thresholds, and 1 for scores of exactly 1.
    edges: Vec<f64>,
    object: Vec<u64>,
    background: Vec<u64>,
}

impl PixelCounts {
    /// Of no pixel yet. `thresholds` rise and lie in 0..1; all pixels count, also those below the first.
    pub fn new(thresholds: &[f64]) -> Self {
        let above_0 = thresholds.iter().copied().filter(|&threshold| threshold > 0.0);
        let edges: Vec<f64> = std::iter::once(0.0).chain(above_0).chain([1.0]).collect();
        Self { object: vec![0; edges.len()], background: vec![0; edges.len()], edges }
    }

    /// Counts the pixels of an image: a score in 0..=1 and a kind each.
    pub fn add(&mut self, scores: &[f64], pixels: &[Pixel]) {
        for (score, pixel) in scores.iter().zip(pixels) {
            let counts = match pixel {
                Pixel::Object => &mut self.object,
                Pixel::Background => &mut self.background,
                Pixel::Ignored => continue,
            };
            // NaN alone has no bin.
            if let Some(bin) = self.edges.partition_point(|edge| edge <= score).checked_sub(1) {
                counts[bin] += 1;
            }
        }
    }

    /// Counts of both sets of images together.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        self.object.iter_mut().zip(other.object).for_each(|(to, from)| *to += from);
        self.background.iter_mut().zip(other.background).for_each(|(to, from)| *to += from);
        self
    }

    /// Precision at each recall, from the highest threshold down, each in 0..=1; empty where no pixel is an object.
    pub fn precision_recall(&self) -> Vec<(f64, f64)> {
        let all: u64 = self.object.iter().sum();
        let (mut found, mut wrong) = (0, 0);
        let bins = self.object.iter().zip(&self.background).rev();
        let points = bins.map(|(object, background)| {
            (found, wrong) = (found + object, wrong + background);
            (found, found + wrong)
        });
        let points = points.filter(|&(_, predicted)| all > 0 && predicted > 0);
        points
            .map(|(found, predicted)| (found as f64 / predicted as f64, found as f64 / all as f64))
            .collect()
    }

    /// PxAP in percent; `None` where no pixel is an object.
    ///
    /// The area under the steps of precision over recall: each precision counts for the recall that it adds.
    pub fn average_precision(&self) -> Option<f64> {
        let points = self.precision_recall();
        let before = std::iter::once(0.0).chain(points.iter().map(|(_, recall)| *recall));
        let area: f64 = points
            .iter()
            .zip(before)
            .map(|((precision, recall), before)| precision * (recall - before))
            .sum();
        (!points.is_empty()).then_some(100.0 * area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Pixel::{Background, Ignored, Object};

    fn average_precision(scores: &[f64], pixels: &[Pixel]) -> Option<f64> {
        let thresholds: Vec<f64> = (0..1000).map(|i| f64::from(i) * 0.001).collect();
        let mut counts = PixelCounts::new(&thresholds);
        counts.add(scores, pixels);
        counts.average_precision()
    }

    #[test]
    fn a_perfect_map_has_all_and_a_constant_one_the_share_of_objects() {
        let pixels = [Object, Background, Background, Ignored];
        assert_eq!(average_precision(&[1.0, 0.0, 0.0, 1.0], &pixels), Some(100.0));
        assert_eq!(average_precision(&[0.4; 4], &pixels), Some(100.0 * (1.0 / 3.0)));
        assert_eq!(average_precision(&[0.4; 4], &[Background; 4]), None);
    }

    #[test]
    fn pixels_below_the_first_threshold_count() {
        let mut counts = PixelCounts::new(&[0.5]);
        counts.add(&[0.9, 0.1, 0.1], &[Object, Object, Background]);
        assert_eq!(counts.precision_recall(), [(1.0, 0.5), (2.0 / 3.0, 1.0)]);
    }

    #[test]
    fn bins_are_half_open() {
        // 0.001 lies in the second bin, what is just below in the first.
        let mut counts = PixelCounts::new(&[0.0, 0.001]);
        counts.add(&[0.001, 0.000_999, 1.0], &[Object; 3]);
        assert_eq!(counts.object, [1, 1, 1]);
    }
}
