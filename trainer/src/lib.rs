//! Trains look-alike classifiers with MC-Loss (Chang et al. 2020) and exports them for the board.
//!
//! # The tour, in the order of a run
//!
//! Six wings, each with a face that says what it may use; they depend on each other in this order, which a test holds.
//!
//! 1. [`net`]: the network as data ([`net::layer`]), backbones ([`net::backbone`]), class-aligned layer and head on top
//!    ([`net::network`]), published weights ([`net::weights`]), the operations beneath ([`net::ops`]), and
//!    [`net::mc_loss`]: `discriminality`, `diversity`, `cwa_mask`, `ccmp`, in the paper's order.
//! 2. [`data`]: labelled pictures, split and checked ([`data::dataset`], [`data::lint`]); a data set whose field marks are known
//!    ([`data::synth`]); pictures decoded, changed at random and stacked, ahead of time ([`data::batch`]).
//! 3. [`run`]: what decides a run ([`run::config`], [`run::recipe`]) and the folder that holds it ([`run::folder`],
//!    [`run::checkpoint`], [`run::records`]).
//! 4. [`training`]: the loop ([`training::train`]), stochastic gradient descent ([`training::optim`]).
//! 5. [`measure`]: what a network says of pictures ([`measure::answers`]), how far that can be believed
//!    ([`measure::calibration`]), accuracy and cues on the test split ([`measure::eval`], [`measure::faithfulness`]), and which
//!    score tells strangers ([`measure::unknown`]).
//! 6. [`publish`]: the ONNX file, written once the board's engine has agreed ([`publish::export`]); a page for a person
//!    ([`publish::report`]); curves for TensorBoard ([`publish::tensorboard`]).
//!
//! [`random`] names all random streams. `examples/mc_loss.rs` uses the loss on maps of your own.
//!
//! # Shapes
//!
//! `B` batch, `c` classes, `xi` channels a class, `N` their sum, `H x W` map, `S` input side. Pictures are
//! `B x 3 x S x S`, RGB 0..=255; maps `B x N x H x W`, nowhere negative; logits `B x c`.

pub mod data;
pub mod measure;
pub mod net;
pub mod publish;
pub mod random;
mod remedy;
pub mod run;
pub mod training;
