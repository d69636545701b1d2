//! The mutual-channel loss (Chang et al., "The Devil is in the Channels", IEEE TIP 29, 2020), in the
//! paper's order and symbols.
//!
//! `L_MC = L_dis - lambda L_div`, trained with the head's own cross-entropy as `L_CE + mu L_MC`:
//!
//! ```text
//! L_dis: maps -> CWA mask -> CCMP -> GAP -> softmax cross-entropy      each class's channels tell it
//! L_div: maps -> softmax over space -> CCMP -> sum over space = h      ... and look at different places
//! ```
//!
//! Shapes: `B` batch, `c` classes, `xi_i` channels of class `i`, `N = sum xi_i`, maps `[B, N, H, W]`.
//! The maps are taken after their `ReLU` and before any pooling: masking by zero drops a channel only
//! where no map is negative. At inference nothing of this module runs.

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::loss::cross_entropy;
use fieldmark::layout::Layout;
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

pub use crate::net::ops::ccmp;
use crate::net::ops::{coverage, gap, masked_ccmp};

/// Channels of each class that the CWA mask keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// `ceil(xi / 2)` of a class's `xi` channels, the paper's rule. (The authors' code keeps 6 of 10
    /// and 7 of 11: ask for that with `Count`.)
    Half,
    /// This many; a smaller group keeps all it has. `Count(xi)` switches the mask off.
    Count(usize),
}

/// Whose groups of channels `L_div` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Diversity {
    /// Those of all classes on every picture, as in the paper
    #[default]
    EveryClass,
    /// Those of the class that the picture shows: not in the paper. The others have nothing to see in it
    LabelledClass,
}

/// `mu` and `lambda` of `L = L_CE + mu (L_dis - lambda L_div)`, and what `L_div` is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// Factor of the whole mutual-channel loss.
    pub mu: f64,
    /// Factor of the diversity inside it; acts on the mean of `h`, not of `h / xi`.
    pub lambda: f64,
    /// Whose groups the diversity counts.
    #[serde(default)]
    pub diversity: Diversity,
}

impl Factors {
    /// Those of the paper's loss.
    pub fn paper(mu: f64, lambda: f64) -> Factors {
        Factors { mu, lambda, diversity: Diversity::EveryClass }
    }

    /// The factors of the authors' code, `alpha L_dis + beta (1 - mean h / xi)`, in the paper's form:
    /// `mu = alpha`, `lambda = beta / (alpha xi)`. The two losses then differ by the constant `beta`.
    pub fn from_authors(alpha: f64, beta: f64, xi: usize) -> Factors {
        Factors::paper(alpha, beta / (alpha * xi as f64))
    }
}

/// The loss of one batch with its parts, each a scalar on the graph.
#[derive(Clone, Debug)]
pub struct McLoss {
    /// `mu (L_dis - lambda L_div)`; can be negative.
    pub total: Tensor,
    /// `L_dis`, from about `ln c` down to 0.
    pub discriminality: Tensor,
    /// `L_div`: the mean of `h`, in `1 ..= xi`.
    pub diversity: Tensor,
    /// The mean of `h / xi` over all classes, in `0 ..= 1`: a number to compare runs of different `xi` by.
    pub coverage: Tensor,
}

/// `mu (L_dis - lambda L_div)` of one batch.
///
/// `maps`: `[B, N, H, W]`, nowhere negative; `labels`: `[B]`, u32; `mask`: `[1, N, 1, 1]` from
/// [`cwa_mask`]. The mask acts on `L_dis` alone. Both terms are means over the batch and over the
/// classes, as in the paper: `lambda` weighs `h` itself, and in uneven groups every class's `h_i` has
/// the weight `1/c`, so that a class with more channels has more to gain. (The authors' code sums one
/// mean of `h / xi` a bucket of equal groups, which favours the classes of the smaller bucket.)
///
/// # Errors
/// As [`discriminality`] and [`diversity`].
pub fn mc_loss(
    maps: &Tensor,
    labels: &Tensor,
    layout: &Layout,
    mask: &Tensor,
    factors: Factors,
) -> Result<McLoss> {
    let discriminality = discriminality(maps, labels, layout, mask)?;
    let coverage = coverage(maps, layout)?;
    let diversity = match factors.diversity {
        Diversity::EveryClass => mean_h(&coverage, layout)?,
        Diversity::LabelledClass => mean_h_of(labels, &coverage, layout)?,
    };
    let total = ((&discriminality - (&diversity * factors.lambda)?)? * factors.mu)?;
    Ok(McLoss { total, discriminality, diversity, coverage: coverage.mean_all()? })
}

/// Channel-wise attention: a mask that keeps `keep` random channels of every class, `[1, N, 1, 1]`.
///
/// One mask for the whole batch; draw a new one every step. Kept channels are not rescaled: the head
/// sees the unmasked maps, in training as at inference.
///
/// # Errors
/// `keep` is 0, or more than the largest group has.
pub fn cwa_mask(layout: &Layout, keep: Keep, dtype: DType, rng: &mut impl Rng) -> Result<Tensor> {
    refuse_keep(layout, keep)?;
    let mut mask = vec![0_u8; layout.channels()];
    for class in 0..layout.classes() {
        let group = &mut mask[layout.group(class)];
        let kept = match keep {
            Keep::Half => group.len().div_ceil(2),
            Keep::Count(count) => count.min(group.len()),
        };
        group[..kept].fill(1);
        group.shuffle(rng);
    }
    Tensor::from_vec(mask, (1, layout.channels(), 1, 1), &Device::Cpu)?.to_dtype(dtype)
}

fn refuse_keep(layout: &Layout, keep: Keep) -> Result<()> {
    let largest = (0..layout.classes()).map(|class| layout.xi(class)).max();
    match (keep, largest.unwrap_or(0)) {
        (Keep::Count(0), _) => bail!(
            "the CWA mask keeps 0 channels a class, which leaves nothing to tell classes by; keep at \
             least 1"
        ),
        (Keep::Count(count), largest) if count > largest => bail!(
            "the CWA mask keeps {count} channels a class, but the largest group has {largest}; keep \
             at most {largest}"
        ),
        _ => Ok(()),
    }
}

/// `L_dis = CE(y, softmax_i g(F_i))` with `g(F_i) = (1/HW) sum_k max_j M_ij F_ijk`, a scalar.
///
/// `maps`: `[B, N, H, W]`, nowhere negative; `labels`: `[B]`, u32; `mask`: `[1, N, 1, 1]`. The raw means
/// are the logits: no weights, no bias, no temperature.
///
/// # Errors
/// Maps or mask do not fit the layout, a mask entry is not 0 or 1, a map is negative where the mask
/// acts, or the labels are not `B` u32 values below `c`. On a GPU neither maps nor labels are looked at: see
/// [`masked_ccmp`].
pub fn discriminality(maps: &Tensor, labels: &Tensor, layout: &Layout, mask: &Tensor) -> Result<Tensor> {
    let strongest = masked_ccmp(maps, mask, layout)?;
    refuse_labels(labels, maps.dim(0)?, layout.classes())?;
    cross_entropy(&gap(&strongest)?, labels)
}

fn refuse_labels(labels: &Tensor, batch: usize, classes: usize) -> Result<()> {
    if labels.dims() != [batch] || labels.dtype() != DType::U32 {
        bail!(
            "labels are {:?} {:?}, expected [{batch}] U32: one class index a picture",
            labels.dims(),
            labels.dtype()
        );
    }
    // Reading them back would wait for the GPU, every step; a data set's own labels are below its classes.
    if labels.device().is_cuda() {
        return Ok(());
    }
    let indices = labels.to_vec1::<u32>()?;
    match indices.iter().position(|&label| label as usize >= classes) {
        Some(picture) => bail!(
            "label {} of picture {picture} is not below the layout's {classes} classes",
            indices[picture]
        ),
        None => Ok(()),
    }
}

/// `L_div = (1/c) sum_i h(F_i)`, averaged over the batch: a scalar in `1 ..= xi`.
///
/// `maps`: `[B, N, H, W]`, unmasked. `h(F_i) = sum_k max_j softmax_k(F_ij)` is 1 where a class's
/// channels agree and `xi_i` where their peaks are disjoint. It is to be *raised*: the loss subtracts it.
///
/// # Errors
/// The maps do not fit the layout, are empty, or are neither f32 nor f64.
pub fn diversity(maps: &Tensor, layout: &Layout) -> Result<Tensor> {
    mean_h(&coverage(maps, layout)?, layout)
}

/// Mean over the batch and the classes of `h`; `coverage`: `[B, c]`.
fn mean_h(coverage: &Tensor, layout: &Layout) -> Result<Tensor> {
    h(coverage, layout)?.mean_all()
}

/// Mean over the batch of the labelled classes' `h`; `labels`: `[B]`, `coverage`: `[B, c]`.
fn mean_h_of(labels: &Tensor, coverage: &Tensor, layout: &Layout) -> Result<Tensor> {
    h(coverage, layout)?.gather(&labels.unsqueeze(1)?, 1)?.mean_all()
}

/// `h = xi coverage` of each picture and class, `[B, c]`, as `coverage` is.
fn h(coverage: &Tensor, layout: &Layout) -> Result<Tensor> {
    let xi: Vec<_> = (0..layout.classes()).map(|class| layout.xi(class) as f64).collect();
    let xi = Tensor::new(xi, coverage.device())?.to_dtype(coverage.dtype())?;
    coverage.broadcast_mul(&xi)
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn scalar(tensor: &Tensor) -> f64 {
        tensor.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    }

    fn entries(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// `[1, N, H, W]` maps with `height` at each channel's listed pixels and 0 elsewhere.
    fn peaks(height: f64, side: usize, pixels: &[&[usize]]) -> Tensor {
        let mut maps = vec![0.0; pixels.len() * side * side];
        for (channel, pixels) in pixels.iter().enumerate() {
            pixels.iter().for_each(|pixel| maps[channel * side * side + pixel] = height);
        }
        Tensor::from_vec(maps, (1, pixels.len(), side, side), &Device::Cpu).unwrap()
    }

    fn counts(mask: &Tensor, layout: &Layout) -> Vec<usize> {
        let mask: Vec<u8> = mask.flatten_all().unwrap().to_vec1().unwrap();
        let ones = |class| mask[layout.group(class)].iter().map(|&m| usize::from(m)).sum();
        (0..layout.classes()).map(ones).collect()
    }

    #[test]
    fn diversity_is_one_when_channels_agree() {
        let layout = Layout::uniform(2, 3).unwrap();
        let maps = peaks(4.0, 4, &[&[1, 7], &[1, 7], &[1, 7], &[3], &[3], &[3]]);
        assert!((scalar(&diversity(&maps, &layout).unwrap()) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn diversity_is_xi_when_peaks_are_disjoint() {
        let layout = Layout::uniform(2, 3).unwrap();
        let maps = peaks(60.0, 4, &[&[0], &[5], &[10], &[15], &[1], &[2]]);
        assert!((scalar(&diversity(&maps, &layout).unwrap()) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn diversity_of_uneven_groups_is_the_class_mean_of_h() {
        let layout = Layout::from_sizes(&[1, 2, 4]).unwrap();
        let maps = peaks(60.0, 4, &[&[0], &[0], &[1], &[0], &[1], &[2], &[2]]);
        let h = diversity(&maps, &layout).unwrap();
        assert!((scalar(&h) - (1.0 + 2.0 + 3.0) / 3.0).abs() < 1e-12);
        let covered = coverage(&maps, &layout).unwrap();
        for (actual, expected) in entries(&covered).into_iter().zip([1.0, 1.0, 0.75]) {
            assert!((actual - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn diversity_of_the_labelled_class_leaves_the_others_alone() {
        let layout = Layout::from_sizes(&[1, 2, 4]).unwrap();
        let maps = peaks(60.0, 4, &[&[0], &[0], &[1], &[0], &[1], &[2], &[2]]);
        let maps = Var::from_tensor(&Tensor::cat(&[&maps, &maps], 0).unwrap()).unwrap();
        let labels = Tensor::new(&[2_u32, 1], &Device::Cpu).unwrap();
        let mask = Tensor::ones((1, 7, 1, 1), DType::F64, &Device::Cpu).unwrap();
        let factors = Factors { diversity: Diversity::LabelledClass, ..Factors::paper(1.0, 1.0) };
        let loss = mc_loss(&maps, &labels, &layout, &mask, factors).unwrap();
        assert!((scalar(&loss.diversity) - f64::midpoint(3.0, 2.0)).abs() < 1e-12);
        // The mean over all classes of 1, 1 and 3/4, whatever the labels.
        assert!((scalar(&loss.coverage) - 2.75 / 3.0).abs() < 1e-12);
        let gradients = loss.diversity.backward().unwrap();
        let of_channel = entries(&gradients.get(&maps).unwrap().abs().unwrap().sum((2, 3)).unwrap());
        let learns: Vec<bool> = of_channel.iter().map(|sum| *sum > 0.0).collect();
        assert!(!learns[..3].contains(&true) && !learns[7..8].contains(&true), "{learns:?}");
        assert!(!learns[10..].contains(&true), "{learns:?}");
    }

    #[test]
    fn dead_channels_are_spread_evenly_and_finite() {
        let layout = Layout::uniform(1, 2).unwrap();
        let maps = Var::from_tensor(&peaks(0.0, 3, &[&[], &[]])).unwrap();
        let h = diversity(&maps, &layout).unwrap();
        assert!((scalar(&h) - 1.0).abs() < 1e-12);
        let gradients = h.backward().unwrap();
        let gradient = entries(gradients.get(&maps).unwrap());
        assert!(gradient.iter().all(|g| g.abs() < 1e-12), "{gradient:?}");
    }

    #[test]
    fn diversity_is_finite_on_tall_maps() {
        let layout = Layout::uniform(1, 2).unwrap();
        let maps = peaks(1e30, 3, &[&[0], &[4]]).to_dtype(DType::F32).unwrap();
        assert!((scalar(&diversity(&maps, &layout).unwrap()) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn diversity_of_maps_with_a_nan_is_nan() {
        let layout = Layout::uniform(1, 2).unwrap();
        let maps = peaks(f64::NAN, 3, &[&[], &[4]]);
        assert!(scalar(&diversity(&maps, &layout).unwrap()).is_nan());
    }

    #[test]
    fn discriminality_of_dead_maps_is_ln_c() {
        let layout = Layout::uniform(5, 2).unwrap();
        let maps = Tensor::zeros((3, 10, 4, 4), DType::F64, &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0_u32, 4, 2], &Device::Cpu).unwrap();
        let mask = Tensor::ones((1, 10, 1, 1), DType::F64, &Device::Cpu).unwrap();
        let loss = discriminality(&maps, &labels, &layout, &mask).unwrap();
        assert!((scalar(&loss) - 5_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn masked_channels_neither_count_nor_learn() {
        let layout = Layout::uniform(2, 2).unwrap();
        // The masked channels 0 and 3 are the taller ones.
        let maps = Tensor::new(&[9.0, 1.0, 2.0, 9.0], &Device::Cpu).unwrap();
        let maps = Var::from_tensor(&maps.reshape((1, 4, 1, 1)).unwrap()).unwrap();
        let mask = Tensor::new(&[0.0, 1.0, 1.0, 0.0], &Device::Cpu).unwrap();
        let mask = mask.reshape((1, 4, 1, 1)).unwrap();
        let labels = Tensor::new(&[0_u32], &Device::Cpu).unwrap();
        let loss = discriminality(&maps, &labels, &layout, &mask).unwrap();
        assert!((scalar(&loss) - (1.0 + 1_f64.exp()).ln()).abs() < 1e-12);
        let gradients = loss.backward().unwrap();
        let gradient = entries(gradients.get(&maps).unwrap());
        assert_eq!((gradient[0], gradient[3]), (0.0, 0.0));
        assert!(gradient[1] < 0.0 && gradient[2] > 0.0);
    }

    #[test]
    fn gradients_are_central_differences() {
        let layout = Layout::from_sizes(&[2, 1, 3]).unwrap();
        // Strictly positive and without ties: the loss is smooth here.
        let value = |i: usize| 2.0 + (1.7 * i as f64).sin() + 0.3 * (0.9 * i as f64).cos();
        let values: Vec<f64> = (0..2 * 6 * 12).map(value).collect();
        let mask = Tensor::new(&[1.0, 0.0, 1.0, 0.0, 1.0, 1.0], &Device::Cpu).unwrap();
        let mask = mask.reshape((1, 6, 1, 1)).unwrap();
        let labels = Tensor::new(&[2_u32, 0], &Device::Cpu).unwrap();
        let factors = Factors::paper(1.5, 4.44);
        let loss = |values: &[f64]| {
            let maps = Tensor::from_slice(values, (2, 6, 3, 4), &Device::Cpu).unwrap();
            let maps = Var::from_tensor(&maps).unwrap();
            let loss = mc_loss(&maps, &labels, &layout, &mask, factors).unwrap();
            (maps, loss.total)
        };
        let (maps, total) = loss(&values);
        let gradients = total.backward().unwrap();
        let gradient = entries(gradients.get(&maps).unwrap());
        for i in 0..values.len() {
            let at = |step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                scalar(&loss(&moved).1)
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            let error = (difference - gradient[i]).abs();
            assert!(error < 1e-9, "{i}: {difference} {}", gradient[i]);
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let layout = Layout::allot(7, 25).unwrap();
        let maps = Tensor::rand(0_f32, 5_f32, (3, 25, 6, 5), &Device::Cpu).unwrap();
        let maps = Var::from_tensor(&maps).unwrap();
        let labels = Tensor::new(&[1_u32, 6, 0], &Device::Cpu).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mask = cwa_mask(&layout, Keep::Half, DType::F32, &mut rng).unwrap();
        let factors = Factors::paper(1.0, 1.0);
        let gradient = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let loss = mc_loss(&maps, &labels, &layout, &mask, factors).unwrap();
                let gradients = loss.total.backward().unwrap();
                let gradient = gradients.get(&maps).unwrap().flatten_all().unwrap();
                gradient.to_vec1::<f32>().unwrap()
            })
        };
        assert_eq!(gradient(1), gradient(3));
    }

    #[test]
    fn authors_factors_differ_by_the_constant_beta() {
        let layout = Layout::uniform(3, 4).unwrap();
        let maps = Tensor::rand(0_f64, 5_f64, (2, 12, 3, 3), &Device::Cpu).unwrap();
        let labels = Tensor::new(&[1_u32, 2], &Device::Cpu).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mask = cwa_mask(&layout, Keep::Half, DType::F64, &mut rng).unwrap();
        let (alpha, beta) = (1.5, 20.0);
        let factors = Factors::from_authors(alpha, beta, 4);
        let loss = mc_loss(&maps, &labels, &layout, &mask, factors).unwrap();
        let theirs = alpha * scalar(&loss.discriminality) + beta * (1.0 - scalar(&loss.coverage));
        assert!((scalar(&loss.total) + beta - theirs).abs() < 1e-12);
    }

    #[test]
    fn masks_keep_the_same_number_in_every_group() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (sizes, keep, expected) in [
            (vec![3, 3], Keep::Half, vec![2, 2]),
            (vec![1, 2, 10, 11], Keep::Half, vec![1, 1, 5, 6]),
            (vec![10, 11], Keep::Count(6), vec![6, 6]),
            (vec![2, 3], Keep::Count(3), vec![2, 3]),
        ] {
            let layout = Layout::from_sizes(&sizes).unwrap();
            for _ in 0..20 {
                let mask = cwa_mask(&layout, keep, DType::U8, &mut rng).unwrap();
                assert_eq!(mask.dims(), [1, layout.channels(), 1, 1]);
                assert_eq!(counts(&mask, &layout), expected, "{keep:?} of {sizes:?}");
            }
        }
    }

    #[test]
    fn masks_are_redrawn_each_call_and_repeat_with_the_seed() {
        let layout = Layout::uniform(20, 3).unwrap();
        let draw = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            [(); 3].map(|()| entries(&cwa_mask(&layout, Keep::Half, DType::F64, &mut rng).unwrap()))
        };
        let [first, second, third] = draw(4);
        assert_ne!(first, second);
        assert_ne!(second, third);
        assert_eq!([first, second, third], draw(4));
        assert_ne!(draw(4), draw(5));
    }

    #[test]
    fn masks_keep_every_channel_equally_often() {
        let layout = Layout::uniform(2, 3).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let mut kept = [0.0; 6];
        for _ in 0..3000 {
            let mask = entries(&cwa_mask(&layout, Keep::Half, DType::F64, &mut rng).unwrap());
            kept.iter_mut().zip(mask).for_each(|(kept, m)| *kept += m);
        }
        // 2000 expected, standard deviation 26.
        assert!(kept.iter().all(|kept| (kept - 2000.0).abs() < 130.0), "{kept:?}");
    }

    #[test]
    fn one_mask_is_shared_over_the_batch() {
        let layout = Layout::uniform(2, 2).unwrap();
        let one = Tensor::rand(0_f64, 5_f64, (1, 4, 3, 3), &Device::Cpu).unwrap();
        let three = one.repeat((3, 1, 1, 1)).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mask = cwa_mask(&layout, Keep::Half, DType::F64, &mut rng).unwrap();
        let loss = |maps: &Tensor| {
            let labels = Tensor::zeros(maps.dims()[0], DType::U32, &Device::Cpu).unwrap();
            scalar(&discriminality(maps, &labels, &layout, &mask).unwrap())
        };
        assert!((loss(&one) - loss(&three)).abs() < 1e-12);
    }

    #[test]
    fn wrong_inputs_are_named() {
        let layout = Layout::uniform(2, 2).unwrap();
        let maps = Tensor::ones((2, 4, 3, 3), DType::F32, &Device::Cpu).unwrap();
        let mask = Tensor::ones((1, 4, 1, 1), DType::F32, &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0_u32, 1], &Device::Cpu).unwrap();
        let wide = Tensor::ones((2, 5, 3, 3), DType::F32, &Device::Cpu).unwrap();
        let empty = Tensor::ones((2, 4, 0, 3), DType::F32, &Device::Cpu).unwrap();
        let whole = Tensor::ones((2, 4, 3, 3), DType::U32, &Device::Cpu).unwrap();
        let high = Tensor::new(&[0_u32, 2], &Device::Cpu).unwrap();
        let signed = Tensor::new(&[0_i64, 1], &Device::Cpu).unwrap();
        let one = Tensor::new(&[0_u32], &Device::Cpu).unwrap();
        let half = (&mask * 0.5).unwrap();
        let flat = mask.flatten_all().unwrap();
        let negative = maps.neg().unwrap();
        let part = Tensor::new(&[1_f32, 0., 1., 1.], &Device::Cpu).unwrap();
        let part = part.reshape((1, 4, 1, 1)).unwrap();
        for (maps, labels, mask, expected) in [
            (&wide, &labels, &mask, "the maps have 5 channels"),
            (&flat, &labels, &mask, "expected [B, C, H, W]"),
            (&empty, &labels, &mask, "input is empty"),
            (&whole, &labels, &mask, "expected F32 or F64"),
            (&negative, &labels, &part, "only after a ReLU"),
            (&maps, &high, &mask, "label 2 of picture 1"),
            (&maps, &signed, &mask, "expected [2] U32"),
            (&maps, &one, &mask, "expected [2] U32"),
            (&maps, &labels, &flat, "expected [1, 4, 1, 1]"),
            (&maps, &labels, &half, "0.5 at channel 0"),
        ] {
            let error = discriminality(maps, labels, &layout, mask).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let error = diversity(&wide, &layout).unwrap_err().to_string();
        assert!(error.contains("own 4"), "{error}");
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        for (count, expected) in [(0, "keeps 0"), (3, "keeps 3 channels")] {
            let error = cwa_mask(&layout, Keep::Count(count), DType::F32, &mut rng).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
