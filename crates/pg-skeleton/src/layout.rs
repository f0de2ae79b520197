//! Keypoint layouts: which joint is which, what is left and right, and what to draw.
//!
//! The orders are those of COCO (Lin et al. 2014), of OpenPose's COCO and BODY_25 models (Cao et al. 2019) and
//! of NTU RGB+D (Shahroudy et al. 2016). People with any other number of keypoints need no layout: they cannot
//! be mirrored, no more.

/// The joints of a person, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// What it is called.
    pub name: &'static str,
    /// Names of the joints.
    pub joints: &'static [&'static str],
    /// Joints that change places in a mirror: left, right.
    pub flip: &'static [(usize, usize)],
    /// Joints to be joined by a line.
    pub limbs: &'static [(usize, usize)],
}

impl Layout {
    /// Every layout.
    pub const ALL: [&'static Self; 5] = [&COCO_17, &OPENPOSE_18, &BODY_25, &NTU_25, &HALPE_26];

    /// The layout of that name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|layout| layout.name == name)
    }

    /// The layout of that number of keypoints, if there is only one.
    pub fn of_count(keypoints: usize) -> Option<&'static Self> {
        let mut fits = Self::ALL.into_iter().filter(|layout| layout.joints.len() == keypoints);
        fits.next().filter(|_| fits.next().is_none())
    }

    /// For each joint the one that takes its place in a mirror.
    pub fn mirrored(&self) -> Vec<usize> {
        let partner = |joint| {
            self.flip.iter().find_map(|&(left, right)| match joint {
                _ if joint == left => Some(right),
                _ if joint == right => Some(left),
                _ => None,
            })
        };
        (0..self.joints.len()).map(|joint| partner(joint).unwrap_or(joint)).collect()
    }
}

static COCO_17: Layout = Layout {
    name: "coco-17",
    joints: &[
        "nose",
        "left eye",
        "right eye",
        "left ear",
        "right ear",
        "left shoulder",
        "right shoulder",
        "left elbow",
        "right elbow",
        "left wrist",
        "right wrist",
        "left hip",
        "right hip",
        "left knee",
        "right knee",
        "left ankle",
        "right ankle",
    ],
    flip: &[(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)],
    limbs: &[
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (5, 6),
        (5, 7),
        (7, 9),
        (6, 8),
        (8, 10),
        (5, 11),
        (6, 12),
        (11, 12),
        (11, 13),
        (13, 15),
        (12, 14),
        (14, 16),
    ],
};

static OPENPOSE_18: Layout = Layout {
    name: "openpose-18",
    joints: &[
        "nose",
        "neck",
        "right shoulder",
        "right elbow",
        "right wrist",
        "left shoulder",
        "left elbow",
        "left wrist",
        "right hip",
        "right knee",
        "right ankle",
        "left hip",
        "left knee",
        "left ankle",
        "right eye",
        "left eye",
        "right ear",
        "left ear",
    ],
    flip: &[(5, 2), (6, 3), (7, 4), (11, 8), (12, 9), (13, 10), (15, 14), (17, 16)],
    limbs: &[
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (1, 5),
        (5, 6),
        (6, 7),
        (1, 8),
        (8, 9),
        (9, 10),
        (1, 11),
        (11, 12),
        (12, 13),
        (0, 14),
        (14, 16),
        (0, 15),
        (15, 17),
    ],
};

static BODY_25: Layout = Layout {
    name: "body-25",
    joints: &[
        "nose",
        "neck",
        "right shoulder",
        "right elbow",
        "right wrist",
        "left shoulder",
        "left elbow",
        "left wrist",
        "mid hip",
        "right hip",
        "right knee",
        "right ankle",
        "left hip",
        "left knee",
        "left ankle",
        "right eye",
        "left eye",
        "right ear",
        "left ear",
        "left big toe",
        "left small toe",
        "left heel",
        "right big toe",
        "right small toe",
        "right heel",
    ],
    flip: &[
        (5, 2),
        (6, 3),
        (7, 4),
        (12, 9),
        (13, 10),
        (14, 11),
        (16, 15),
        (18, 17),
        (19, 22),
        (20, 23),
        (21, 24),
    ],
    limbs: &[
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (1, 5),
        (5, 6),
        (6, 7),
        (1, 8),
        (8, 9),
        (9, 10),
        (10, 11),
        (8, 12),
        (12, 13),
        (13, 14),
        (0, 15),
        (15, 17),
        (0, 16),
        (16, 18),
        (14, 19),
        (19, 20),
        (14, 21),
        (11, 22),
        (22, 23),
        (11, 24),
    ],
};

static NTU_25: Layout = Layout {
    name: "ntu-25",
    joints: &[
        "base of spine",
        "middle of spine",
        "neck",
        "head",
        "left shoulder",
        "left elbow",
        "left wrist",
        "left hand",
        "right shoulder",
        "right elbow",
        "right wrist",
        "right hand",
        "left hip",
        "left knee",
        "left ankle",
        "left foot",
        "right hip",
        "right knee",
        "right ankle",
        "right foot",
        "spine",
        "left fingertips",
        "left thumb",
        "right fingertips",
        "right thumb",
    ],
    flip: &[(4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24)],
    limbs: &[
        (0, 1),
        (1, 20),
        (20, 2),
        (2, 3),
        (20, 4),
        (4, 5),
        (5, 6),
        (6, 7),
        (7, 21),
        (6, 22),
        (20, 8),
        (8, 9),
        (9, 10),
        (10, 11),
        (11, 23),
        (10, 24),
        (0, 12),
        (12, 13),
        (13, 14),
        (14, 15),
        (0, 16),
        (16, 17),
        (17, 18),
        (18, 19),
    ],
};

/// AlphaPose's Halpe (Fang et al. 2022), without face and hands.
static HALPE_26: Layout = Layout {
    name: "halpe-26",
    joints: &[
        "nose",
        "left eye",
        "right eye",
        "left ear",
        "right ear",
        "left shoulder",
        "right shoulder",
        "left elbow",
        "right elbow",
        "left wrist",
        "right wrist",
        "left hip",
        "right hip",
        "left knee",
        "right knee",
        "left ankle",
        "right ankle",
        "head",
        "neck",
        "mid hip",
        "left big toe",
        "right big toe",
        "left small toe",
        "right small toe",
        "left heel",
        "right heel",
    ],
    flip: &[
        (1, 2),
        (3, 4),
        (5, 6),
        (7, 8),
        (9, 10),
        (11, 12),
        (13, 14),
        (15, 16),
        (20, 21),
        (22, 23),
        (24, 25),
    ],
    limbs: &[
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (17, 18),
        (18, 5),
        (5, 7),
        (7, 9),
        (18, 6),
        (6, 8),
        (8, 10),
        (18, 19),
        (19, 11),
        (11, 13),
        (13, 15),
        (19, 12),
        (12, 14),
        (14, 16),
        (15, 20),
        (20, 22),
        (15, 24),
        (16, 21),
        (21, 23),
        (16, 25),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_swaps_left_and_right_and_nothing_else() {
        for layout in Layout::ALL {
            let mirrored = layout.mirrored();
            for (name, &partner) in layout.joints.iter().zip(&mirrored) {
                let expected = match name.split_once(' ') {
                    Some(("left", rest)) => format!("right {rest}"),
                    Some(("right", rest)) => format!("left {rest}"),
                    _ => (*name).to_owned(),
                };
                assert_eq!(layout.joints[partner], expected, "{} of {}", name, layout.name);
            }
            for &(left, _) in layout.flip {
                assert!(layout.joints[left].starts_with("left "), "{} of {}", left, layout.name);
            }
        }
    }

    #[test]
    fn limbs_make_one_person() {
        for layout in Layout::ALL {
            let mut part: Vec<usize> = (0..layout.joints.len()).collect();
            for &(a, b) in layout.limbs {
                let (keep, drop) = (part[a], part[b]);
                part.iter_mut().filter(|p| **p == drop).for_each(|p| *p = keep);
            }
            // The face of COCO and of Halpe is joined to nothing.
            let parts = part.iter().collect::<std::collections::BTreeSet<_>>().len();
            assert_eq!(
                parts,
                if matches!(layout.name, "coco-17" | "halpe-26") { 2 } else { 1 },
                "{}",
                layout.name
            );
        }
    }

    #[test]
    fn layouts_are_found_by_name_and_by_count() {
        for (count, name) in
            [(17, Some("coco-17")), (18, Some("openpose-18")), (26, Some("halpe-26")), (25, None), (13, None)]
        {
            assert_eq!(Layout::of_count(count).map(|layout| layout.name), name);
        }
        assert_eq!(Layout::by_name("body-25").map(|layout| layout.joints.len()), Some(25));
        assert_eq!(Layout::by_name("ntu-25").map(|layout| layout.joints.len()), Some(25));
        assert_eq!(Layout::by_name("coco"), None);
    }
}
