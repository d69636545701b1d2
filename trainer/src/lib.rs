//! Trains look-alike classifiers with MC-Loss (Chang et al. 2020) and exports them for the board.
//!
//! # The tour, in the order of a run
//!
//! 1. [`dataset`]: labelled pictures in folders, split and checked; [`synth`] draws a data set whose field marks
//!    are known; [`lint`] says what is suspicious about one.
//! 2. [`batch`]: pictures decoded, changed at random, stacked, ahead of time; [`random`] names its streams.
//! 3. [`layer`]: the network as data, and the matches over it: shape, cost, parameters, forward, fold.
//! 4. [`backbone`], [`network`]: what is written once: backbones; class-aligned layer and head on top. [`weights`]
//!    brings a backbone's published weights.
//! 5. [`mc_loss`]: `discriminality`, `diversity`, `cwa_mask`, `ccmp`, in the paper's order.
//! 6. [`ops`]: the differentiable operations beneath; [`optim`]: stochastic gradient descent with momentum;
//!    [`average`]: of its steps; [`device`]: where they run.
//! 7. [`train`]: the loop. [`config`] decides a run, [`recipe`] has configurations that work, [`run`] is its folder, [`checkpoint`] its state, [`metrics`]
//!    what it says of itself.
//! 8. [`answers`]: what a network says of pictures; [`calibration`]: how far that can be believed; [`unknown`]: which
//!    score tells strangers, by runs that do without some classes.
//! 9. [`eval`]: accuracy on the test split, and whether cues lie on the marks; [`faithfulness`]: whether the answers
//!    depend on them.
//! 10. [`export`]: the ONNX file, written once the board's engine has agreed; [`picture`] gives both the same input.
//! 11. [`report`]: all of it as one page for a person; [`tensorboard`]: the curves for those who live there.
//!
//! # Shapes
//!
//! `B` batch, `c` classes, `xi` channels a class, `N` their sum, `H x W` map, `S` input side. Pictures are
//! `B x 3 x S x S`, RGB 0..=255; maps `B x N x H x W`, nowhere negative; logits `B x c`.

pub mod answers;
pub mod average;
pub mod backbone;
pub mod batch;
pub mod calibration;
pub mod checkpoint;
pub mod config;
pub mod dataset;
pub mod device;
pub mod eval;
pub mod export;
pub mod faithfulness;
pub mod layer;
pub mod lint;
pub mod mc_loss;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod ops;
pub mod optim;
pub mod picture;
pub mod random;
pub mod recipe;
mod remedy;
pub mod report;
pub mod run;
pub mod synth;
pub mod tensorboard;
pub mod train;
pub mod unknown;
pub mod weights;
