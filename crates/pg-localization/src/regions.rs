//! The connected regions of all levels of a map, found in one sweep.
//!
//! Every pixel enters at a step of its own and then stays: thresholds that fall (or rise) let foreground (or background)
//! in. Regions only grow and merge, so that one union-find over all steps replaces a search of the image for each:
//!
//! ```text
//!   map      step 0    step 1    step 2
//!   9 1 8    a . .     a . b     a a a      entry: step at which a pixel enters
//!   9 2 8    a . .     a . b     a a a      a, b:  regions; b is new at step 1 and merged into a at step 2
//! ```
//!
//! A region is scored only at steps at which it changed.

/// Steps of a sweep: one for each threshold between the 256 levels of a byte.
pub(crate) const STEPS: usize = 255;
/// The entry of a pixel that never enters.
pub(crate) const NEVER: u8 = 255;
/// In place of a parent, for a pixel that has not entered.
const OUT: u32 = u32::MAX;

/// Which pixels touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbours {
    /// Those that share a side.
    Four,
    /// Those that share a side or a corner.
    Eight,
}

/// A connected region at some step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    /// Columns, both in it.
    pub(crate) x: (u32, u32),
    /// Rows, both in it.
    pub(crate) y: (u32, u32),
    /// Its first pixel in raster order, row * width + column.
    pub(crate) first: u32,
    /// Number of pixels.
    pub(crate) pixels: u32,
}

impl Region {
    fn pixel(index: u32, width: u32) -> Self {
        let (x, y) = (index % width, index / width);
        Self { x: (x, x), y: (y, y), first: index, pixels: 1 }
    }

    fn joined(self, other: Self) -> Self {
        let hull = |a: (u32, u32), b: (u32, u32)| (a.0.min(b.0), a.1.max(b.1));
        Self {
            x: hull(self.x, other.x),
            y: hull(self.y, other.y),
            first: self.first.min(other.first),
            pixels: self.pixels + other.pixels,
        }
    }

    /// Whether it reaches the border of an image of this size.
    pub(crate) fn touches_border(&self, (width, height): (u32, u32)) -> bool {
        self.x.0 == 0 || self.y.0 == 0 || self.x.1 + 1 == width || self.y.1 + 1 == height
    }
}

/// For each step the greatest score of a region that exists then; `None` while there is none.
///
/// `entry` is the step at which each pixel of rows of `width` enters, below [`STEPS`] or [`NEVER`]; `score` is given the
/// step and a region that changed in it.
pub(crate) fn best_of_each_step<S: Copy + PartialOrd>(
    entry: &[u8],
    width: usize,
    neighbours: Neighbours,
    mut score: impl FnMut(usize, &Region) -> S,
) -> Vec<Option<S>> {
    let mut forest = Forest::new(entry.len(), width, neighbours);
    let order = Order::new(entry);
    let mut scores: Vec<Option<S>> = vec![None; entry.len()];
    let mut live: Vec<u32> = Vec::new();
    let mut changed = Vec::new();
    let mut best = Vec::with_capacity(STEPS);
    for step in 0..STEPS {
        let entering = order.of(step);
        entering.iter().for_each(|&pixel| forest.enter(pixel));
        changed.clear();
        changed.extend(entering.iter().map(|&pixel| forest.root(pixel)));
        // Neighbouring pixels are mostly of one region.
        changed.dedup();
        changed.sort_unstable();
        changed.dedup();
        live.retain(|&root| forest.is_root(root));
        for &root in &changed {
            let region = score(step, &forest.regions[root as usize]);
            if scores[root as usize].replace(region).is_none() {
                live.push(root);
            }
        }
        let greatest = live.iter().filter_map(|&root| scores[root as usize]);
        best.push(greatest.reduce(|a, b| if b > a { b } else { a }));
    }
    best
}

/// The pixels sorted by the step at which they enter, in raster order within one.
struct Order {
    pixels: Vec<u32>,
    starts: [usize; STEPS + 1],
}

impl Order {
    fn new(entry: &[u8]) -> Self {
        let mut starts = [0; STEPS + 1];
        for &step in entry.iter().filter(|&&step| step != NEVER) {
            starts[usize::from(step) + 1] += 1;
        }
        for step in 0..STEPS {
            starts[step + 1] += starts[step];
        }
        let mut next = starts;
        let mut pixels = vec![0; starts[STEPS]];
        for (pixel, &step) in (0u32..).zip(entry).filter(|&(_, &step)| step != NEVER) {
            let place = &mut next[usize::from(step)];
            pixels[*place] = pixel;
            *place += 1;
        }
        Self { pixels, starts }
    }

    fn of(&self, step: usize) -> &[u32] {
        &self.pixels[self.starts[step]..self.starts[step + 1]]
    }
}

/// Union-find over the pixels that have entered.
struct Forest {
    width: u32,
    height: u32,
    neighbours: Neighbours,
    parents: Vec<u32>,
    /// Of roots.
    regions: Vec<Region>,
}

impl Forest {
    fn new(pixels: usize, width: usize, neighbours: Neighbours) -> Self {
        let width = width as u32;
        Self {
            width,
            height: pixels as u32 / width,
            neighbours,
            parents: vec![OUT; pixels],
            regions: vec![Region::pixel(0, width); pixels],
        }
    }

    fn is_root(&self, pixel: u32) -> bool {
        self.parents[pixel as usize] == pixel
    }

    fn root(&mut self, mut pixel: u32) -> u32 {
        loop {
            let parent = self.parents[pixel as usize];
            if parent == pixel {
                return pixel;
            }
            // Halves the path for who comes next.
            let above = self.parents[parent as usize];
            self.parents[pixel as usize] = above;
            pixel = above;
        }
    }

    fn enter(&mut self, pixel: u32) {
        self.parents[pixel as usize] = pixel;
        self.regions[pixel as usize] = Region::pixel(pixel, self.width);
        let (x, y) = (pixel % self.width, pixel / self.width);
        let (left, right) = (x > 0, x + 1 < self.width);
        let (above, below) = (y > 0, y + 1 < self.height);
        let diagonal = self.neighbours == Neighbours::Eight;
        let (pixel, width) = (i64::from(pixel), i64::from(self.width));
        let steps = [
            (left, -1),
            (right, 1),
            (above, -width),
            (below, width),
            (diagonal && above && left, -width - 1),
            (diagonal && above && right, -width + 1),
            (diagonal && below && left, width - 1),
            (diagonal && below && right, width + 1),
        ];
        let mut root = pixel as u32;
        for (_, step) in steps.into_iter().filter(|(inside, _)| *inside) {
            let neighbour = (pixel + step) as u32;
            if self.parents[neighbour as usize] != OUT {
                root = self.unite(root, neighbour);
            }
        }
    }

    /// Joins the region of `root` with that of `pixel`; returns the root of both.
    fn unite(&mut self, root: u32, pixel: u32) -> u32 {
        let other = self.root(pixel);
        if root == other {
            return root;
        }
        let (a, b) = (self.regions[root as usize], self.regions[other as usize]);
        let (upper, lower) = if a.pixels < b.pixels { (other, root) } else { (root, other) };
        self.parents[lower as usize] = upper;
        self.regions[upper as usize] = a.joined(b);
        upper
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The regions of the pixels that have entered by `step`, by flooding from each.
    fn flooded(entry: &[u8], width: usize, neighbours: Neighbours, step: usize) -> Vec<Region> {
        let inside = |i: usize| usize::from(entry[i]) <= step && entry[i] != NEVER;
        let mut seen = vec![false; entry.len()];
        let mut regions = Vec::new();
        for start in 0..entry.len() {
            if seen[start] || !inside(start) {
                continue;
            }
            seen[start] = true;
            let (mut stack, mut region) = (vec![start], Region::pixel(start as u32, width as u32));
            while let Some(pixel) = stack.pop() {
                region = region.joined(Region::pixel(pixel as u32, width as u32));
                for (other, seen) in seen.iter_mut().enumerate() {
                    let (dx, dy) =
                        ((pixel % width).abs_diff(other % width), (pixel / width).abs_diff(other / width));
                    let touch = match neighbours {
                        Neighbours::Four => dx + dy == 1,
                        Neighbours::Eight => dx.max(dy) == 1,
                    };
                    if touch && inside(other) && !*seen {
                        *seen = true;
                        stack.push(other);
                    }
                }
            }
            // The start was counted twice.
            region.pixels -= 1;
            regions.push(region);
        }
        regions
    }

    proptest! {
        #[test]
        fn every_step_has_the_regions_of_a_flood(
            width in 1usize..7, height in 1usize..7, seed in proptest::collection::vec(0u8..6, 36), eight: bool,
        ) {
            let entry: Vec<u8> = seed[..width * height].iter().map(|&s| if s == 5 { NEVER } else { s * 60 }).collect();
            let neighbours = if eight { Neighbours::Eight } else { Neighbours::Four };
            // An order of all regions: the greatest of each step by each of several keys.
            let keys: [fn(&Region) -> u32; 5] =
                [|r| r.pixels, |r| r.first, |r| 100 - r.x.0, |r| r.x.1 * 10 + r.y.1, |r| 100 - r.y.0];
            for key in keys {
                let best = best_of_each_step(&entry, width, neighbours, |_, region| key(region));
                for (step, best) in best.into_iter().enumerate().step_by(30) {
                    let expected = flooded(&entry, width, neighbours, step).iter().map(key).max();
                    prop_assert_eq!(best, expected, "step {}", step);
                }
            }
        }
    }
}
