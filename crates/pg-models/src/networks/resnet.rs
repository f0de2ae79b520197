//! ResNet-18, -34 and -50 (He et al. 2016; the stride of a bottleneck on its 3x3 convolution, as torchvision's v1.5).

use super::{Localized, Network, class_activation_maps};
use crate::error::Result;
use crate::layers::{BatchNorm, Conv2d, Linear, Mode, run_part};
use crate::params::Builder;
use candle_core::Tensor;
use pg_grad::ops::{Pool2dOptions, global_avg_pool2d, max_pool2d};
use std::sync::Arc;

/// Which residual branch a network is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// 3x3, 3x3.
    Basic,
    /// 1x1, 3x3, 1x1 with four times the width at the end.
    Bottleneck,
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Arc<Residual>>,
    fc: Linear,
    checkpointing: bool,
}

impl ResNet {
    /// `depths` are the numbers of blocks of the four layers; `layer4_stride` 1 doubles the size of the last feature
    /// map, as localisation wants.
    pub(crate) fn new(
        b: &Builder,
        block: Block,
        depths: [usize; 4],
        layer4_stride: usize,
        classes: usize,
    ) -> Result<Self> {
        let conv1 = Conv2d::new(&b.pp("conv1"), 3, 64, 7, 2, 3)?;
        let bn1 = BatchNorm::new(&b.pp("bn1"), 64)?;
        let mut blocks = Vec::new();
        let mut channels = 64;
        for (layer, (depth, stride)) in depths.into_iter().zip([1, 2, 2, layer4_stride]).enumerate() {
            let width = 64 << layer;
            for index in 0..depth {
                let path = b.pp(format!("layer{}", layer + 1)).pp(index);
                let stride = if index == 0 { stride } else { 1 };
                blocks.push(Arc::new(Residual::new(&path, block, channels, width, stride)?));
                channels = width * block.expansion();
            }
        }
        let fc = Linear::new(&b.pp("fc"), channels, classes)?;
        Ok(Self { conv1, bn1, blocks, fc, checkpointing: false })
    }
}

impl ResNet {
    fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = self.bn1.forward_relu(&self.conv1.forward(x)?, None, mode)?;
        let stem_pool = Pool2dOptions { kernel_size: (3, 3), stride: (2, 2), padding: (1, 1) };
        let x = max_pool2d(&x, stem_pool)?;
        self.blocks.iter().try_fold(x, |x, block| {
            let block = Arc::clone(block);
            run_part(&x, mode, self.checkpointing, move |x, mode| block.forward(x, mode))
        })
    }
}

impl Network for ResNet {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.fc.forward(&global_avg_pool2d(&self.features(x, mode)?)?)
    }

    fn localize(&self, x: &Tensor, classes: &Tensor, mode: Mode) -> Option<Result<Localized>> {
        let located = || {
            let features = self.features(x, mode)?;
            let maps = class_activation_maps(&features, self.fc.weight(), classes)?;
            Ok(Localized { logits: self.fc.forward(&global_avg_pool2d(&features)?)?, maps })
        };
        Some(located())
    }

    fn checkpointing(&mut self) -> Option<&mut bool> {
        Some(&mut self.checkpointing)
    }
}

/// relu(branch(x) + shortcut(x)).
#[derive(Debug)]
struct Residual {
    branch: Vec<(Conv2d, BatchNorm)>,
    downsample: Option<(Conv2d, BatchNorm)>,
}

impl Residual {
    fn new(b: &Builder, block: Block, input: usize, width: usize, stride: usize) -> Result<Self> {
        let output = width * block.expansion();
        // (input, output, kernel, stride) of each convolution.
        let convolutions: &[(usize, usize, usize, usize)] = match block {
            Block::Basic => &[(input, width, 3, stride), (width, width, 3, 1)],
            Block::Bottleneck => &[(input, width, 1, 1), (width, width, 3, stride), (width, output, 1, 1)],
        };
        let branch = convolutions
            .iter()
            .enumerate()
            .map(|(i, &(input, output, kernel, stride))| {
                let conv = b.pp(format!("conv{}", i + 1));
                let conv = Conv2d::new(&conv, input, output, kernel, stride, kernel / 2)?;
                Ok((conv, BatchNorm::new(&b.pp(format!("bn{}", i + 1)), output)?))
            })
            .collect::<Result<_>>()?;
        let downsample = if stride != 1 || input != output {
            let path = b.pp("downsample");
            let conv = Conv2d::new(&path.pp(0), input, output, 1, stride, 0)?;
            Some((conv, BatchNorm::new(&path.pp(1), output)?))
        } else {
            None
        };
        Ok(Self { branch, downsample })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some((conv, norm)) => norm.forward(&conv.forward(x)?, mode)?,
            None => x.clone(),
        };
        let last = self.branch.len() - 1;
        self.branch.iter().enumerate().try_fold(x.clone(), |y, (index, (conv, norm))| {
            norm.forward_relu(&conv.forward(&y)?, (index == last).then_some(&shortcut), mode)
        })
    }
}
