//! Inputs that are mirrored or moved.

/// A change of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Left to right.
    Mirrored,
    /// By so many pixels to the right and downwards.
    Shifted(isize, isize),
}

/// The planes `3 x S x S` changed; the colour `fill` moves in.
pub fn changed(planes: &[f32], side: usize, change: Change, fill: [f32; 3]) -> Vec<f32> {
    let from = |at: usize, by: isize| at.checked_add_signed(-by).filter(|&at| at < side);
    let mut moved = Vec::with_capacity(planes.len());
    for (plane, fill) in planes.chunks_exact(side * side).zip(fill) {
        for row in 0..side {
            moved.extend((0..side).map(|column| match change {
                Change::Mirrored => plane[row * side + side - 1 - column],
                Change::Shifted(right, down) => match (from(row, down), from(column, right)) {
                    (Some(row), Some(column)) => plane[row * side + column],
                    _ => fill,
                },
            }));
        }
    }
    moved
}
