//! Moves salient blocks to where the mix shows them.
//!
//! Block i of an image costs `t_eps |p_i - p_j|^2 / (b - 1)^2 - s_i [shown_j]` at place j of b x b: salient blocks want to be
//! seen, and no block wants to go far.

/// Which block each place takes, `None` where it takes none. `saliency` is that of the blocks of an image of `side` x `side`.
pub(super) fn heuristic(saliency: &[f64], shown: &[bool], side: usize, t_eps: f64) -> Vec<Option<usize>> {
    let blocks = saliency.len();
    let mut costs = costs(saliency, shown, side, t_eps);
    let cheapest = |row: &[f64]| {
        let less = |best: usize, j: usize| if row[j] < row[best] { j } else { best };
        (1..blocks).fold(0, less)
    };
    let mut wanted: Vec<usize> = costs.chunks_exact(blocks).map(cheapest).collect();
    let mut winner: Vec<Option<usize>> = Vec::new();
    // The authors' loop: everyone asks for the cheapest place, each place takes the cheapest who asks, and the others
    // find that place dearer by 1.
    for _ in 0..side {
        winner = vec![None; blocks];
        for (block, &place) in wanted.iter().enumerate() {
            let cost = |block: usize| costs[block * blocks + place];
            if winner[place].is_none_or(|other| cost(block) < cost(other)) {
                winner[place] = Some(block);
            }
        }
        for (block, place) in wanted.iter_mut().enumerate() {
            if winner[*place] != Some(block) {
                let row = &mut costs[block * blocks..][..blocks];
                row[*place] += 1.0;
                *place = cheapest(row);
            }
        }
    }
    // A place that is shown and that nobody has won keeps its own block. The authors' places always have one; here prices
    // and saliency may be such that distances vanish in rounding.
    for (place, winner) in winner.iter_mut().enumerate().filter(|(place, _)| shown[*place]) {
        winner.get_or_insert(place);
    }
    winner
}

/// The assignment of least total cost, by the Hungarian method.
pub(super) fn exact(saliency: &[f64], shown: &[bool], side: usize, t_eps: f64) -> Vec<Option<usize>> {
    assignment(&costs(saliency, shown, side, t_eps), saliency.len()).into_iter().map(Some).collect()
}

/// (block, place), row by row.
fn costs(saliency: &[f64], shown: &[bool], side: usize, t_eps: f64) -> Vec<f64> {
    let scale = t_eps / ((side - 1) * (side - 1)) as f64;
    // Column, row, and 1 where the place is shown, of each place.
    let places: Vec<[f64; 3]> = (0..saliency.len())
        .map(|place| [(place % side) as f64, (place / side) as f64, f64::from(u8::from(shown[place]))])
        .collect();
    let mut costs = Vec::with_capacity(saliency.len() * places.len());
    for (saliency, [x, y, _]) in saliency.iter().zip(&places) {
        let cost = |[to_x, to_y, shown]: &[f64; 3]| {
            ((x - to_x) * (x - to_x) + (y - to_y) * (y - to_y)) * scale - shown * saliency
        };
        costs.extend(places.iter().map(cost));
    }
    costs
}

/// For each column of a square matrix the row assigned to it, at least cost in all (Kuhn and Munkres, with shortest
/// augmenting paths).
fn assignment(costs: &[f64], n: usize) -> Vec<usize> {
    const FREE: usize = usize::MAX;
    let (mut row_price, mut column_price) = (vec![0.0; n], vec![0.0; n]);
    let mut row_of = vec![FREE; n];
    for start in 0..n {
        // The tree of shortest alternating paths from row `start`.
        let (mut least, mut before) = (vec![f64::INFINITY; n], vec![FREE; n]);
        let mut reached = vec![false; n];
        let (mut row, mut from) = (start, FREE);
        let free = loop {
            let (mut next, mut delta) = (FREE, f64::INFINITY);
            for column in (0..n).filter(|&column| !reached[column]) {
                let reduced = costs[row * n + column] - row_price[row] - column_price[column];
                if reduced < least[column] {
                    (least[column], before[column]) = (reduced, from);
                }
                if least[column] < delta {
                    (next, delta) = (column, least[column]);
                }
            }
            row_price[start] += delta;
            for column in 0..n {
                if reached[column] {
                    row_price[row_of[column]] += delta;
                    column_price[column] -= delta;
                } else {
                    least[column] -= delta;
                }
            }
            reached[next] = true;
            if row_of[next] == FREE {
                break next;
            }
            (row, from) = (row_of[next], next);
        };
        // Each column of the path takes the row of the column before it.
        let mut column = free;
        while before[column] != FREE {
            row_of[column] = row_of[before[column]];
            column = before[column];
        }
        row_of[column] = start;
    }
    row_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn least_of_all(costs: &[f64], n: usize, rows: &mut Vec<usize>) -> f64 {
        if rows.len() == n {
            return rows.iter().enumerate().map(|(column, row)| costs[row * n + column]).sum();
        }
        let mut least = f64::INFINITY;
        for row in 0..n {
            if !rows.contains(&row) {
                rows.push(row);
                least = least.min(least_of_all(costs, n, rows));
                rows.pop();
            }
        }
        least
    }

    proptest! {
        #[test]
        fn the_assignment_is_the_best_of_all(costs in proptest::collection::vec(-5.0f64..5.0, 36), n in 1usize..7) {
            let costs = &costs[..n * n];
            let rows = assignment(costs, n);
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..n).collect::<Vec<_>>());
            let cost: f64 = rows.iter().enumerate().map(|(column, row)| costs[row * n + column]).sum();
            prop_assert!((cost - least_of_all(costs, n, &mut Vec::new())).abs() < 1e-9);
        }

        #[test]
        fn the_heuristic_shows_something_everywhere_and_nothing_twice(
            saliency in proptest::collection::vec(prop_oneof![Just(0.0), 0.0f64..1.0], 16),
            shown in proptest::collection::vec(any::<bool>(), 16),
            t_eps in 0.01f64..2.0,
        ) {
            let total = saliency.iter().sum::<f64>().max(1e-9);
            let saliency: Vec<f64> = saliency.iter().map(|s| s / total).collect();
            let places = heuristic(&saliency, &shown, 4, t_eps);
            prop_assert!((0..16).all(|place| !shown[place] || places[place].is_some()));
            let mut blocks: Vec<usize> = places.iter().flatten().copied().collect();
            blocks.sort_unstable();
            let count = blocks.len();
            blocks.dedup();
            prop_assert_eq!(count, blocks.len());
        }
    }

    #[test]
    fn a_salient_block_moves_to_a_place_that_is_shown() {
        // All saliency is in block 0, and block 1 alone is shown.
        let (saliency, shown) = ([1.0, 0.0, 0.0, 0.0], [false, true, false, false]);
        assert_eq!(heuristic(&saliency, &shown, 2, 0.8)[1], Some(0));
        // All places are taken at once: block 1 has to make way, which costs as much again.
        assert_eq!(exact(&saliency, &shown, 2, 0.4), [Some(1), Some(0), Some(2), Some(3)]);
        // Where everything is shown, or moving is dear, nothing moves.
        let stays = [Some(0), Some(1), Some(2), Some(3)];
        assert_eq!(heuristic(&saliency, &[true; 4], 2, 0.8), stays);
        assert_eq!(exact(&saliency, &shown, 2, 0.6), stays);
        assert_eq!(heuristic(&saliency, &shown, 2, 2.0), stays);
    }
}
