//! Names a picture's marks from its maps, as a microcontroller would: `cortex-m` beside this file is the same without
//! an operating system.
//!
//! ```text
//! fieldmark inspect MODEL --description model.json
//! fieldmark predict MODEL PICTURE --maps maps.f16 --maps-type f16
//! cargo run --release --package fieldmark --example marks WIDTH HEIGHT
//! ```
//!
//! It reads `model.json` and `maps.f16` in the current folder; WIDTH and HEIGHT are the picture's, in pixels.

extern crate alloc;

mod answer;

use std::{env, fs};

use anyhow::{Context, Result};
use fieldmark::Description;

fn main() -> Result<()> {
    let size: Vec<u32> = env::args().skip(1).map_while(|word| word.parse().ok()).collect();
    let size = size.try_into().ok().context("type the picture's width and height in pixels")?;
    let description = fs::read_to_string("model.json").context("model.json")?;
    let maps = fs::read("maps.f16").context("maps.f16")?;
    let description = Description::from_json(&description).context("model.json")?;
    print!("{}", answer::answer(&description, &maps, size).context("maps.f16")?);
    Ok(())
}
