//! VGG16-GAP (Zhou et al. 2016, as in wsolevaluation): VGG16 without its fifth pooling and its fully connected layers,
//! then a 3x3 convolution to 1024 channels, global average pooling and one linear layer.

use super::Network;
use crate::error::Result;
use crate::layers::{Conv2d, Linear, Mode, run_part};
use crate::params::Builder;
use candle_core::Tensor;
use pg_grad::ops::{Pool2dOptions, global_avg_pool2d, max_pool2d, relu};
use std::sync::Arc;

/// Widths of the convolutions between poolings.
const STAGES: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

#[derive(Debug)]
pub(crate) struct Vgg16Gap {
    stages: Vec<Arc<Stage>>,
    conv6: Conv2d,
    fc: Linear,
    checkpointing: bool,
}

impl Vgg16Gap {
    pub(crate) fn new(b: &Builder, classes: usize) -> Result<Self> {
        let convolution =
            |path: &Builder, input, output| Conv2d::new(path, input, output, 3, 1, 1)?.with_bias(path);
        // Indices of torchvision's `features`, which counts rectifiers and poolings too.
        let mut index = 0;
        let mut channels = 3;
        let mut stages: Vec<Arc<Stage>> = Vec::new();
        for widths in STAGES {
            let mut convolutions = Vec::new();
            for &width in widths {
                convolutions.push(convolution(&b.pp("features").pp(index), channels, width)?);
                channels = width;
                index += 2;
            }
            stages.push(Arc::new(Stage { pools: !stages.is_empty(), convolutions }));
            index += 1;
        }
        let conv6 = convolution(&b.pp("conv6"), channels, 1024)?;
        Ok(Self { stages, conv6, fc: Linear::new(&b.pp("fc"), 1024, classes)?, checkpointing: false })
    }
}

impl Network for Vgg16Gap {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = self.stages.iter().try_fold(x.clone(), |x, stage| {
            let stage = Arc::clone(stage);
            run_part(&x, mode, self.checkpointing, move |x, _| stage.forward(x))
        })?;
        let x = relu(&self.conv6.forward(&x)?)?;
        self.fc.forward(&global_avg_pool2d(&x)?)
    }

    fn checkpointing(&mut self) -> Option<&mut bool> {
        Some(&mut self.checkpointing)
    }
}

/// Convolutions of one resolution, in all stages but the first behind a pooling.
#[derive(Debug)]
struct Stage {
    pools: bool,
    convolutions: Vec<Conv2d>,
}

impl Stage {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let pool = Pool2dOptions { kernel_size: (2, 2), stride: (2, 2), padding: (0, 0) };
        let x = if self.pools { max_pool2d(x, pool)? } else { x.clone() };
        self.convolutions.iter().try_fold(x, |x, conv| Ok(relu(&conv.forward(&x)?)?))
    }
}
