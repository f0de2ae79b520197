//! VGG16-GAP (Zhou et al. 2016, as in wsolevaluation): VGG16 without its fifth pooling and its fully connected layers,
//! then a 3x3 convolution to 1024 channels, global average pooling and one linear layer. And the same in small, for images
//! of 48 to 64 pixels.

use super::conv_stages::ConvStages;
use super::{Localized, Network, class_activation_maps};
use crate::error::Result;
use crate::layers::{Conv2d, Linear, Mode};
use crate::params::{Builder, Init};
use candle_core::Tensor;
use pg_grad::ops::{global_avg_pool2d, relu};

/// Widths of the convolutions between poolings, and of the one behind them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widths {
    stages: &'static [&'static [usize]],
    conv6: usize,
    /// Of the convolutions.
    init: fn([usize; 4]) -> Init,
}

impl Widths {
    pub(crate) const VGG16: Widths = Widths {
        stages: &[&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]],
        conv6: 1024,
        init: Init::kaiming_normal_fan_out,
    };
    pub(crate) const SMALL: Widths =
        Widths { stages: &[&[16, 16], &[32, 32], &[64, 64]], conv6: 128, init: Init::kaiming_normal_fan_in };
}

#[derive(Debug)]
pub(crate) struct VggGap {
    stages: ConvStages,
    conv6: Conv2d,
    fc: Linear,
}

impl VggGap {
    pub(crate) fn new(b: &Builder, widths: Widths, classes: usize) -> Result<Self> {
        let stages = ConvStages::new(&b.pp("features"), widths.stages, widths.init)?;
        let (path, shape) = (b.pp("conv6"), [widths.conv6, stages.channels(), 3, 3]);
        let conv6 = Conv2d::with_init(&path, shape, (widths.init)(shape), 1, 1)?.with_bias(&path)?;
        Ok(Self { stages, conv6, fc: Linear::new(&b.pp("fc"), widths.conv6, classes)? })
    }

    fn features(&self, x: &Tensor) -> Result<Tensor> {
        Ok(relu(&self.conv6.forward(&self.stages.forward(x)?)?)?)
    }
}

impl Network for VggGap {
    fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
        self.fc.forward(&global_avg_pool2d(&self.features(x)?)?)
    }

    fn localize(&self, x: &Tensor, classes: &Tensor, _: Mode) -> Option<Result<Localized>> {
        let located = || {
            let features = self.features(x)?;
            let maps = class_activation_maps(&features, self.fc.weight(), classes)?;
            Ok(Localized { logits: self.fc.forward(&global_avg_pool2d(&features)?)?, maps })
        };
        Some(located())
    }
}
