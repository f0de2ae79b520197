//! Non-maximum suppression: of detections that overlap, the surest stays.

use crate::bounding_box::BoundingBox;
use crate::ranking::ranking;
use crate::tube::Tube;

/// The positions of the boxes that stay, the surest first: each overlaps by at most `threshold` with any surer one
/// that stays. Of equally sure ones the first counts as surer.
pub fn nms_boxes(boxes: &[(BoundingBox, f64)], threshold: f64) -> Vec<usize> {
    let scores: Vec<f64> = boxes.iter().map(|(_, score)| *score).collect();
    survivors(&scores, |a, b| boxes[a].0.iou(boxes[b].0) > threshold)
}

/// As [`nms_boxes`], for tubes and their overlap in space and time.
pub fn nms_tubes(tubes: &[(&Tube, f64)], threshold: f64) -> Vec<usize> {
    let scores: Vec<f64> = tubes.iter().map(|(_, score)| *score).collect();
    survivors(&scores, |a, b| tubes[a].0.spatio_temporal_iou(tubes[b].0) > threshold)
}

/// The positions of what no surer survivor suppresses, the surest first.
pub(crate) fn survivors(scores: &[f64], suppresses: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for candidate in ranking(scores) {
        if !kept.iter().any(|&surer| suppresses(surer, candidate)) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64) -> BoundingBox {
        BoundingBox { x0: x, y0: 0.0, x1: x + 10.0, y1: 10.0 }
    }

    #[test]
    fn the_surest_of_overlapping_boxes_stays() {
        // The third overlaps with the second only, which the first has suppressed by then.
        let boxes = [(at(0.0), 0.9), (at(4.0), 0.8), (at(8.0), 0.7), (at(100.0), 0.95)];
        assert_eq!(nms_boxes(&boxes, 0.3), [3, 0, 2]);
        assert_eq!(nms_boxes(&boxes, 0.9), [3, 0, 1, 2]);
        assert_eq!(nms_boxes(&[], 0.3), [0; 0]);
    }

    #[test]
    fn an_overlap_of_the_threshold_is_allowed_and_the_first_of_equals_stays() {
        let boxes = [(at(0.0), 0.5), (at(5.0), 0.5)];
        assert_eq!(nms_boxes(&boxes, 5.0 / 15.0), [0, 1]);
        assert_eq!(nms_boxes(&boxes, 0.33), [0]);
    }

    #[test]
    fn tubes_apart_in_time_stay() {
        let tube = |start| Tube { start, boxes: vec![at(0.0); 10] };
        let (first, late, shifted) = (tube(0), tube(10), tube(2));
        assert_eq!(nms_tubes(&[(&first, 0.5), (&late, 0.6), (&shifted, 0.7)], 0.3), [2, 1]);
    }
}
