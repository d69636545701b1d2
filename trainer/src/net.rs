//! The network: its layers as data, the backbones made of them, the operations beneath, the loss on its maps.
//!
//! [`ops`] is the floor; [`layer`] says what a network can be made of, [`backbone`] and [`network`] are made of it,
//! [`weights`] brings published parameters, [`mc_loss`] judges maps, [`device`] says where and in which numbers it computes.
//!
//! May use: nothing else of the trainer's but [`random`](crate::random) and the remedies for file errors.

pub mod backbone;
pub mod device;
pub mod layer;
pub mod mc_loss;
pub mod network;
pub(crate) mod onnx;
pub mod ops;
pub mod weights;
