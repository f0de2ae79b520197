//! What a step runs: a network on images, or one on the points of skeletons.

use candle_core::Tensor;
use pg_models::{Mode, Model, Params, PointLayout, Result, Skp};

pub(crate) enum Network {
    Images(Model),
    Points(Skp, PointLayout),
}

impl Network {
    pub(crate) fn params(&self) -> &Params {
        match self {
            Self::Images(model) => model.params(),
            Self::Points(skp, _) => skp.params(),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        match self {
            Self::Images(model) => model.forward(x, mode),
            Self::Points(skp, layout) => skp.forward(x, layout, mode),
        }
    }
}
