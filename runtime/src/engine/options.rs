//! How to load a model.

use crate::kernels::Isa;

/// How numbers are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Precision {
    /// Whatever is exact and fast here.
    ///
    /// On every processor this is `F32` so far, also for weights stored in f16.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// Weights as 16-bit floats: half of the memory, logits to 2 or 3 digits.
    ///
    /// What rounding does to a logit depends on the network: the book's page on the engine's speed has what was measured.
    /// A weight is widened when it is used. Where the processor has 16-bit products (ARM's `FEAT_FP16`), it is
    /// multiplied as it is, and sums have 32 bits. [`Kernels::Tract`] computes everything in 16 bits, and is refused
    /// where the processor cannot.
    F16,
}

/// What computes the convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// The [`kernels`](crate::kernels) of this crate, by the fastest instruction set of the processor.
    #[default]
    Best,
    /// The same by this one.
    Only(Isa),
    /// tract's own, as everything else: slower, and what ours are compared with.
    Tract,
}

/// What computes the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU, if this program was compiled for it.
    ///
    /// That is, with the feature `cuda`. tract runs the network; [`Kernels`] and threads have no part in it. Answers are
    /// given only after the model has passed its own test there.
    Cuda,
}

/// How to load a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What computes the network.
    pub device: Device,
    /// How numbers are computed.
    pub precision: Precision,
    /// What computes the convolutions.
    pub kernels: Kernels,
    /// Threads that share the work on one picture, the caller included; 0: as many as [`cores`](crate::engine::cores). Results
    /// do not depend on it. tract's own kernels run on the caller's alone.
    pub threads: usize,
}
