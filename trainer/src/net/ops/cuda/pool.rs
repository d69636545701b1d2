//! Pooling over space.

use candle_core::{DType, Result, Tensor, bail};

use super::super::tape::{Arrived, Backward, Input};
use super::super::window::Window;
use super::launch::{Arg, Grid, POOL, count, launch, suffix};
use super::memory::{Fresh, address_of, cuda, map_type, maps, shown};

/// The largest value under each window, whose sizes were checked.
pub(in super::super) fn max_pool(x: &Tensor, window: Window) -> Result<Tensor> {
    let dtype = map_type("max_pool", x)?;
    if window.taps() > usize::from(u16::MAX) {
        bail!("max_pool: a kernel of {:?} is too large for the GPU", window.kernel);
    }
    let x = maps(x)?;
    let sizes = Sizes::of(&x.values, window);
    let y = Fresh::new(&x.values, &sizes.output(), dtype)?;
    let winners = Fresh::new(&x.values, &sizes.output(), DType::I16)?;
    let addresses = [address_of(&x.values)?, y.address()?, winners.address()?];
    sizes.run("max_pool", &x.values, &addresses, sizes.output())?;
    let backward = Pool { sizes, winners: Some(winners.tensor()) };
    shown(&y.join(&[&x], backward)?)
}

/// The mean under each window, whose sizes were checked.
pub(in super::super) fn avg_pool(x: &Tensor, window: Window) -> Result<Tensor> {
    let dtype = map_type("avg_pool", x)?;
    let x = maps(x)?;
    let sizes = Sizes::of(&x.values, window);
    let y = Fresh::new(&x.values, &sizes.output(), dtype)?;
    sizes.run("avg_pool", &x.values, &[address_of(&x.values)?, y.address()?], sizes.output())?;
    let backward = Pool { sizes, winners: None };
    shown(&y.join(&[&x], backward)?)
}

/// The mean of every map, `[B, C]`, in f32.
pub(in super::super) fn gap(x: &Tensor) -> Result<Tensor> {
    let dtype = map_type("gap", x)?;
    let x: Input = maps(x)?;
    let (batch, height, width, channels) = x.values.dims4()?;
    let y = Fresh::new(&x.values, (batch, channels), DType::F32)?;
    let (area, across) = (count("gap", height * width)?, count("gap", channels)?);
    let args = [
        Arg::Address(address_of(&x.values)?),
        Arg::Address(y.address()?),
        Arg::Count(area),
        Arg::Count(across),
    ];
    let blocks = [across.div_ceil(32), count("gap", batch)?, 1];
    let grid = Grid { blocks, threads: [32, 8], shared: 0 };
    launch(&cuda(&x.values)?, &POOL, &format!("gap_{}", suffix(dtype)), grid, &args)?;
    y.join(&[&x], Gap { shape: [batch, height, width, channels], dtype })
}

/// A window over maps that lie as `[B, H, W, C]`.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    channels: usize,
    window: Window,
}

impl Sizes {
    fn of(x: &Tensor, window: Window) -> Sizes {
        Sizes { batch: x.dims()[0], channels: x.dims()[3], window }
    }

    fn output(&self) -> [usize; 4] {
        let [height, width] = self.window.output;
        [self.batch, height, width, self.channels]
    }

    fn input(&self) -> [usize; 4] {
        let [height, width] = self.window.input;
        [self.batch, height, width, self.channels]
    }

    /// Runs a kernel that makes the values of a tensor of the shape `made`.
    fn run(&self, kernel: &str, like: &Tensor, addresses: &[u64], made: [usize; 4]) -> Result<()> {
        let Window { input, kernel: side, stride, padding, output } = self.window;
        let sizes = [
            input[0],
            input[1],
            self.channels,
            side[0],
            stride,
            padding[0],
            padding[1],
            output[0],
            output[1],
        ];
        let count = count(kernel, made.iter().product())?;
        let mut args: Vec<Arg> = addresses.iter().copied().map(Arg::Address).collect();
        args.extend([Arg::Nine(sizes.map(|size| size as u32)), Arg::Count(count)]);
        let name = format!("{kernel}_{}", suffix(like.dtype()));
        launch(&cuda(like)?, &POOL, &name, Grid::over(count), &args)
    }
}

/// The way back of [`max_pool`] and [`avg_pool`].
struct Pool {
    sizes: Sizes,
    /// Which kernel tap found every maximum, as unsigned numbers; none: means.
    winners: Option<Tensor>,
}

impl Backward for Pool {
    fn name(&self) -> &'static str {
        if self.winners.is_some() { "max_pool" } else { "avg_pool" }
    }

    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let dx = Fresh::new(dy, &self.sizes.input(), dy.dtype())?;
        let mut addresses = vec![address_of(dy)?];
        addresses.extend(self.winners.as_ref().map(address_of).transpose()?);
        addresses.push(dx.address()?);
        let kernel = format!("{}_gradient", self.name());
        self.sizes.run(&kernel, dy, &addresses, self.sizes.input())?;
        Ok([Some(dx.tensor()), None, None])
    }
}

/// The way back of [`gap`].
struct Gap {
    /// Of the maps, as they lie.
    shape: [usize; 4],
    dtype: DType,
}

impl Backward for Gap {
    fn name(&self) -> &'static str {
        "gap"
    }

    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let [_, height, width, channels] = self.shape;
        let dx = Fresh::new(dy, &self.shape, self.dtype)?;
        let values = count("gap", self.shape.iter().product())?;
        let args = [
            Arg::Address(address_of(dy)?),
            Arg::Address(dx.address()?),
            Arg::Count(count("gap", height * width)?),
            Arg::Count(count("gap", channels)?),
            Arg::Count(values),
        ];
        let kernel = format!("gap_gradient_{}", suffix(self.dtype));
        launch(&cuda(dy)?, &POOL, &kernel, Grid::over(values), &args)?;
        Ok([Some(dx.tensor()), None, None])
    }
}
