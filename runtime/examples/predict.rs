//! Names a picture, and shows by which marks.
//!
//! ```text
//! cargo run --release --package fieldmark --example predict MODEL PICTURE
//! ```
//!
//! MODEL is a file that `fieldmark-trainer export` wrote, PICTURE a JPEG or PNG file.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fieldmark::engine::{Engine, Options};
use fieldmark::picture::{Limits, read_picture};

fn main() -> Result<()> {
    let paths: Vec<_> = env::args_os().skip(1).collect();
    let [model, picture] = paths.as_slice() else { bail!("type the model's path and the picture's") };

    // Loading checks the file and packs its weights; one engine serves any number of pictures and threads.
    let engine = Engine::load(Path::new(model), Options::default())?;
    // Errors of a picture do not name it: the caller does.
    let frame = read_picture(Path::new(picture), &Limits::default())
        .with_context(|| Path::new(picture).display().to_string())?;

    // The three likeliest classes, and the cues of the first.
    let prediction = engine.predict(&frame, 3, true)?;
    if let Some(unknown) = prediction.unknown {
        println!("perhaps none of these: {unknown}");
    }
    for answer in &prediction.top {
        println!("{} {:.1} %", answer.label, 100.0 * answer.probability);
    }
    // A dead channel fires nowhere, so it has no place.
    for cue in prediction.cues.iter().map(|labelled| &labelled.cue).filter(|cue| !cue.dead) {
        println!("  at x {:.0}, y {:.0}: share {:+.3}", cue.x, cue.y, cue.share);
    }
    Ok(())
}
