//! Names the frames of a camera in a loop of its own, which allocates nothing after the first frame.
//!
//! ```text
//! cargo run --release --package fieldmark --example camera_loop MODEL FRAMES
//! ```
//!
//! draws so many frames. Without FRAMES they come from stdin, one after the other, as raw RGB bytes (3 a pixel, rows from
//! the top) of the network's own size, which `fieldmark inspect MODEL` shows. For a network of 224 x 224 pixels:
//!
//! ```text
//! ffmpeg -i /dev/video0 -vf scale=224:224 -f rawvideo -pix_fmt rgb24 - | camera_loop MODEL
//! ```

use std::env;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result};
use fieldmark::Frame;
use fieldmark::engine::{Engine, Options, Output};

/// Where frames come from.
enum Camera {
    Drawn { left: u32 },
    Stdin,
}

impl Camera {
    /// Fills `pixels` with the next frame; false when there is none.
    fn next(&mut self, pixels: &mut [u8]) -> io::Result<bool> {
        match self {
            Camera::Drawn { left: 0 } => Ok(false),
            Camera::Drawn { left } => {
                *left -= 1;
                pixels
                    .iter_mut()
                    .enumerate()
                    .for_each(|(at, value)| *value = (at / 3 + *left as usize) as u8);
                Ok(true)
            }
            // A frame that the end cuts off is left out.
            Camera::Stdin => match io::stdin().lock().read_exact(pixels) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
                read => read.map(|()| true),
            },
        }
    }
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let model = args.next().context("type the model's path")?;
    let mut camera = match args.next() {
        Some(frames) => Camera::Drawn { left: frames.parse().context("the number of frames")? },
        None => Camera::Stdin,
    };
    let engine = Engine::load(Path::new(&model), Options::default())?;
    let description = engine.description();
    let side = description.input.side;

    // Both are used again and again.
    let mut pixels = vec![0; 3 * side as usize * side as usize];
    let mut output = Output::default();
    while camera.next(&mut pixels)? {
        // The frame takes the buffer over, and gives it back.
        let frame = Frame::new(side, side, pixels)?;
        engine.run_into(&frame, &mut output)?;
        pixels = frame.into_pixels();
        // Engines give finite numbers only. `softmax` and `part_cues` would make more of them, and allocate.
        let logits = output.logits.iter().zip(&description.labels);
        if let Some((logit, label)) = logits.max_by(|a, b| a.0.total_cmp(b.0)) {
            println!("{label} {logit:.3}");
        }
    }
    Ok(())
}
