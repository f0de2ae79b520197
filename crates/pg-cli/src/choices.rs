//! Values of flags.

/// Declares an enumeration of flag values: of the command line, and by the same names of a file.
#[macro_export]
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::clap::ValueEnum, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$doc])* $variant),+ }
    };
}

choices!(
    /// What to do with an image that cannot be decoded.
    OnCorrupt {
        /// Stop and name it.
        Fail,
        /// Name it and go on without it.
        Skip,
    }
);
choices!(
    /// How the guidance loss is differentiated.
    StrategyName {
        /// Reverse over reverse.
        Exact,
        /// Central difference of first-order gradients: less memory.
        FiniteDifference,
    }
);
choices!(
    /// Which mask guides.
    MaskKind {
        /// The provenance: known, or extracted from the edit.
        True,
        /// A mask of equal area and shape in a random place.
        Random,
        /// No target: the gradient is suppressed everywhere.
        Full,
    }
);
choices!(
    /// What is differentiated.
    ScoreName {
        /// The logit of the class.
        Logit,
        /// Its log-probability.
        LogProbability,
    }
);
choices!(
    /// Norm of the gradient outside the target.
    NormName {
        /// Sum of squares.
        SquaredL2,
        /// Sum of absolute values.
        L1,
        /// Sum of squares, as a share of that over all of the input: has no scale.
        Relative,
    }
);
choices!(
    /// Optimiser.
    OptimizerName {
        /// SGD with momentum.
        Sgd,
        /// Adam with decoupled weight decay.
        Adamw,
    }
);
choices!(
    /// Learning-rate schedule.
    ScheduleName {
        /// Always the same.
        Constant,
        /// Drops every few epochs.
        Step,
        /// Half a cosine to 0.
        Cosine,
        /// Up and down along cosines.
        OneCycle,
    }
);
