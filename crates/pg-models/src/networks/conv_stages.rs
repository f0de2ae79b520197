//! Stages of 3x3 convolutions, each with a rectifier, and a 2x2 max-pooling between one stage and the next: a VGG's trunk.

use crate::error::Result;
use crate::layers::Conv2d;
use crate::params::{Builder, Init};
use candle_core::Tensor;
use pg_grad::ops::{Pool2dOptions, max_pool2d, relu};

const POOL: Pool2dOptions = Pool2dOptions { kernel_size: (2, 2), stride: (2, 2), padding: (0, 0) };

#[derive(Debug)]
pub(crate) struct ConvStages {
    stages: Vec<Vec<Conv2d>>,
    channels: usize,
}

impl ConvStages {
    /// For images of three channels. `widths` are those of the convolutions of each stage, and `init` draws their weights.
    pub(crate) fn new(b: &Builder, widths: &[&[usize]], init: fn([usize; 4]) -> Init) -> Result<Self> {
        // Named as in torchvision, which counts rectifiers and poolings too.
        let mut index = 0;
        let mut channels = 3;
        let mut stages = Vec::new();
        for stage_widths in widths {
            let mut stage = Vec::new();
            for &width in *stage_widths {
                let (path, shape) = (b.pp(index), [width, channels, 3, 3]);
                stage.push(Conv2d::with_init(&path, shape, init(shape), 1, 1)?.with_bias(&path)?);
                channels = width;
                index += 2;
            }
            stages.push(stage);
            index += 1;
        }
        Ok(Self { stages, channels })
    }

    /// Channels of the result.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                x = max_pool2d(&x, POOL)?;
            }
            for conv in stage {
                x = relu(&conv.forward(&x)?)?;
            }
        }
        Ok(x)
    }
}
