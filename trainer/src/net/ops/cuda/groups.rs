//! What MC-Loss does with groups of class-aligned maps.

use candle_core::{DType, Result, Tensor, bail};
use fieldmark::layout::Layout;

use super::super::tape::{Arrived, Backward};
use super::launch::{Arg, GROUPS, Grid, count, launch, suffix};
use super::memory::{Fresh, address_of, cuda, map_type, maps, shown};

/// The largest of a class's kept maps at every pixel, `[B, c, H, W]`.
pub(in super::super) fn ccmp(
    name: &'static str,
    x: &Tensor,
    layout: &Layout,
    kept: &[bool],
) -> Result<Tensor> {
    let dtype = map_type(name, x)?;
    let x = maps(x)?;
    let (batch, height, width, channels) = x.values.dims4()?;
    let groups = Groups::of(&x.values, layout)?;
    let kept: Vec<u8> = kept.iter().map(|kept| u8::from(*kept)).collect();
    let kept = Tensor::from_vec(kept, channels, x.values.device())?;
    let shape = [batch, height, width, layout.classes()];
    let (y, winners) = (Fresh::new(&x.values, &shape, dtype)?, Fresh::new(&x.values, &shape, DType::U32)?);
    let values = count(name, shape.iter().product())?;
    let args = [
        Arg::Address(address_of(&x.values)?),
        Arg::Address(address_of(&groups.starts)?),
        Arg::Address(address_of(&kept)?),
        Arg::Address(y.address()?),
        Arg::Address(winners.address()?),
        Arg::Count(groups.channels),
        Arg::Count(groups.classes),
        Arg::Count(values),
    ];
    let kernel = format!("ccmp_{}", suffix(dtype));
    launch(&cuda(&x.values)?, &GROUPS, &kernel, Grid::over(values), &args)?;
    let backward = Ccmp { groups, winners: winners.tensor(), shape: [batch, height, width, channels] };
    shown(&y.join(&[&x], backward)?)
}

/// Share of its possible spread that every class's group covers, `[B, c]`, in f32.
pub(in super::super) fn coverage(x: &Tensor, layout: &Layout) -> Result<Tensor> {
    let dtype = map_type("coverage", x)?;
    let x = maps(x)?;
    let (batch, height, width, _) = x.values.dims4()?;
    let groups = Groups::of(&x.values, layout)?;
    let largest = (0..layout.classes()).map(|class| layout.xi(class)).max().unwrap_or(0);
    // Four floats a channel of the 48 KiB that a block may share, less its sums.
    if largest > 2900 {
        bail!(
            "coverage: a class owns {largest} channels, 2900 at most fit the GPU; use more classes, or the CPU"
        );
    }
    let area = count("coverage", height * width)?;
    let y = Fresh::new(&x.values, (batch, layout.classes()), DType::F32)?;
    let slope = Fresh::new(&x.values, x.values.shape(), dtype)?;
    let winners = Fresh::new(&x.values, (batch, height, width, layout.classes()), DType::U32)?;
    let args = [
        Arg::Address(address_of(&x.values)?),
        Arg::Address(address_of(&groups.starts)?),
        Arg::Address(y.address()?),
        Arg::Address(slope.address()?),
        Arg::Address(winners.address()?),
        Arg::Count(groups.channels),
        Arg::Count(groups.classes),
        Arg::Count(area),
    ];
    let blocks = [groups.classes, count("coverage", batch)?, 1];
    let grid = Grid { blocks, threads: [128, 1], shared: 16 * largest as u32 };
    launch(&cuda(&x.values)?, &GROUPS, &format!("coverage_{}", suffix(dtype)), grid, &args)?;
    y.join(&[&x], Coverage { groups, slope: slope.tensor(), area })
}

/// A layout on the GPU.
struct Groups {
    channels: u32,
    classes: u32,
    /// The first channel of every class, and the end of the last, `[c + 1]`.
    starts: Tensor,
    /// The class of every channel, `[N]`.
    class_of: Tensor,
}

impl Groups {
    fn of(like: &Tensor, layout: &Layout) -> Result<Groups> {
        let starts = (0..layout.classes()).map(|class| layout.group(class).start as u32);
        let starts: Vec<u32> = starts.chain([layout.channels() as u32]).collect();
        let class_of: Vec<u32> =
            (0..layout.channels()).map(|channel| layout.class_of(channel) as u32).collect();
        Ok(Groups {
            channels: count("the layout", layout.channels())?,
            classes: count("the layout", layout.classes())?,
            starts: Tensor::new(starts, like.device())?,
            class_of: Tensor::new(class_of, like.device())?,
        })
    }
}

/// The way back of [`ccmp`].
struct Ccmp {
    groups: Groups,
    /// `[B, H, W, c]`: index within its group of every pixel's maximum.
    winners: Tensor,
    /// Of the maps, as they lie.
    shape: [usize; 4],
}

impl Backward for Ccmp {
    fn name(&self) -> &'static str {
        "ccmp"
    }

    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let dx = Fresh::new(dy, &self.shape, dy.dtype())?;
        let values = count("ccmp", self.shape.iter().product())?;
        let args = [
            Arg::Address(address_of(dy)?),
            Arg::Address(address_of(&self.winners)?),
            Arg::Address(address_of(&self.groups.starts)?),
            Arg::Address(address_of(&self.groups.class_of)?),
            Arg::Address(dx.address()?),
            Arg::Count(self.groups.channels),
            Arg::Count(self.groups.classes),
            Arg::Count(values),
        ];
        let kernel = format!("ccmp_gradient_{}", suffix(dy.dtype()));
        launch(&cuda(dy)?, &GROUPS, &kernel, Grid::over(values), &args)?;
        Ok([Some(dx.tensor()), None, None])
    }
}

/// The way back of [`coverage`].
struct Coverage {
    groups: Groups,
    /// `d (h/xi) / dF`, as the maps lie.
    slope: Tensor,
    area: u32,
}

impl Backward for Coverage {
    fn name(&self) -> &'static str {
        "coverage"
    }

    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let dx = Fresh::new(dy, self.slope.shape(), self.slope.dtype())?;
        let values = count("coverage", self.slope.elem_count())?;
        let args = [
            Arg::Address(address_of(&self.slope)?),
            Arg::Address(address_of(dy)?),
            Arg::Address(address_of(&self.groups.class_of)?),
            Arg::Address(dx.address()?),
            Arg::Count(self.groups.channels),
            Arg::Count(self.groups.classes),
            Arg::Count(self.area),
            Arg::Count(values),
        ];
        let kernel = format!("coverage_gradient_{}", suffix(self.slope.dtype()));
        launch(&cuda(dy)?, &GROUPS, &kernel, Grid::over(values), &args)?;
        Ok([Some(dx.tensor()), None, None])
    }
}
