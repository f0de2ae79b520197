//! VGG16-GAP (Zhou et al. 2016, as in wsolevaluation): VGG16 without its fifth pooling and its fully connected layers,
//! then a 3x3 convolution to 1024 channels, global average pooling and one linear layer.

use super::Network;
use crate::error::Result;
use crate::layers::{Conv2d, Linear, Mode};
use crate::params::Builder;
use candle_core::Tensor;
use pg_grad::ops::{Pool2dOptions, global_avg_pool2d, max_pool2d, relu};

/// Widths of the convolutions between poolings.
const STAGES: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

#[derive(Debug)]
pub(crate) struct Vgg16Gap {
    stages: Vec<Vec<Conv2d>>,
    conv6: Conv2d,
    fc: Linear,
}

impl Vgg16Gap {
    pub(crate) fn new(b: &Builder, classes: usize) -> Result<Self> {
        let convolution =
            |path: &Builder, input, output| Conv2d::new(path, input, output, 3, 1, 1)?.with_bias(path);
        // Indices of torchvision's `features`, which counts rectifiers and poolings too.
        let mut index = 0;
        let mut channels = 3;
        let mut stages = Vec::new();
        for widths in STAGES {
            let mut stage = Vec::new();
            for &width in widths {
                stage.push(convolution(&b.pp("features").pp(index), channels, width)?);
                channels = width;
                index += 2;
            }
            stages.push(stage);
            index += 1;
        }
        let conv6 = convolution(&b.pp("conv6"), channels, 1024)?;
        Ok(Self { stages, conv6, fc: Linear::new(&b.pp("fc"), 1024, classes)? })
    }
}

impl Network for Vgg16Gap {
    fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
        let pool = Pool2dOptions { kernel_size: (2, 2), stride: (2, 2), padding: (0, 0) };
        let mut x = x.clone();
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                x = max_pool2d(&x, pool)?;
            }
            for conv in stage {
                x = relu(&conv.forward(&x)?)?;
            }
        }
        let x = relu(&self.conv6.forward(&x)?)?;
        self.fc.forward(&global_avg_pool2d(&x)?)
    }
}
