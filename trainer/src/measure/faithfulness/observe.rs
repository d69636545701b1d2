//! One look at inputs: logits, class-aligned maps, and Grad-CAM of the same network.

use candle_core::{DType, Device, Tensor, Var, bail};
use fieldmark::cues::{PartCue, part_cues};
use fieldmark::frame::{ResizeRule, View};
use fieldmark::head::{Head, HeadKind, ccmp};
use fieldmark::layout::Layout;
use ndarray::{Array2, Array3, Axis};

use crate::net::layer::{Mode, forward};
use crate::net::network::{Network, maps_of_each};

/// A network, and the part of it that Grad-CAM differentiates.
pub struct Observer<'a> {
    /// The whole, wherever it computes.
    pub network: &'a Network,
    /// Its head as the board computes it.
    pub head: Head,
    /// A copy in main memory and f32 of which the part above the backbone is used. It is a few operations, and those of
    /// a GPU go back on a tape alone.
    above: Network,
    /// Input side.
    side: u32,
}

/// What a network makes of one input, seen from one class.
pub struct Observed {
    /// `c` values.
    pub logits: Vec<f32>,
    /// What each cell adds to the class's logit, times the number of cells: `H x W`, see [`evidence_map`].
    pub evidence: Array2<f32>,
    /// Grad-CAM of the class, at least 0: the backbone's `H x W`.
    pub grad_cam: Array2<f32>,
    /// The class's part cues, strongest share first, in pixels of the input.
    pub cues: Vec<PartCue>,
}

impl Observed {
    /// Where in the input the strongest cue is, if it looks anywhere.
    pub fn cue(&self) -> Option<[f32; 2]> {
        self.cues.first().filter(|cue| !cue.dead).map(|cue| [cue.x, cue.y])
    }
}

impl<'a> Observer<'a> {
    /// Looks through `network` at inputs of `side`.
    ///
    /// # Errors
    /// candle's: missing parameters, memory that runs out.
    pub fn new(network: &'a Network, side: u32) -> candle_core::Result<Observer<'a>> {
        let above = network.on(&Device::Cpu, crate::net::device::Precision::F32)?;
        Ok(Observer { network, head: network.head()?, above, side })
    }

    /// Logits of `images`, `B x 3 x S x S` in 0..=255: `B` times `c`.
    ///
    /// # Errors
    /// Images of another shape; candle's own.
    pub fn logits(&self, images: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
        let images = images.to_device(&self.network.device())?;
        self.network.forward(&images, &mut Mode::Eval)?.logits.to_vec2()
    }

    /// `images`, `B x 3 x S x S` in 0..=255, each seen from its class of `classes`.
    ///
    /// Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) is taken on the backbone's last maps `A`, below the
    /// class-aligned layer: `ReLU(sum_k a_k A_k)` with `a_k` the mean over cells of `d logit / d A_k`, under the
    /// running statistics. Where the backbone's maps are the class-aligned ones (`native`, `allot`), it is taken on
    /// them, and for the group-mean head it is then the positive part of [`evidence_map`] over the number of cells.
    ///
    /// # Errors
    /// As [`Observer::logits`].
    pub fn observe(&self, images: &Tensor, classes: &[usize]) -> candle_core::Result<Vec<Observed>> {
        let below = self.network.backbone_maps(&images.to_device(&self.network.device())?)?;
        let below = below.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
        let leaf = Var::from_tensor(&below)?;
        let Network { trunk, head, params, .. } = &self.above;
        let maps = forward(&trunk[self.above.backbone_depth()..], params, &leaf, &mut Mode::Eval)?;
        let logits = forward(head, params, &maps, &mut Mode::Eval)?;
        let index = Tensor::from_iter(classes.iter().map(|&class| class as u32), &Device::Cpu)?;
        // Evaluation's statistics are constants, so no picture's logit depends on another picture.
        let mut gradients = logits.gather(&index.unsqueeze(1)?, 1)?.sum_all()?.backward()?;
        let Some(gradient) = gradients.remove(&leaf) else { bail!("the logits do not depend on the maps") };
        let weights = gradient.mean_keepdim((2, 3))?;
        let grad_cam = below.broadcast_mul(&weights)?.sum(1)?.relu()?;
        let (maps, logits) = (maps_of_each(&maps.detach())?, logits.detach().to_vec2::<f32>()?);
        let seen = logits.into_iter().zip(classes).zip(&maps).enumerate();
        seen.map(|(at, ((logits, &class), maps))| {
            let grad_cam = Array2::from_shape_vec(grad_cam.get(at)?.dims2()?, flat(&grad_cam.get(at)?)?);
            let Ok(grad_cam) = grad_cam else { bail!("maps without a shape") };
            let evidence = evidence_map(maps, &self.network.layout, &self.head, class);
            let cues = self.cues(maps, class);
            Ok(Observed { logits, evidence, grad_cam, cues })
        })
        .collect()
    }

    fn cues(&self, maps: &Array3<f32>, class: usize) -> Vec<PartCue> {
        let input = input_view(self.side);
        part_cues(maps.view(), &self.network.layout, &self.head, class, &input, self.side)
    }
}

fn flat(x: &Tensor) -> candle_core::Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}

/// The view of an input through itself.
fn input_view(side: u32) -> View {
    View::new(side, side, ResizeRule::Squash, side)
}

/// The class's evidence, `H x W`, in logit units times `H * W`: of maps `F`, `sum over the class's channels j of
/// weight_j F_j`, and for the group-max head `weight * max_j F_j`. Its mean is the sum of the class's shares, so for the
/// group heads the logit without its bias; for the linear head it is the class's own terms, as in [`Head`].
pub fn evidence_map(maps: &Array3<f32>, layout: &Layout, head: &Head, class: usize) -> Array2<f32> {
    let group = layout.group(class);
    match head.kind {
        HeadKind::GroupMax => ccmp(maps.view(), layout, class) * head.weight[group.start],
        HeadKind::GroupMean | HeadKind::Linear => {
            let mut sum = Array2::zeros((maps.len_of(Axis(1)), maps.len_of(Axis(2))));
            for channel in group {
                sum.scaled_add(head.weight[channel], &maps.index_axis(Axis(0), channel));
            }
            sum
        }
    }
}

/// Where in an input of `side` the map is highest, refined as a cue is; none where it is nowhere above 0.
pub fn peak(map: &Array2<f32>, side: u32) -> Option<[f32; 2]> {
    // The whole map is the one channel of one class.
    let layout = Layout::uniform(1, 1).ok()?;
    let head = Head { kind: HeadKind::GroupMean, weight: vec![1.0], bias: vec![0.0] };
    let cues = part_cues(map.view().insert_axis(Axis(0)), &layout, &head, 0, &input_view(side), side);
    cues.first().filter(|cue| !cue.dead).map(|cue| [cue.x, cue.y])
}
