//! A line a channel, with the activation after it: batch normalisation, scale and shift.

use candle_core::{DType, Result, Tensor, Var, bail};

use super::super::activation::Activation;
use super::super::norm_output::BatchNormOutput;
use super::super::tape::{Arrived, Backward, Input};
use super::launch::{Arg, Grid, NORM, count, launch, suffix, width};
use super::memory::{Fresh, address_of, cuda, map_type, maps, shown, single};

/// `act(gamma (x - mean) / sqrt(var + eps) + beta)` with the batch's own statistics.
pub(in super::super) fn batch_norm_train(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    act: Activation,
) -> Result<BatchNormOutput> {
    const NAME: &str = "batch_norm_train";
    map_type(NAME, x)?;
    let x = maps(x)?;
    let (gamma, beta) = (single(NAME, "gamma", gamma)?, single(NAME, "beta", beta)?);
    let matrix = Matrix::of(NAME, &x.values)?;
    // Mean, biased variance, unbiased variance, scale, shift.
    let statistics = matrix.moments(&x.values, &gamma.values, &beta.values, eps)?;
    let y = matrix.line(&x.values, &statistics.narrow(0, 3, 2)?, act)?;
    let inputs = [&x, &gamma, &beta];
    let backward = BatchNorm {
        is_tracked: inputs.map(Input::is_tracked),
        x: x.values.detach(),
        statistics: statistics.clone(),
        matrix,
        eps,
        act,
    };
    let y = shown(&y.join(&inputs, backward)?)?;
    let [mean, var, var_unbiased] = [0, 1, 2].map(|row| statistics.get(row));
    Ok(BatchNormOutput { y, mean: mean?, var: var?, var_unbiased: var_unbiased? })
}

/// `act(scale x + shift)`.
pub(in super::super) fn scale_shift(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    act: Activation,
) -> Result<Tensor> {
    const NAME: &str = "scale_shift";
    map_type(NAME, x)?;
    let x = maps(x)?;
    let (scale, shift) = (single(NAME, "scale", scale)?, single(NAME, "shift", shift)?);
    let matrix = Matrix::of(NAME, &x.values)?;
    let line = Tensor::stack(&[scale.values.detach(), shift.values.detach()], 0)?;
    let y = matrix.line(&x.values, &line, act)?;
    let inputs = [&x, &scale, &shift];
    let backward =
        ScaleShift { is_tracked: inputs.map(Input::is_tracked), x: x.values.detach(), line, matrix, act };
    shown(&y.join(&inputs, backward)?)
}

/// `running = (1 - momentum) running + momentum batch`, in place.
pub(in super::super) fn move_running(running: &Var, batch: &Tensor, momentum: f64) -> Result<()> {
    let channels = count("move_running", running.elem_count())?;
    // Kept until the launch: a strided one is a copy.
    let batch = single("move_running", "the batch's statistic", batch)?.values;
    if running.dtype() != DType::F32 || running.dims() != batch.dims() {
        bail!("move_running: {:?} of {:?} for {:?}", running.dims(), running.dtype(), batch.dims());
    }
    let args = [
        Arg::Address(address_of(running)?),
        Arg::Address(address_of(&batch)?),
        Arg::Float(momentum as f32),
        Arg::Count(channels),
    ];
    launch(&cuda(running)?, &NORM, "move_running", Grid::over(channels), &args)
}

/// Maps as rows of channels, and how blocks share them out, which depends on nothing but the sizes.
#[derive(Clone, Copy)]
struct Matrix {
    rows: u32,
    channels: u32,
    dtype: DType,
}

/// A block's share of [`Matrix`].
struct Share {
    width: u32,
    rows_a_part: u32,
    parts: u32,
    grid: Grid,
}

/// Threads of a block.
const THREADS: u32 = 256;
/// Blocks that keep a GPU busy.
const BLOCKS: u32 = 1024;
/// Matrix that a thread takes at least, if there are as many.
const ROWS_A_THREAD: u32 = 4;

impl Matrix {
    fn of(name: &str, x: &Tensor) -> Result<Matrix> {
        let channels = x.dims()[3];
        Ok(Matrix {
            rows: count(name, x.elem_count() / channels)?,
            channels: count(name, channels)?,
            dtype: x.dtype(),
        })
    }

    fn share(&self, addresses: &[u64]) -> Share {
        let width = width(self.dtype, self.channels as usize, addresses);
        let columns = self.channels / width;
        let across = columns.next_power_of_two().min(32);
        let tiles = columns.div_ceil(across);
        let down = THREADS / across;
        let wanted = self.rows.div_ceil(down * ROWS_A_THREAD).min((BLOCKS / tiles).max(1));
        let rows_a_part = self.rows.div_ceil(wanted);
        let parts = self.rows.div_ceil(rows_a_part);
        let grid = Grid { blocks: [tiles, parts, 1], threads: [across, down], shared: 0 };
        Share { width, rows_a_part, parts, grid }
    }

    /// A row of 32 threads for each channel.
    fn ends(&self) -> Grid {
        Grid { blocks: [self.channels.div_ceil(8), 1, 1], threads: [32, 8], shared: 0 }
    }

    /// Room for two sums of each channel and part.
    fn sums(&self, like: &Tensor, parts: u32) -> Result<Fresh> {
        Fresh::new(like, (self.channels as usize, 2, parts as usize), DType::F64)
    }

    fn kernel(&self, name: &str, width: u32) -> String {
        format!("{name}_{}_{width}", suffix(self.dtype))
    }

    fn moments(&self, x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
        let (device, address) = (cuda(x)?, address_of(x)?);
        let share = self.share(&[address]);
        let sums = self.sums(x, share.parts)?;
        let args = [
            Arg::Address(address),
            Arg::Address(sums.address()?),
            Arg::Count(self.rows),
            Arg::Count(self.channels),
            Arg::Count(share.rows_a_part),
        ];
        launch(&device, &NORM, &self.kernel("moments", share.width), share.grid, &args)?;
        let statistics = Fresh::new(x, (5, self.channels as usize), DType::F32)?;
        let args = [
            Arg::Address(address),
            Arg::Address(sums.address()?),
            Arg::Count(share.parts),
            Arg::Count(self.rows),
            Arg::Count(self.channels),
            Arg::Address(address_of(gamma)?),
            Arg::Address(address_of(beta)?),
            Arg::Double(eps),
            Arg::Address(statistics.address()?),
        ];
        let kernel = format!("moments_end_{}", suffix(self.dtype));
        launch(&device, &NORM, &kernel, self.ends(), &args)?;
        Ok(statistics.tensor())
    }

    /// `act(scale x + shift)`, `line` being scale and shift, `[2, C]`.
    fn line(&self, x: &Tensor, line: &Tensor, act: Activation) -> Result<Fresh> {
        let y = Fresh::new(x, x.shape(), self.dtype)?;
        let [scale, shift] = self.scale_and_shift(line)?;
        let addresses = [address_of(x)?, y.address()?, scale, shift];
        let share = self.share(&addresses);
        let mut args = addresses.map(Arg::Address).to_vec();
        args.extend(self.sizes(&share, act));
        launch(&cuda(x)?, &NORM, &self.kernel("line", share.width), share.grid, &args)?;
        Ok(y)
    }

    fn scale_and_shift(&self, line: &Tensor) -> Result<[u64; 2]> {
        let scale = address_of(line)?;
        Ok([scale, scale + 4 * u64::from(self.channels)])
    }

    /// The last five arguments of the kernels that know the activation.
    fn sizes(&self, share: &Share, act: Activation) -> [Arg; 5] {
        let (low, high) = act.bounds::<f32>();
        [
            Arg::Count(self.rows),
            Arg::Count(self.channels),
            Arg::Count(share.rows_a_part),
            Arg::Float(low),
            Arg::Float(high),
        ]
    }

    /// Sums of `dz` and `dz (x - mean)` of every part, and how many parts there are; `mean` 0: none.
    fn gradient_sums(
        &self,
        x: &Tensor,
        dy: &Tensor,
        line: &Tensor,
        mean: u64,
        act: Activation,
    ) -> Result<(Fresh, u32)> {
        let [scale, shift] = self.scale_and_shift(line)?;
        let addresses = [address_of(x)?, address_of(dy)?, scale, shift, mean];
        let share = self.share(&addresses);
        let sums = self.sums(x, share.parts)?;
        let mut args = addresses.map(Arg::Address).to_vec();
        args.push(Arg::Address(sums.address()?));
        args.extend(self.sizes(&share, act));
        launch(&cuda(x)?, &NORM, &self.kernel("gradient_sums", share.width), share.grid, &args)?;
        Ok((sums, share.parts))
    }

    /// `scale (dz - offset - slope (x - mean))`, `terms` being offset and slope; `scale dz` where they are 0.
    fn line_gradient(
        &self,
        x: &Tensor,
        dy: &Tensor,
        line: &Tensor,
        [mean, terms]: [u64; 2],
        act: Activation,
    ) -> Result<Tensor> {
        let dx = Fresh::new(x, x.shape(), self.dtype)?;
        let [scale, shift] = self.scale_and_shift(line)?;
        let addresses = [address_of(x)?, address_of(dy)?, dx.address()?, scale, shift, mean, terms];
        let share = self.share(&addresses);
        let mut args = addresses.map(Arg::Address).to_vec();
        args.extend(self.sizes(&share, act));
        launch(&cuda(x)?, &NORM, &self.kernel("line_gradient", share.width), share.grid, &args)?;
        Ok(dx.tensor())
    }

    /// A value a channel, `rows` times.
    fn of_channels(&self, like: &Tensor, rows: usize) -> Result<Fresh> {
        Fresh::new(like, (rows, self.channels as usize), DType::F32)
    }
}

/// The way back of [`batch_norm_train`].
struct BatchNorm {
    x: Tensor,
    /// `[5, C]`: mean, biased variance, unbiased variance, scale, shift.
    statistics: Tensor,
    matrix: Matrix,
    eps: f64,
    act: Activation,
    is_tracked: [bool; 3],
}

impl Backward for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm_train"
    }

    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let (matrix, x) = (&self.matrix, &self.x);
        let mean = address_of(&self.statistics)?;
        let var = mean + 4 * u64::from(matrix.channels);
        let line = self.statistics.narrow(0, 3, 2)?;
        let (sums, parts) = matrix.gradient_sums(x, dy, &line, mean, self.act)?;
        // dgamma, dbeta, offset, slope.
        let ends = matrix.of_channels(x, 4)?.tensor();
        let end = |row: u64| address_of(&ends).map(|start| start + 4 * row * u64::from(matrix.channels));
        let args = [
            Arg::Address(sums.address()?),
            Arg::Count(parts),
            Arg::Count(matrix.rows),
            Arg::Count(matrix.channels),
            Arg::Address(var),
            Arg::Double(self.eps),
            Arg::Address(end(0)?),
            Arg::Address(end(1)?),
            Arg::Address(end(2)?),
        ];
        launch(&cuda(x)?, &NORM, "norm_end", matrix.ends(), &args)?;
        let dx = || matrix.line_gradient(x, dy, &line, [mean, end(2)?], self.act);
        let [of_x, of_gamma, of_beta] = self.is_tracked;
        Ok([
            of_x.then(dx).transpose()?,
            of_gamma.then(|| ends.get(0)).transpose()?,
            of_beta.then(|| ends.get(1)).transpose()?,
        ])
    }
}

/// The way back of [`scale_shift`].
struct ScaleShift {
    x: Tensor,
    /// `[2, C]`: scale, shift.
    line: Tensor,
    matrix: Matrix,
    act: Activation,
    is_tracked: [bool; 3],
}

impl ScaleShift {
    /// Gradients of scale and shift, `[2, C]`.
    fn line_gradients(&self, dy: &Tensor) -> Result<Tensor> {
        let matrix = &self.matrix;
        let (sums, parts) = matrix.gradient_sums(&self.x, dy, &self.line, 0, self.act)?;
        let ends = matrix.of_channels(&self.x, 2)?;
        let start = ends.address()?;
        let args = [
            Arg::Address(sums.address()?),
            Arg::Count(parts),
            Arg::Count(matrix.channels),
            Arg::Address(start),
            Arg::Address(start + 4 * u64::from(matrix.channels)),
        ];
        launch(&cuda(&self.x)?, &NORM, "line_end", matrix.ends(), &args)?;
        Ok(ends.tensor())
    }
}

impl Backward for ScaleShift {
    fn name(&self) -> &'static str {
        "scale_shift"
    }

    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let [of_x, of_scale, of_shift] = self.is_tracked;
        let dx = || self.matrix.line_gradient(&self.x, dy, &self.line, [0, 0], self.act);
        let ends = (of_scale || of_shift).then(|| self.line_gradients(dy)).transpose()?;
        let end = |row| ends.as_ref().map(|ends| ends.get(row)).transpose();
        Ok([of_x.then(dx).transpose()?, end(0)?.filter(|_| of_scale), end(1)?.filter(|_| of_shift)])
    }
}
