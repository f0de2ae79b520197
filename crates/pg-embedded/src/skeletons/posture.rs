//! What a bystander does through a whole clip: the spurious cue.

use super::body::Pose;

/// A posture that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posture {
    HandsOnHips,
    ArmsCrossed,
    Sitting,
    Pointing,
    HandsBehindHead,
    Leaning,
}

impl Posture {
    /// Every posture, in the order of the classes that they go with: one for each motion.
    pub(super) const ALL: [Self; 6] = [
        Self::HandsOnHips,
        Self::ArmsCrossed,
        Self::Sitting,
        Self::Pointing,
        Self::HandsBehindHead,
        Self::Leaning,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HandsOnHips => "hands on hips",
            Self::ArmsCrossed => "arms crossed",
            Self::Sitting => "sitting",
            Self::Pointing => "pointing sideways",
            Self::HandsBehindHead => "hands behind head",
            Self::Leaning => "leaning",
        }
    }

    pub(super) fn pose(self) -> Pose {
        let rest = Pose::REST;
        match self {
            Self::HandsOnHips => Pose { arms: [[[-0.2, 0.85], [0.3, -0.75]]; 2], ..rest },
            Self::ArmsCrossed => Pose { arms: [[[0.35, 0.1], [1.7, -1.25]]; 2], ..rest },
            Self::Sitting => Pose {
                torso: [-0.05, 0.0],
                arms: [[[0.35, 0.1], [1.2, -0.1]]; 2],
                legs: [[[1.5, 0.15], [0.05, 0.03]]; 2],
                ..rest
            },
            Self::Pointing => Pose { arms: [[[0.1, 1.55], [0.1, 1.6]], rest.arms[1]], ..rest },
            Self::HandsBehindHead => Pose { arms: [[[0.0, 2.0], [-0.3, 3.9]]; 2], ..rest },
            Self::Leaning => Pose {
                torso: [0.05, 0.55],
                head: [0.0, 0.0],
                arms: [[[0.1, 0.25], [0.1, 0.1]], [[-0.2, 0.9], [0.3, -0.6]]],
                legs: [[[0.0, -0.05], [0.0, 0.0]], [[0.0, 0.3], [0.0, 0.25]]],
                ..rest
            },
        }
    }
}
