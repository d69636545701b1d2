//! What `fieldmark predict --cues` says, from maps and the model's own description, with the core alone.

use alloc::vec::Vec;
use core::fmt;

use fieldmark::raw::{RawError, raw_tensor};
use fieldmark::{Description, DescriptionError, PartCue, Unknown, View, part_cues, softmax, top_k};
use ndarray::Ix3;
use thiserror::Error;

/// What a picture shows, and by which marks.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The likeliest class's label.
    pub label: &'a str,
    /// How sure that is, 0..=1.
    pub probability: f32,
    /// Why the picture is better called unknown.
    pub unknown: Option<Unknown>,
    /// The class's marks in pixels of the picture, strongest share first.
    pub cues: Vec<PartCue>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// The description is none.
    #[error("{0}")]
    Description(#[from] DescriptionError),
    /// The maps are no raw tensor.
    #[error("{0}")]
    Maps(#[from] RawError),
    /// The maps are another model's.
    #[error("maps of shape {actual:?}, expected [{channels}, H, W]; take both files from one model")]
    Shape {
        /// `N` of the model.
        channels: usize,
        /// The raw tensor's sides.
        actual: Vec<usize>,
    },
    /// The head cannot be computed from the maps.
    #[error(
        "the model's head is linear, and its logits do not follow from its description; use a group head"
    )]
    Linear,
}

/// The answer for `maps` (a raw tensor `[N, H, W]`) of a picture of `width` x `height` pixels.
///
/// # Errors
/// Maps that are no raw tensor or not this model's, and a linear head.
pub fn answer<'a>(
    description: &'a Description,
    maps: &[u8],
    [width, height]: [u32; 2],
) -> Result<Answer<'a>, AnswerError> {
    let Description { labels, layout, head, input, .. } = description;
    let maps = raw_tensor(maps)?;
    let (channels, actual) = (layout.channels(), maps.shape().to_vec());
    let maps = match maps.into_dimensionality::<Ix3>() {
        Ok(maps) if maps.dim().0 == channels => maps,
        _ => return Err(AnswerError::Shape { channels, actual }),
    };
    let logits = head.logits(maps.view(), layout).ok_or(AnswerError::Linear)?;
    let class = top_k(&logits, 1)[0];
    let temperature = description.temperature;
    let view = View::new(width, height, input.resize, input.side);
    Ok(Answer {
        label: &labels[class],
        probability: softmax(&logits, temperature)[class],
        // By logits and maps: this program is not given the features that sketches ask for.
        unknown: description.doubt(&logits, maps.view(), &[]),
        cues: part_cues(maps.view(), layout, head, class, &view, input.side),
    })
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { label, probability, unknown, cues } = self;
        if let Some(unknown) = unknown {
            write!(f, "unknown ({unknown}); nearest: ")?;
        }
        writeln!(f, "{label} {:.1} %", 100.0 * probability)?;
        for PartCue { channel, x, y, share, dead, .. } in cues {
            if *dead {
                writeln!(f, "  channel {channel} fires nowhere")?;
            } else {
                writeln!(f, "  channel {channel} at x {x:.1}, y {y:.1}: share {share:+.3}")?;
            }
        }
        Ok(())
    }
}
