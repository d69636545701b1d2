//! A network of fused steps, planned once: which buffer lies where, and who does which task.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ptr;

use super::dense::{Dense, Keeping, MOST_TAPS, Storage};
use super::depthwise::Depthwise;
use super::isa::Isa;
use super::memory::{Floats, LINE, Pool};
use super::separable::Separable;
#[cfg(any(target_arch = "aarch64", neon32))]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};
use super::simple::{
    Affine, AffineRow, Grouping, Import, ImportRow, PoolRow, Pooling, Reduction, Source, Upsampling, export,
};
use super::team::Team;
use super::window::{Buffers, Shape, Window};
use super::winograd::Winograd;

/// Runs `$body` with `$S` the vectors of an instruction set.
macro_rules! with_simd {
    ($isa:expr, $S:ident => $body:expr) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                type $S = Avx512;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                type $S = Avx2;
                $body
            }
            #[cfg(any(target_arch = "aarch64", neon32))]
            Isa::Neon => {
                type $S = Neon;
                $body
            }
            _ => {
                type $S = Portable;
                $body
            }
        }
    };
}

/// A value of the network that is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(usize);

/// A convolution: what its window does, and its parameters.
#[derive(Clone, Debug)]
pub struct Convolution<'a> {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Places of the window, down and across.
    pub output: [usize; 2],
    /// Pixels from one place to the next.
    pub stride: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Padding before the first pixel; after the last it is what the output needs.
    pub before: [usize; 2],
    /// `[out, in, height, width]`; of a depthwise one `[channels, 1, height, width]`.
    pub weights: Cow<'a, [f32]>,
    /// One for each channel of the output.
    pub bias: Vec<f32>,
    /// Every channel has its own window.
    pub depthwise: bool,
    /// Results below and above are set to these.
    pub clamp: [f32; 2],
}

/// A step, and the buffers that it reads and writes.
#[derive(Debug)]
struct Step {
    kind: Kind,
    x: usize,
    other: Option<usize>,
    out: usize,
}

#[derive(Debug)]
enum Kind {
    Import(Import),
    Dense(Dense),
    Depthwise(Depthwise),
    Winograd(Winograd),
    Separable(Box<Separable>),
    Pooling(Pooling),
    Upsampling(Upsampling),
    Affine(Affine),
    Grouping(Grouping),
    /// To output number `out`.
    Export(Shape),
}

/// Channels of one task of an export.
const EXPORTED: usize = 32;

/// The input as it came, before a step needs it in some form.
#[derive(Clone, Debug)]
struct Given {
    input: usize,
    size: [usize; 3],
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// Taken into a buffer without a border.
    plain: Option<usize>,
}

#[derive(Clone, Debug)]
enum Held {
    Given(Given),
    Buffer(usize),
}

/// Builds a [`Network`] step by step.
#[derive(Debug)]
pub struct Builder {
    isa: Isa,
    storage: Storage,
    threads: usize,
    values: Vec<Held>,
    shapes: Vec<Shape>,
    steps: Vec<Step>,
    /// Of the weights.
    pool: Pool,
    inputs: Vec<[usize; 3]>,
    outputs: Vec<[usize; 3]>,
}

impl Builder {
    /// For an instruction set that the processor has, with weights kept in a way, and a team of so many.
    ///
    /// # Panics
    /// The processor does not have it: running would be undefined.
    pub fn new(isa: Isa, storage: Storage, threads: usize) -> Builder {
        assert!(isa.is_available(), "this processor does not have {isa}");
        Builder {
            isa,
            storage: storage.possible(isa),
            threads,
            values: Vec::new(),
            shapes: Vec::new(),
            steps: Vec::new(),
            pool: Pool::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The next input: channels, height, width.
    pub fn input(&mut self, size: [usize; 3]) -> Value {
        self.inputs.push(size);
        let (scale, shift) = (vec![1.0; size[0]], vec![0.0; size[0]]);
        self.hold(Held::Given(Given { input: self.inputs.len() - 1, size, scale, shift, plain: None }))
    }

    /// Channels, height and width.
    pub fn size(&self, value: Value) -> [usize; 3] {
        match &self.values[value.0] {
            Held::Given(given) => given.size,
            Held::Buffer(at) => {
                let shape = self.shapes[*at];
                [shape.channels, shape.height, shape.width]
            }
        }
    }

    /// Whether there is a kernel for the convolution.
    pub fn can_convolve(convolution: &Convolution<'_>) -> bool {
        convolution.depthwise || convolution.kernel[0] * convolution.kernel[1] <= MOST_TAPS
    }

    /// A convolution, with `residual`, a value of the result's size, added before the clamp.
    ///
    /// # Panics
    /// Parameters of other sizes than the convolution's, and one that [`Builder::can_convolve`] denies.
    pub fn convolve(&mut self, x: Value, convolution: &Convolution<'_>, residual: Option<Value>) -> Value {
        assert!(Builder::can_convolve(convolution), "there is a kernel");
        let Convolution { kernel, stride, dilation, before, output, depthwise, .. } = *convolution;
        let [channels, ..] = self.size(x);
        let outputs = convolution.bias.len();
        let inputs = if depthwise { 1 } else { channels };
        assert!(!depthwise || outputs == channels, "a depthwise convolution keeps the channels");
        assert_eq!(convolution.weights.len(), outputs * inputs * kernel[0] * kernel[1], "weights");
        assert!(residual.is_none_or(|r| self.size(r) == [outputs, output[0], output[1]]), "residual");
        let shape = self.shape([outputs, output[0], output[1]]);
        let mut window = Window { input: shape, output: shape, kernel, stride, dilation, before };
        let bordered = !depthwise && kernel[1] > 1 && dilation[1] == 1;
        let bordered = bordered && matches!(&self.values[x.0], Held::Given(given) if given.size[0] <= 4);
        let x = if bordered { self.bordered(x, &mut window) } else { self.plain(x) };
        if !bordered {
            window.input = self.shapes[x];
        }
        let residual = residual.map(|residual| self.plain(residual));
        let Convolution { weights, bias, clamp, .. } = convolution;
        let threads = self.threads;
        let keeping = Keeping { storage: self.storage, pool: &mut self.pool };
        let kind = with_simd!(self.isa, S => if depthwise {
            Kind::Depthwise(Depthwise::new::<S>(window, weights, bias, *clamp, threads))
        } else if !bordered && Winograd::suits(&window) {
            Kind::Winograd(Winograd::new::<S>(window, weights, bias, *clamp, keeping, threads))
        } else {
            Kind::Dense(Dense::new::<S>(window, weights, bias, *clamp, bordered, keeping, threads))
        });
        self.step(kind, x, residual, shape)
    }

    /// Pooling; of the convolution's fields only what its window does is looked at.
    pub fn pool(&mut self, x: Value, window: &Convolution<'_>, reduction: Reduction) -> Value {
        let x = self.plain(x);
        let input = self.shapes[x];
        let Convolution { kernel, stride, dilation, before, output, .. } = *window;
        let shape = self.shape([input.channels, output[0], output[1]]);
        let window = Window { input, output: shape, kernel, stride, dilation, before };
        self.step(Kind::Pooling(Pooling { window, reduction }), x, None, shape)
    }

    /// Every pixel `factor` times down and across.
    pub fn upsample(&mut self, x: Value, factor: [usize; 2]) -> Value {
        let x = self.plain(x);
        let upsampling = Upsampling { input: self.shapes[x], factor };
        let shape = upsampling.output();
        self.step(Kind::Upsampling(upsampling), x, None, shape)
    }

    /// The largest value, or the sum, of every `xi` channels.
    ///
    /// # Panics
    /// Channels that are no whole number of groups.
    pub fn group(&mut self, x: Value, xi: usize, max: bool) -> Value {
        let x = self.plain(x);
        let input = self.shapes[x];
        assert_eq!(input.channels % xi, 0, "whole groups");
        let output = self.shape([input.channels / xi, input.height, input.width]);
        self.step(Kind::Grouping(Grouping { input, output, xi, max }), x, None, output)
    }

    /// `clamp((x + other) * scale + shift)`, scale and shift for each channel.
    ///
    /// # Panics
    /// Sizes that differ.
    pub fn affine(
        &mut self,
        x: Value,
        other: Option<Value>,
        scale: &[f32],
        shift: &[f32],
        clamp: [f32; 2],
    ) -> Value {
        let [channels, ..] = self.size(x);
        assert_eq!([scale.len(), shift.len()], [channels; 2], "one for each channel");
        assert!(other.is_none_or(|other| self.size(other) == self.size(x)), "two of a size");
        if let (Held::Given(given), None, true) =
            (&self.values[x.0], other, clamp == [f32::NEG_INFINITY, f32::INFINITY])
        {
            let mut given = given.clone();
            given.plain = None;
            for channel in 0..channels {
                given.scale[channel] *= scale[channel];
                given.shift[channel] = given.shift[channel] * scale[channel] + shift[channel];
            }
            return self.hold(Held::Given(given));
        }
        let x = self.plain(x);
        let other = other.map(|other| self.plain(other));
        let shape = self.shapes[x];
        self.step(Kind::Affine(Affine::new(shape, scale, shift, clamp)), x, other, shape)
    }

    /// Makes a value the next output, `[channels, height, width]`.
    pub fn output(&mut self, value: Value) {
        self.outputs.push(self.size(value));
        let x = self.plain(value);
        let kind = Kind::Export(self.shapes[x]);
        self.steps.push(Step { kind, x, other: None, out: self.outputs.len() - 1 });
    }

    fn hold(&mut self, held: Held) -> Value {
        self.values.push(held);
        Value(self.values.len() - 1)
    }

    /// Pixels begin at whole vectors.
    fn shape(&self, [channels, height, width]: [usize; 3]) -> Shape {
        let lanes = with_simd!(self.isa, S => S::LANES);
        Shape { channels, height, width, stride: channels.next_multiple_of(lanes) }
    }

    fn buffer(&mut self, shape: Shape) -> usize {
        self.shapes.push(shape);
        self.shapes.len() - 1
    }

    fn step(&mut self, kind: Kind, x: usize, other: Option<usize>, shape: Shape) -> Value {
        let out = self.buffer(shape);
        self.steps.push(Step { kind, x, other, out });
        self.hold(Held::Buffer(out))
    }

    /// The buffer of a value, without a border.
    fn plain(&mut self, value: Value) -> usize {
        let given = match &self.values[value.0] {
            Held::Buffer(at) | Held::Given(Given { plain: Some(at), .. }) => return *at,
            Held::Given(given) => given.clone(),
        };
        let shape = self.shape(given.size);
        let at = self.import(&given, shape, [0, 0], [shape.height, shape.width]);
        self.values[value.0] = Held::Given(Given { plain: Some(at), ..given });
        at
    }

    /// The buffer of an input in the border that a window needs; sets the window's input.
    fn bordered(&mut self, value: Value, window: &mut Window) -> usize {
        let Held::Given(given) = self.values[value.0].clone() else {
            unreachable!("only an input is taken in a border");
        };
        let [channels, height, width] = given.size;
        window.input = Shape { channels, height, width, stride: channels };
        let size = [window.bordered_height(), window.bordered_width()];
        self.import(&given, window.input, window.before, size)
    }

    fn import(
        &mut self,
        given: &Given,
        shape: Shape,
        before: [usize; 2],
        [height, width]: [usize; 2],
    ) -> usize {
        let out = self.buffer(Shape { height, width, ..shape });
        let (scale, shift) = (given.scale.clone(), given.shift.clone());
        let import = Import { input: given.input, shape, before, height, width, scale, shift };
        self.steps.push(Step { kind: Kind::Import(import), x: out, other: None, out });
        out
    }

    /// Gives every buffer its place.
    pub fn finish(self) -> Network {
        let Builder { isa, threads, shapes, steps, inputs, outputs, .. } = self;
        let steps = joined(steps, threads);
        let mut uses: Vec<Option<Use>> = vec![None; shapes.len()];
        for (at, step) in steps.iter().enumerate() {
            let written = (!matches!(step.kind, Kind::Export(_))).then_some(step.out);
            for buffer in [Some(step.x), step.other, written].into_iter().flatten() {
                let floats = shapes[buffer].floats().next_multiple_of(LINE);
                uses[buffer].get_or_insert(Use { floats, first: at, last: at }).last = at;
            }
        }
        let (offsets, floats) = places(&uses);
        let scratch = |step: &Step| match &step.kind {
            Kind::Winograd(winograd) if winograd.is_apart() => [winograd.scratch(), 0],
            Kind::Winograd(winograd) => [0, winograd.scratch()],
            Kind::Separable(separable) => [separable.scratch(), 0],
            _ => [0, 0],
        };
        let each = steps.iter().map(|step| scratch(step)[0]).max().unwrap_or(0).next_multiple_of(LINE);
        let all = steps.iter().map(|step| scratch(step)[1]).max().unwrap_or(0);
        let arena = floats + all.max(each * threads);
        Network { isa, threads, steps, offsets, scratch: floats, each, arena, inputs, outputs }
    }
}

/// Joins steps that are cheaper as one.
fn joined(steps: Vec<Step>, threads: usize) -> Vec<Step> {
    let mut uses: Vec<usize> = Vec::new();
    for buffer in steps.iter().flat_map(|step| [Some(step.x), step.other]).flatten() {
        uses.resize(uses.len().max(buffer + 1), 0);
        uses[buffer] += 1;
    }
    let mut joined: Vec<Step> = Vec::new();
    for step in steps {
        let Some(last) = joined.pop() else {
            joined.push(step);
            continue;
        };
        let follows = step.x == last.out && uses[last.out] == 1 && last.other.is_none();
        let separable = match (last.kind, step.kind) {
            (Kind::Dense(expand), Kind::Depthwise(depthwise))
                if follows && Separable::expands(&expand, &depthwise) =>
            {
                Separable::expanded(expand, depthwise, threads)
            }
            (Kind::Depthwise(depthwise), Kind::Dense(project))
                if follows && Separable::projects(&depthwise, &project) =>
            {
                Separable::projected(depthwise, project, threads)
            }
            (Kind::Separable(separable), Kind::Dense(project)) if follows && separable.takes(&project) => {
                separable.with(project)
            }
            (before, kind) => {
                joined.extend([Step { kind: before, ..last }, Step { kind, ..step }]);
                continue;
            }
        };
        joined.push(Step { kind: Kind::Separable(Box::new(separable)), x: last.x, ..step });
    }
    joined
}

/// How large a buffer is, and the first and the last step that use it.
#[derive(Clone, Copy)]
struct Use {
    floats: usize,
    first: usize,
    last: usize,
}

/// The first free place for each buffer that is used, large ones first, and the length of all: no two that are in use at
/// the same step overlap.
fn places(buffers: &[Option<Use>]) -> (Vec<usize>, usize) {
    let mut used: Vec<(usize, Use)> =
        buffers.iter().enumerate().filter_map(|(at, used)| used.map(|used| (at, used))).collect();
    used.sort_by_key(|(_, used)| core::cmp::Reverse(used.floats));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<(usize, Use)> = Vec::new();
    let mut end = 0;
    for (at, used) in used {
        let meets = |(_, other): &&(usize, Use)| other.first <= used.last && used.first <= other.last;
        let mut taken: Vec<_> = placed
            .iter()
            .filter(meets)
            .map(|(at, other)| offsets[*at]..offsets[*at] + other.floats)
            .collect();
        taken.sort_unstable_by_key(|place| (place.start, place.end));
        let mut offset = 0;
        for place in taken {
            if offset + used.floats <= place.start {
                break;
            }
            offset = offset.max(place.end);
        }
        offsets[at] = offset;
        end = end.max(offset + used.floats);
        placed.push((at, used));
    }
    (offsets, end)
}

/// A network of fused steps.
#[derive(Debug)]
pub struct Network {
    isa: Isa,
    threads: usize,
    steps: Vec<Step>,
    offsets: Vec<usize>,
    /// Where scratch begins in the arena.
    scratch: usize,
    /// Scratch of each member.
    each: usize,
    arena: usize,
    inputs: Vec<[usize; 3]>,
    outputs: Vec<[usize; 3]>,
}

/// The memory of one run at a time: all activations and scratch.
#[derive(Debug)]
pub struct Arena(Floats);

impl Network {
    /// Memory for a run.
    pub fn arena(&self) -> Arena {
        Arena(Floats::many(self.arena))
    }

    /// Steps.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Runs all steps. Nothing is allocated.
    ///
    /// # Panics
    /// An arena of another network, a team of another size than the builder was told, inputs and outputs of other
    /// sizes or numbers.
    pub fn run(&self, arena: &mut Arena, team: &dyn Team, inputs: &[Source<'_>], outputs: &mut [&mut [f32]]) {
        let values = |size: &[usize; 3]| size.iter().product::<usize>();
        assert!(inputs.iter().map(Source::len).eq(self.inputs.iter().map(values)), "the inputs' sizes");
        assert!(outputs.iter().map(|o| o.len()).eq(self.outputs.iter().map(values)), "the outputs' sizes");
        assert!(arena.0.as_mut_slice().len() >= self.arena, "the network's own arena");
        assert!(team.members() <= self.threads, "the team's size");
        let arena = Shared(arena.0.as_mut_ptr());
        for step in &self.steps {
            let output = match step.kind {
                Kind::Export(_) => Shared(outputs[step.out].as_mut_ptr()),
                // Safety: planned inside of the arena.
                _ => Shared(unsafe { arena.get().add(self.offsets[step.out]) }),
            };
            for round in 0..step.rounds() {
                team.share(step.tasks(round), &|member, task| {
                    // Safety: buffers were planned so that what is read is not written in this step; a task writes
                    // its own part. The processor has the instruction set (see `Builder::new`).
                    unsafe {
                        let at = |buffer: usize| arena.get().add(self.offsets[buffer]).cast_const();
                        let todo = Task {
                            step,
                            inputs,
                            x: at(step.x),
                            other: step.other.map_or(ptr::null(), at),
                            out: output.get(),
                            scratch: arena.get().add(self.scratch),
                            own_scratch: arena.get().add(self.scratch + member * self.each),
                            round,
                            number: task,
                        };
                        with_simd!(self.isa, S => todo.run::<S>());
                    }
                });
            }
        }
    }
}

/// A pointer that tasks on several threads use, each for its own part.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

impl Shared {
    fn get(&self) -> *mut f32 {
        self.0
    }
}

// Safety: see `Network::run`.
unsafe impl Sync for Shared {}
// Safety: see `Network::run`.
unsafe impl Send for Shared {}

impl Step {
    fn rounds(&self) -> usize {
        match &self.kind {
            Kind::Winograd(winograd) => winograd.rounds(),
            _ => 1,
        }
    }

    fn tasks(&self, round: usize) -> usize {
        match &self.kind {
            Kind::Import(import) => import.height,
            Kind::Dense(dense) => dense.tasks(),
            Kind::Depthwise(depthwise) => depthwise.tasks(),
            Kind::Winograd(winograd) => winograd.tasks(round),
            Kind::Separable(separable) => separable.tasks(),
            Kind::Pooling(pooling) => pooling.window.output.height,
            Kind::Upsampling(upsampling) => upsampling.output().height,
            Kind::Affine(affine) => affine.shape.height,
            Kind::Grouping(grouping) => grouping.output.height,
            Kind::Export(shape) => shape.channels.div_ceil(EXPORTED),
        }
    }
}

struct Task<'a> {
    step: &'a Step,
    inputs: &'a [Source<'a>],
    x: *const f32,
    other: *const f32,
    out: *mut f32,
    scratch: *mut f32,
    own_scratch: *mut f32,
    round: usize,
    number: usize,
}

impl Task<'_> {
    /// # Safety
    /// See [`Network::run`].
    unsafe fn run<S: Simd>(self) {
        let Task { x, other, out, number: task, .. } = self;
        let buffers = Buffers { x, residual: other, out };
        // Safety: see `Network::run`.
        unsafe {
            match &self.step.kind {
                Kind::Import(import) => {
                    let source = self.inputs[import.input];
                    S::enter(ImportRow { import, source, out, y: task });
                }
                Kind::Dense(dense) => dense.task::<S>(buffers, task),
                Kind::Depthwise(depthwise) => depthwise.task::<S>(buffers, task),
                Kind::Winograd(winograd) => {
                    let scratch = if winograd.is_apart() { self.own_scratch } else { self.scratch };
                    winograd.task::<S>(buffers, scratch, self.round, task);
                }
                Kind::Separable(separable) => separable.task::<S>(buffers, self.own_scratch, task),
                Kind::Pooling(pooling) => S::enter(PoolRow { pooling, x, out, y: task }),
                Kind::Upsampling(upsampling) => upsampling.task(x, out, task),
                Kind::Affine(affine) => S::enter(AffineRow { affine, buffers, y: task }),
                Kind::Grouping(grouping) => grouping.task(x, out, task),
                Kind::Export(shape) => {
                    let channels = task * EXPORTED..((task + 1) * EXPORTED).min(shape.channels);
                    export(*shape, x, out, channels);
                }
            }
        }
    }
}
