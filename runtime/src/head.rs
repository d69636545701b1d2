//! Class scores from grouped maps, and what each of a class's channels adds to its score.
//!
//! `maps` are `[N, H, W]`, the class-aligned maps after `ReLU` of one picture, so values are at least 0;
//! other values, non-finite ones included, give defined results and never a panic.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use ndarray::{Array2, ArrayView2, ArrayView3, Axis, Zip};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// How a class's score is made of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum HeadKind {
    /// The mean over the map of the group's maximum (the CCMP map): the score that `L_dis` trains.
    GroupMax,
    /// A weighted sum of the means of the class's own maps.
    #[cfg_attr(feature = "clap", value(alias = "group"))]
    GroupMean,
    /// A weighted sum of the means of all maps, of which only the class's own weights are stored.
    Linear,
}

/// The last step from maps to logits, with `F_j` channel `j`'s map and the group of class `i`:
///
/// - `GroupMean`: `logit_i = bias_i + sum over j in group i of weight_j * gap(F_j)`
/// - `GroupMax`: `logit_i = bias_i + sum over j in group i of weight_j / (H * W) * sum over the cells
///   that j wins of F_j`. A channel wins a cell if it is the group's maximum there, the first on
///   ties, and above 0. Weights are equal within a class.
/// - `Linear`: as `GroupMean`, plus terms of the other classes' channels, which are not stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Which of the formulas.
    pub kind: HeadKind,
    /// `N` values: the weight of each channel in the score of the class that owns it.
    pub weight: Vec<f32>,
    /// `c` values, one a class.
    pub bias: Vec<f32>,
}

impl Head {
    /// What each channel of `class` adds to the class's logit: `xi` values in logit units, in channel
    /// order.
    ///
    /// For the group heads their sum plus the bias is the logit to the rounding of 32-bit floats: the difference is at
    /// most `(xi + 2) * f32::EPSILON` times the sum of the terms' magnitudes, the bias included. (A graph sums the cells of
    /// a map in another way; a model's self-test holds its logits to `1e-5` of [`Head::reach`].)
    /// For `Linear` they are the terms of the class's own channels only; the other classes' channels add to
    /// the logit, too, so shares do **not** add up to it.
    ///
    /// # Panics
    /// Panics if `class` is none of the layout's, or if `maps` or the weights have other than
    /// `layout.channels()` channels.
    pub fn shares(&self, maps: ArrayView3<'_, f32>, layout: &Layout, class: usize) -> Vec<f32> {
        assert_eq!(self.weight.len(), layout.channels(), "weights and layout");
        let group = group_maps(maps, layout, class);
        let means = match self.kind {
            HeadKind::GroupMax => won_means(group),
            HeadKind::GroupMean | HeadKind::Linear => gap(group),
        };
        let weights = &self.weight[layout.group(class)];
        means.iter().zip(weights).map(|(m, w)| m * w).collect()
    }

    /// What rounding errs in proportion to: the largest of `logits`, or of the sums that a class's terms would give if none
    /// took from another (magnitudes of its shares and its bias), but at least 10. `logits` are those that the maps give.
    ///
    /// # Panics
    /// As [`Head::logits`].
    pub fn reach(&self, maps: ArrayView3<'_, f32>, layout: &Layout, logits: &[f32]) -> f32 {
        assert_eq!(self.bias.len(), layout.classes(), "biases and layout");
        let terms = |class: usize| {
            let shares = self.shares(maps, layout, class);
            self.bias[class].abs() + shares.iter().map(|share| share.abs()).sum::<f32>()
        };
        let largest = logits.iter().map(|logit| logit.abs()).fold(10.0, f32::max);
        (0..layout.classes()).map(terms).fold(largest, f32::max)
    }

    /// The `c` logits, or `None` for the linear head, whose weights across classes are not stored.
    ///
    /// # Panics
    /// As [`Head::shares`], and if there is not one bias a class.
    pub fn logits(&self, maps: ArrayView3<'_, f32>, layout: &Layout) -> Option<Vec<f32>> {
        assert_eq!(self.bias.len(), layout.classes(), "biases and layout");
        if self.kind == HeadKind::Linear {
            return None;
        }
        let logit = |class| self.bias[class] + self.shares(maps, layout, class).iter().sum::<f32>();
        Some((0..layout.classes()).map(logit).collect())
    }
}

/// Global average pooling: the mean of each channel's map. `[N, H, W]` to `N` values; 0 for maps
/// without a cell.
pub fn gap(maps: ArrayView3<'_, f32>) -> Vec<f32> {
    maps.outer_iter().map(mean).collect()
}

/// Cross-channel max pooling of one class: the maximum of its channels at each cell, `[H, W]`. This is
/// the class's heat map. Values that are not a number lose to any number.
///
/// # Panics
/// Panics if `class` is none of the layout's, or if `maps` has other than `layout.channels()` channels.
pub fn ccmp(maps: ArrayView3<'_, f32>, layout: &Layout, class: usize) -> Array2<f32> {
    let group = group_maps(maps, layout, class);
    let mut highest = group.index_axis(Axis(0), 0).to_owned();
    for map in group.outer_iter().skip(1) {
        Zip::from(&mut highest).and(map).for_each(|high, &value| *high = high.max(value));
    }
    highest
}

/// Probabilities of logits at a temperature: `exp(l_i / T) / sum of exp(l_j / T)`, with the maximum
/// subtracted first, so that no finite logit overflows. They are in 0..=1 and sum to 1.
///
/// `temperature` must be above 0. A logit that is not a number gets 0; infinite logits share all of
/// the probability; without any number every probability is 0.
pub fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NAN, f32::max);
    let weight = |&logit: &f32| {
        if logit.is_nan() {
            0.0
        } else if logit >= highest {
            1.0
        } else {
            libm::expf((logit - highest) / temperature)
        }
    };
    let mut values: Vec<f32> = logits.iter().map(weight).collect();
    let total: f32 = values.iter().sum();
    if total > 0.0 {
        for value in &mut values {
            *value /= total;
        }
    }
    values
}

/// The indices of the `k` largest values, largest first; of equal values the lower index first, values
/// that are not a number last. All indices if there are fewer than `k`.
pub fn top_k(values: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| largest_first(values[a], values[b]).then(a.cmp(&b)));
    order.truncate(k);
    order
}

/// Larger values first, those that are not a number last.
pub(crate) fn largest_first(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The maps of one class, `[xi, H, W]`.
fn group_maps<'a>(maps: ArrayView3<'a, f32>, layout: &Layout, class: usize) -> ArrayView3<'a, f32> {
    let channels = maps.len_of(Axis(0));
    assert_eq!(channels, layout.channels(), "channels of maps and layout");
    maps.slice_axis_move(Axis(0), layout.group(class).into())
}

/// The mean over a map's cells; 0 without any.
pub(crate) fn mean(map: ArrayView2<'_, f32>) -> f32 {
    // Summed in f64: a mean of a large map would lose digits that the engine's blocked sum keeps.
    let total: f64 = map.iter().map(|&value| f64::from(value)).sum();
    (total / map.len().max(1) as f64) as f32
}

/// For each channel of a group, the sum of the values of the cells it wins, over the map's size.
fn won_means(group: ArrayView3<'_, f32>) -> Vec<f32> {
    let (xi, height, width) = group.dim();
    let mut won = vec![0.0_f64; xi];
    for y in 0..height {
        for x in 0..width {
            let (mut winner, mut highest) = (0, 0.0_f32);
            for j in 0..xi {
                if group[[j, y, x]] > highest {
                    (winner, highest) = (j, group[[j, y, x]]);
                }
            }
            won[winner] += f64::from(highest);
        }
    }
    let cells = (height * width).max(1) as f64;
    won.iter().map(|&sum| (sum / cells) as f32).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    const KINDS: [HeadKind; 3] = [HeadKind::GroupMax, HeadKind::GroupMean, HeadKind::Linear];

    /// Knuth's MMIX generator; a case table that writes itself.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
            self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 33) % limit) as usize
        }

        /// -1 to 1.
        fn signed(&mut self) -> f32 {
            self.below(20_001) as f32 / 10_000.0 - 1.0
        }
    }

    fn random_layout(random: &mut Random) -> Layout {
        let classes = 1 + random.below(6);
        let sizes: Vec<usize> = (0..classes).map(|_| 1 + random.below(5)).collect();
        Layout::from_sizes(&sizes).unwrap()
    }

    fn random_head(random: &mut Random, kind: HeadKind, layout: &Layout) -> Head {
        let mut weight: Vec<f32> = (0..layout.channels()).map(|_| random.signed()).collect();
        if kind == HeadKind::GroupMax {
            for class in 0..layout.classes() {
                let group = layout.group(class);
                let first = weight[group.start];
                weight[group].fill(first);
            }
        }
        let bias = (0..layout.classes()).map(|_| random.signed()).collect();
        Head { kind, weight, bias }
    }

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() <= 1e-5
    }

    #[test]
    fn gap_is_the_mean_of_each_map() {
        let maps = array![[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, -4.0]]];
        assert_eq!(gap(maps.view()), [3.0, -1.0]);
        assert_eq!(gap(Array3::zeros((2, 0, 3)).view()), [0.0, 0.0]);
    }

    #[test]
    fn ccmp_is_the_highest_of_the_own_channels() {
        let layout = Layout::from_sizes(&[1, 2]).unwrap();
        let maps = array![[[9.0, 9.0]], [[1.0, 4.0]], [[3.0, f32::NAN]]];
        assert_eq!(ccmp(maps.view(), &layout, 0), array![[9.0, 9.0]]);
        assert_eq!(ccmp(maps.view(), &layout, 1), array![[3.0, 4.0]]);
    }

    #[test]
    fn group_max_gives_a_cell_to_the_first_of_equals_and_nothing_below_zero() {
        let layout = Layout::uniform(1, 3).unwrap();
        let maps = array![[[2.0, 0.0], [-1.0, 1.0]], [[2.0, 0.0], [-3.0, 5.0]], [[1.0, 0.0], [-1.0, 5.0]]];
        let head = Head { kind: HeadKind::GroupMax, weight: vec![2.0; 3], bias: vec![0.5] };
        assert_eq!(head.shares(maps.view(), &layout, 0), [1.0, 2.5, 0.0]);
        assert_eq!(head.logits(maps.view(), &layout), Some(vec![4.0]));
    }

    #[test]
    fn group_mean_weighs_every_own_mean() {
        let layout = Layout::from_sizes(&[2, 1]).unwrap();
        let maps = array![[[1.0, 3.0]], [[0.0, 8.0]], [[5.0, 5.0]]];
        let head = Head { kind: HeadKind::GroupMean, weight: vec![1.0, -0.5, 3.0], bias: vec![1.0, -1.0] };
        assert_eq!(head.shares(maps.view(), &layout, 0), [2.0, -2.0]);
        assert_eq!(head.logits(maps.view(), &layout), Some(vec![1.0, 14.0]));
    }

    #[test]
    fn the_reach_is_what_the_terms_add_up_to_without_their_signs() {
        let layout = Layout::from_sizes(&[2, 1]).unwrap();
        let maps = array![[[100.0, 300.0]], [[0.0, 800.0]], [[5.0, 5.0]]];
        let mut head =
            Head { kind: HeadKind::GroupMean, weight: vec![1.0, -0.5, 3.0], bias: vec![-1.0, -1.0] };
        let logits = head.logits(maps.view(), &layout).unwrap();
        assert_eq!(logits, [-1.0, 14.0]);
        assert!(close(head.reach(maps.view(), &layout, &logits), 401.0));
        head.kind = HeadKind::Linear;
        assert!(close(head.reach(maps.view(), &layout, &[-500.0, 2.0]), 500.0));
        let small = maps.mapv(|value| value / 1000.0);
        assert!(close(head.reach(small.view(), &layout, &[1.0, 2.0]), 10.0));
    }

    #[test]
    fn shares_of_the_linear_head_leave_out_what_other_classes_channels_add() {
        let layout = Layout::uniform(2, 1).unwrap();
        let maps = array![[[4.0_f32]], [[2.0]]];
        // All weights of class 0, of which a description stores the first.
        let all = [0.5, 3.0];
        let head = Head { kind: HeadKind::Linear, weight: vec![0.5, 1.0], bias: vec![1.0, 0.0] };
        let logit = head.bias[0] + all[0] * 4.0 + all[1] * 2.0;
        let shares: f32 = head.shares(maps.view(), &layout, 0).iter().sum();
        assert!(close(logit - (head.bias[0] + shares), 6.0));
    }

    #[test]
    fn the_linear_head_has_own_terms_but_no_logits() {
        let layout = Layout::uniform(1, 1).unwrap();
        let maps = array![[[4.0_f32]]];
        let head = Head { kind: HeadKind::Linear, weight: vec![0.5], bias: vec![9.0] };
        assert_eq!(head.shares(maps.view(), &layout, 0), [2.0]);
        assert_eq!(head.logits(maps.view(), &layout), None);
    }

    #[test]
    fn group_max_with_unit_weight_is_the_mean_of_ccmp() {
        let mut random = Random(11);
        for _ in 0..50 {
            let layout = random_layout(&mut random);
            let size = (layout.channels(), 1 + random.below(7), 1 + random.below(7));
            let maps = Array3::from_shape_simple_fn(size, || random.signed().max(0.0));
            let head = Head {
                kind: HeadKind::GroupMax,
                weight: vec![1.0; layout.channels()],
                bias: vec![0.0; layout.classes()],
            };
            for (class, logit) in head.logits(maps.view(), &layout).unwrap().iter().enumerate() {
                let heat = ccmp(maps.view(), &layout, class);
                assert!(close(*logit, mean(heat.view())));
            }
        }
    }

    /// The head's formula written the other way round: from the class's heat map, or from all means.
    fn logit_by_definition(head: &Head, maps: &Array3<f32>, layout: &Layout, class: usize) -> f32 {
        let group = layout.group(class);
        let sum: f32 = if head.kind == HeadKind::GroupMax {
            let heat = ccmp(maps.view(), layout, class).mapv(|value| value.max(0.0));
            head.weight[group.start] * mean(heat.view())
        } else {
            let means = gap(maps.view());
            group.map(|channel| head.weight[channel] * means[channel]).sum()
        };
        head.bias[class] + sum
    }

    #[test]
    fn shares_and_bias_sum_to_the_logit_of_a_group_head_to_rounding() {
        let mut random = Random(1);
        for case in 0..200 {
            let layout = random_layout(&mut random);
            let head = random_head(&mut random, KINDS[case % 2], &layout);
            let size = (layout.channels(), 1 + random.below(15), 1 + random.below(15));
            let maps = Array3::from_shape_simple_fn(size, || 4.0 * random.signed());
            let logits = head.logits(maps.view(), &layout).unwrap();
            for (class, &logit) in logits.iter().enumerate() {
                let shares = head.shares(maps.view(), &layout, class);
                assert_eq!(shares.len(), layout.xi(class));
                let sum = head.bias[class] + shares.iter().sum::<f32>();
                let terms = head.bias[class].abs() + shares.iter().map(|share| share.abs()).sum::<f32>();
                let bound = (layout.xi(class) + 2) as f32 * f32::EPSILON * terms;
                assert!((sum - logit).abs() <= bound);
                assert!((sum - logit_by_definition(&head, &maps, &layout, class)).abs() <= bound);
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_do_not_panic() {
        let layout = Layout::from_sizes(&[2, 1]).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for kind in KINDS {
                let head = random_head(&mut Random(3), kind, &layout);
                let maps = Array3::from_elem((3, 2, 2), bad);
                head.shares(maps.view(), &layout, 0);
                head.logits(maps.view(), &layout);
                ccmp(maps.view(), &layout, 1);
            }
        }
    }

    #[test]
    fn softmax_cases() {
        let inf = f32::INFINITY;
        let nan = f32::NAN;
        let quarter = 3.0_f32.ln();
        let cases: [(&[f32], f32, &[f32]); 9] = [
            (&[], 1.0, &[]),
            (&[5.0], 1.0, &[1.0]),
            (&[0.0, quarter], 1.0, &[0.25, 0.75]),
            (&[0.0, 2.0 * quarter], 2.0, &[0.25, 0.75]),
            (&[1e30, -1e30], 1.0, &[1.0, 0.0]),
            (&[inf, 0.0, inf], 1.0, &[0.5, 0.0, 0.5]),
            (&[-inf, -inf], 1.0, &[0.5, 0.5]),
            (&[nan, 1.0, 1.0], 1.0, &[0.0, 0.5, 0.5]),
            (&[nan, nan], 1.0, &[0.0, 0.0]),
        ];
        for (logits, temperature, expected) in cases {
            let actual = softmax(logits, temperature);
            assert_eq!(actual.len(), expected.len());
            for (a, b) in actual.iter().zip(expected) {
                assert!(close(*a, *b), "{logits:?}: {actual:?}");
            }
        }
    }

    #[test]
    fn top_k_cases() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let cases: [(&[f32], usize, &[usize]); 8] = [
            (&[], 3, &[]),
            (&[1.0, 2.0], 0, &[]),
            (&[1.0, 3.0, 2.0], 2, &[1, 2]),
            (&[1.0, 3.0, 2.0], 9, &[1, 2, 0]),
            (&[2.0, 1.0, 2.0, 2.0], 3, &[0, 2, 3]),
            (&[0.0, -0.0], 2, &[0, 1]),
            (&[nan, 1.0, nan, -inf], 4, &[1, 3, 0, 2]),
            (&[1.0, inf, nan], 3, &[1, 0, 2]),
        ];
        for (values, k, expected) in cases {
            assert_eq!(top_k(values, k), expected, "{values:?}");
        }
    }

    #[test]
    fn head_kinds_have_stable_names() {
        for (kind, name) in KINDS.iter().zip(["group-max", "group-mean", "linear"]) {
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("\"{name}\""));
        }
    }
}
