//! What SAT adds to the cross-entropy, so that its map becomes one compact object.

use candle_core::{Device, Tensor};
use pg_grad::ops::{Conv2dOptions, conv2d};

/// The authors' `get_kernel(3, nsig=6)`: of the normal distribution's shares p between -8.1667, -2.7222, 2.7222 and 8.1667,
/// sqrt(p_i p_j), scaled to a sum of 1.
const KERNEL: [[f64; 3]; 3] = [
    [0.002_628_461_877, 0.046_011_603_407, 0.002_628_461_877],
    [0.046_011_603_407, 0.805_439_738_861, 0.046_011_603_407],
    [0.002_628_461_877, 0.046_011_603_407, 0.002_628_461_877],
];

/// |mean of M - area| + mean of (1 - M') M' over the maps M (n, height, width) of a batch, where M' is M smoothed by a
/// 3x3 kernel with zeros around it: the batch-area loss and the normalisation loss (Wu et al., equations 7 and 8).
///
/// # Errors
/// If candle fails.
pub fn sat_loss(maps: &Tensor, area: f64) -> pg_grad::Result<Tensor> {
    // Not candle's abs, whose derivative at 0 is 1.
    let excess = (maps.mean_all()? - area)?;
    let batch_area = (&excess * excess.detach().sign()?)?;
    let kernel = Tensor::new(&KERNEL, &Device::Cpu)?.to_dtype(maps.dtype())?.to_device(maps.device())?;
    let same = Conv2dOptions { padding: (1, 1), ..Conv2dOptions::default() };
    let smooth = conv2d(&maps.unsqueeze(1)?, &kernel.reshape((1, 1, 3, 3))?, same)?;
    let undecided = ((1.0 - &smooth)? * &smooth)?.mean_all()?;
    Ok((batch_area + undecided)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decided_map_of_the_right_area_costs_little() {
        let map = |share: f64| {
            let values: Vec<f64> =
                (0..400).map(|i| if (i as f64) < 400.0 * share { 1.0 } else { 0.0 }).collect();
            Tensor::from_vec(values, (1, 20, 20), &Device::Cpu).unwrap()
        };
        let loss = |map: &Tensor| sat_loss(map, 0.25).unwrap().to_scalar::<f64>().unwrap();
        let grey = (map(1.0) * 0.25).unwrap();
        assert!(loss(&map(0.25)) < 0.05);
        assert!(loss(&map(0.75)) > 0.5);
        assert!((loss(&grey) - 0.1875).abs() < 0.02, "undecided: about 1/4 3/4, {}", loss(&grey));
        let sum: f64 = KERNEL.iter().flatten().sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}
