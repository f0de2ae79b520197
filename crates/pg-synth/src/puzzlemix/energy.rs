//! What PuzzleMix minimises: the saliency that a mix loses, and how rough its seams are.
//!
//! Each block of a sample has a share z of image 1 in {1, 1/2, 0}, label 0, 1, 2. With u the saliency of a block,
//!
//! ```text
//!   E(z) = sum_i [ z_i cost1_i + (1 - z_i) cost0_i - (eta / b^2) log p(z_i) ] + sum_e w_e (z_i - z_j)^2
//! ```
//!
//! where cost1 starts at u of image 2, which is lost where z is 1, and cost0 at u of image 1. Seams between blocks of
//! unlike colours add to all three (Kim et al., "Puzzle Mix", ICML 2020, and the authors' code).

use super::min_cut::Network;

/// Costs of the labels of sites, and weights between neighbours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Energy {
    /// Of label 0, 1 and 2 at each site.
    pub(super) unary: Vec<[f64; 3]>,
    /// Two sites and the weight of (z_i - z_j)^2, not negative.
    pub(super) edges: Vec<(usize, usize, f64)>,
}

impl Energy {
    /// The labels of least energy, exactly, as one minimum cut.
    ///
    /// A site with label l has two nodes, a = [l >= 1] and b = [l >= 2], on the source's side where true:
    ///
    /// ```text
    ///   source --label 0--> a --label 1--> b --label 2--> sink      a cut costs the label;  b but not a: never
    ///
    ///   (l_i - l_j)^2 = |a_i - a_j| + |b_i - b_j| + 2 b_i (1 - a_j) + 2 b_j (1 - a_i)      and z = 1 - l / 2
    /// ```
    pub(super) fn minimum(&self) -> Vec<u8> {
        let sites = self.unary.len();
        let (source, sink) = (2 * sites, 2 * sites + 1);
        let mut network = Network::new(2 * sites + 2, 3 * sites + 4 * self.edges.len());
        for (site, costs) in self.unary.iter().enumerate() {
            let (a, b) = (2 * site, 2 * site + 1);
            // A constant changes no minimum, and capacities are not negative.
            let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
            network.join(source, a, costs[0] - least, 0.0);
            network.join(a, b, costs[1] - least, f64::INFINITY);
            network.join(b, sink, costs[2] - least, 0.0);
        }
        for &(i, j, weight) in &self.edges {
            debug_assert!(weight >= 0.0, "{weight}");
            let (a, b) = ([2 * i, 2 * j], [2 * i + 1, 2 * j + 1]);
            network.join(a[0], a[1], weight / 4.0, weight / 4.0);
            network.join(b[0], b[1], weight / 4.0, weight / 4.0);
            network.join(b[0], a[1], weight / 2.0, 0.0);
            network.join(b[1], a[0], weight / 2.0, 0.0);
        }
        let side = network.source_side(source, sink);
        side[..2 * sites].chunks_exact(2).map(|nodes| u8::from(nodes[0]) + u8::from(nodes[1])).collect()
    }

    /// The energy of labels.
    #[cfg(test)]
    pub(super) fn of(&self, labels: &[u8]) -> f64 {
        let unary: f64 = self.unary.iter().zip(labels).map(|(costs, &label)| costs[usize::from(label)]).sum();
        let z = |site: usize| 1.0 - f64::from(labels[site]) / 2.0;
        unary + self.edges.iter().map(|&(i, j, weight)| weight * (z(i) - z(j)).powi(2)).sum::<f64>()
    }
}

/// Weights of the energy's terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    pub(super) beta: f64,
    pub(super) gamma: f64,
    pub(super) eta: f64,
    /// Share of image 1 that is aimed at, in [0, 1].
    pub(super) alpha: f64,
}

/// What an energy reads of one image: blocks x blocks.
pub(super) struct Blocks {
    /// Saliency of each block; sums to 1.
    pub(super) saliency: Vec<f64>,
    /// Colours in [0, 1] of a finer grid, `fine` cells a side of a block: (channel, row, column).
    pub(super) colours: Vec<f64>,
    pub(super) channels: usize,
    pub(super) fine: usize,
}

/// The energy of mixing two images of `side` x `side` blocks.
pub(super) fn energy(images: [&Blocks; 2], side: usize, weights: &Weights) -> Energy {
    let Weights { beta, gamma, eta, alpha } = *weights;
    let beta = beta / (16 * side) as f64;
    let roughness = beta * gamma;
    let saliency = |image: usize, site: usize| images[image].saliency[site];
    let mut cost1: Vec<f64> = (0..side * side).map(|site| saliency(1, site)).collect();
    let mut cost0: Vec<f64> = (0..side * side).map(|site| saliency(0, site)).collect();
    let mut edges = Vec::with_capacity(2 * side * (side - 1));
    for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
        for vertical in [true, false] {
            let (below, right) = (usize::from(vertical), usize::from(!vertical));
            if row + below == side || column + right == side {
                continue;
            }
            let (i, j) = (row * side + column, (row + below) * side + column + right);
            // d(p, q): the seam with the first block of image p and the second of image q; 1, 0 are z.
            let d = |p: usize, q: usize| seam([images[1 - p], images[1 - q]], side, (row, column), vertical);
            let (d11, d10, d01, d00) = (d(1, 1), d(1, 0), d(0, 1), d(0, 0));
            cost1[i] += roughness * (d10 + d11) / 2.0;
            cost0[i] += roughness * (d01 + d00) / 2.0;
            cost1[j] += roughness * (d01 + d11) / 2.0;
            cost0[j] += roughness * (d10 + d00) / 2.0;
            edges.push((i, j, beta + roughness * (d10 + d01 - d11 - d00) / 2.0));
        }
    }
    const TINY: f64 = 1e-8;
    let prior = [alpha * alpha, 2.0 * alpha * (1.0 - alpha), (1.0 - alpha) * (1.0 - alpha)]
        .map(|p| -eta / (side * side) as f64 * (p + TINY).ln());
    let unary = cost1.iter().zip(&cost0);
    let unary = unary.map(|(c1, c0)| [c1 + prior[0], (c1 + c0) / 2.0 + prior[1], c0 + prior[2]]).collect();
    Energy { unary, edges }
}

/// Mean difference in colour along the border between a block of the first image and the next block (below it, or to its
/// right) of the second.
fn seam(images: [&Blocks; 2], side: usize, (row, column): (usize, usize), vertical: bool) -> f64 {
    let Blocks { fine, channels, .. } = *images[0];
    let width = side * fine;
    let mut sum = 0.0;
    for channel in 0..channels {
        let at = |y: usize, x: usize| (channel * width + y) * width + x;
        for along in 0..fine {
            let (from, to) = if vertical {
                let (x, y) = (column * fine + along, (row + 1) * fine);
                (at(y - 1, x), at(y, x))
            } else {
                let (x, y) = ((column + 1) * fine, row * fine + along);
                (at(y, x - 1), at(y, x))
            };
            sum += (images[0].colours[from] - images[1].colours[to]).abs();
        }
    }
    sum / (channels * fine) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, TestCaseError, prop_assert, proptest};

    fn assert_minimal(energy: &Energy) -> Result<(), TestCaseError> {
        let sites = energy.unary.len();
        let found = energy.of(&energy.minimum());
        let labels = |code: usize| -> Vec<u8> {
            (0..sites).map(|s| (code / 3usize.pow(s as u32) % 3) as u8).collect()
        };
        let least =
            (0..3usize.pow(sites as u32)).map(|code| energy.of(&labels(code))).fold(f64::INFINITY, f64::min);
        prop_assert!((found - least).abs() < 1e-12, "{} > {}", found, least);
        Ok(())
    }

    fn grid(side: usize, unary: &[[f64; 3]], weights: &[f64]) -> Energy {
        let mut edges = Vec::new();
        for i in 0..side * side {
            if i % side + 1 < side {
                edges.push((i, i + 1, weights[edges.len()]));
            }
            if i + side < side * side {
                edges.push((i, i + side, weights[edges.len()]));
            }
        }
        Energy { unary: unary[..side * side].to_vec(), edges }
    }

    proptest! {
        #[test]
        fn the_minimum_of_2x2_is_that_of_all_labellings(
            unary in proptest::collection::vec(proptest::array::uniform3(-1.0f64..1.0), 4),
            weights in proptest::collection::vec(0.0f64..2.0, 4),
        ) {
            assert_minimal(&grid(2, &unary, &weights))?;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_minimum_of_3x3_is_that_of_all_labellings(
            unary in proptest::collection::vec(proptest::array::uniform3(-1.0f64..1.0), 9),
            weights in proptest::collection::vec(0.0f64..2.0, 12),
        ) {
            assert_minimal(&grid(3, &unary, &weights))?;
        }
    }

    impl Energy {
        fn truncated(&self, scale: f64) -> Self {
            let unary = self.unary.iter().map(|costs| costs.map(|cost| (scale * cost).trunc()));
            let edges = self.edges.iter().map(|&(i, j, weight)| (i, j, (scale * weight).trunc()));
            Self { unary: unary.collect(), edges: edges.collect() }
        }
    }

    /// An instance of `peer/puzzlemix.py`, and what pyGCO, which is the authors' solver, found of it.
    #[derive(serde::Deserialize)]
    struct Swapped {
        side: usize,
        power: i32,
        seed: u64,
        labels: String,
        energy: f64,
    }

    impl Swapped {
        fn instance(&self) -> Energy {
            let mut numbers = (0..).map(|k| {
                let mut x = (self.seed << 32).wrapping_add(k).wrapping_add(0x9E37_79B9_7F4A_7C15);
                x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
            });
            let (side, fine, channels) = (self.side, 2, 3);
            let alpha = numbers.next().unwrap();
            let saliency = [(); 2].map(|()| {
                let raw: Vec<f64> = numbers.by_ref().take(side * side).map(|v| v.powi(self.power)).collect();
                let total: f64 = raw.iter().sum();
                raw.iter().map(|v| v / total).collect()
            });
            let [one, two] = saliency.map(|saliency| {
                let cells = channels * (side * fine).pow(2);
                Blocks { saliency, colours: numbers.by_ref().take(cells).collect(), channels, fine }
            });
            energy([&one, &two], side, &Weights { beta: 1.2, gamma: 0.5, eta: 0.2, alpha })
        }
    }

    #[test]
    fn the_authors_solver_never_finds_less() {
        let instances: Vec<Swapped> = serde_json::from_str(include_str!("swaps.json")).unwrap();
        let mut worse = 0;
        for swapped in &instances {
            let energy = swapped.instance();
            let labels: Vec<u8> = swapped.labels.bytes().map(|digit| digit - b'0').collect();
            let found = energy.of(&labels);
            // Their energy is ours.
            assert!((found - swapped.energy).abs() < 1e-12, "{found} is not {}", swapped.energy);
            let exact = energy.of(&energy.minimum());
            assert!(exact <= found + 1e-12, "{exact} > {found}");
            // Of the integers that the authors' solver is given, rounding is no excuse.
            let rounded = energy.truncated((1000 * swapped.side.pow(2)) as f64);
            worse += u32::from(rounded.of(&rounded.minimum()) < rounded.of(&labels) - 1e-6);
        }
        assert_eq!((instances.len(), worse), (80, 14), "in some, swaps end too early");
    }

    #[test]
    fn the_energy_is_the_published_one() {
        // Two blocks a side, one cell each, one channel; image 1 is white, image 2 black with a white corner.
        let image = |saliency: [f64; 4], colours: [f64; 4]| Blocks {
            saliency: saliency.to_vec(),
            colours: colours.to_vec(),
            channels: 1,
            fine: 1,
        };
        let one = image([0.4, 0.3, 0.2, 0.1], [1.0; 4]);
        let two = image([0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0]);
        let weights = Weights { beta: 3.2, gamma: 0.5, eta: 0.0, alpha: 0.5 };
        let energy = energy([&one, &two], 2, &weights);
        // beta' = 0.1, beta' gamma = 0.05. From block 0 to block 1: D11 = 0, D10 = 1, D01 = 0, D00 = 1; and to block 2
        // alike. From 1 to 3 and 2 to 3: D11 = 0, D10 = 1, D01 = 1, D00 = 0.
        let expected_w = [0.1 + 0.05 * (1.0 + 0.0 - 0.0 - 1.0) / 2.0, 0.1 + 0.05 * (1.0 + 1.0) / 2.0];
        let weight = |i, j| energy.edges.iter().find(|e| (e.0, e.1) == (i, j)).unwrap().2;
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(weight(0, 1), expected_w[0]);
        close(weight(1, 3), expected_w[1]);
        // Block 0, above and left of two: cost1 = u2 + 2 * 0.05 * (D10 + D11) / 2, cost0 = u1 + 2 * 0.05 * (D01 + D00) / 2.
        close(energy.unary[0][0], 0.1 + 2.0 * 0.05 * 0.5);
        close(energy.unary[0][2], 0.4 + 2.0 * 0.05 * 0.5);
        close(energy.unary[0][1], (energy.unary[0][0] + energy.unary[0][2]) / 2.0);
        // Block 1: the lower of (0, 1), the upper of (1, 3).
        close(energy.unary[1][0], 0.2 + 0.05 * (0.0 + 0.0) / 2.0 + 0.05 * (1.0 + 0.0) / 2.0);
        close(energy.unary[1][2], 0.3 + 0.05 * (1.0 + 1.0) / 2.0 + 0.05 * (1.0 + 0.0) / 2.0);
    }
}
