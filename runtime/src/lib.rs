//! Tells look-alikes apart on a small board, and says by which marks.
//!
//! A Fieldmark network gives every class a few channels of its own and is trained (with MC-Loss, by
//! `fieldmark-trainer`) so that each of them fires at one part that tells the class apart. This crate
//! is what runs such a network: the board's library, and with feature `cli` the board's program.
//!
//! # The tour, in the order of a prediction
//!
//! 1. [`frame`]: a checked RGB [`Frame`], and [`network_frame`], which makes the network's square
//!    input of it and keeps the [`View`] back to the picture's pixels. The bytes are the same on every
//!    processor, and the trainer uses the same functions.
//! 2. [`model`]: the [`Description`] that a model file carries: labels, [`Layout`], [`Head`], input,
//!    temperature, threshold, self-test.
//! 3. `engine` (feature `engine`): loads the model file, checks it, and runs it: logits and maps.
//! 4. [`layout`]: which channels of the maps belong to which class.
//! 5. [`head`]: logits of maps, and what each channel adds to its class's logit; [`softmax`], [`top_k`].
//! 6. [`cues`]: [`part_cues`], where each channel of a class looks, in picture pixels.
//! 7. [`sketches`]: what pictures of each class look like to the backbone.
//! 8. [`unknown`]: whether the picture shows none of the classes.
//! 9. [`raw`]: maps as bytes for readers without a library.
//!
//! Besides: `picture` (feature `picture`) reads frames from files; [`pattern`] draws the self-test's pictures; [`kernels`]
//! are the convolutions that `engine` runs, for other graphs too; `file` (feature `std`) writes files that are whole or absent.
//!
//! Three programs in the folder `examples` show how it is used, each in a few lines: `predict.rs` names a picture,
//! `camera_loop.rs` names frame after frame without allocating, `marks` names marks with the core alone, on a
//! microcontroller too.
//!
//! # Features
//!
//! Without features the crate is `no_std` with `alloc`, and holds all of the above but engine and
//! pictures: a microcontroller that gets maps from its own accelerator can name the marks.
//!
//! | feature | adds |
//! |---|---|
//! | `std` | the standard library; files that are whole or absent |
//! | `engine` | loading and running models through tract |
//! | `picture` | JPEG and PNG files, EXIF orientation, limits |
//! | `cuda` | running models on an NVIDIA GPU, through tract |
//! | `clap` | `clap::ValueEnum` for the enums that a command line chooses from |
//! | `cli` (default) | the program `fieldmark` |
//! | `serve` (default) | its subcommand that answers over HTTP |
//!
//! # Shapes
//!
//! `c` classes; `xi` channels a class; `N` channels, the sum of `xi` over the classes; `H x W` the map;
//! `S` the side of the network's input. Maps are `[N, H, W]`, input is `[1, 3, S, S]` RGB 0..=255.
//!
//! # Example
//!
//! Two classes with two channels each; the third channel fires in the picture's lower right.
//!
//! ```
//! use fieldmark::{Head, HeadKind, Layout, ResizeRule, View, part_cues, top_k};
//! use ndarray::Array3;
//!
//! # fn main() -> Result<(), fieldmark::LayoutError> {
//! let layout = Layout::uniform(2, 2)?;
//! let head = Head { kind: HeadKind::GroupMax, weight: vec![1.0; 4], bias: vec![0.0; 2] };
//! let mut maps = Array3::zeros((4, 7, 7));
//! maps[[2, 5, 6]] = 9.8;
//!
//! let logits = head.logits(maps.view(), &layout).expect("a group head");
//! let class = top_k(&logits, 1)[0];
//! assert_eq!(class, 1);
//!
//! let view = View::new(448, 448, ResizeRule::Squash, 224);
//! let cues = part_cues(maps.view(), &layout, &head, class, &view, 224);
//! assert_eq!((cues[0].channel, cues[0].x, cues[0].y), (2, 416.0, 352.0));
//! assert_eq!(cues[0].bounds, [384.0, 320.0, 448.0, 384.0]);
//! assert!((cues[0].share - logits[1]).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "ndarray's views are handles, passed by value as slices are"
)]

extern crate alloc;

pub mod cues;
pub mod digits;
pub mod frame;
pub mod head;
pub mod kernels;
pub mod layout;
pub mod model;
pub mod raw;
pub mod sketches;
pub mod unknown;

#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "std")]
pub mod file;
#[cfg(feature = "picture")]
pub mod picture;

pub use cues::{PartCue, part_cues};
pub use frame::{Frame, FrameError, Region, ResizeRule, View, network_frame, pattern, resize};
pub use head::{Head, HeadKind, ccmp, softmax, top_k};
pub use layout::{Layout, LayoutError, Run};
pub use model::{Description, DescriptionError, SelfTest};
pub use sketches::{Sketch, Sketches};
pub use unknown::{Reason, Rejection, Score, Unknown};
