//! Names a picture's marks on a Cortex-M4 without an operating system.
//!
//! The files come through semihosting, where a product would have the description in flash and the maps from its
//! accelerator. Prints the very text of the example `marks`, of which this is the part that differs.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../answer.rs"]
mod answer;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;

// For its critical sections.
use cortex_m as _;
use cortex_m_rt::entry;
use embedded_alloc::LlffHeap;
use fieldmark::Description;
use semihosting::experimental::env::args;
use semihosting::fs::File;
use semihosting::io::{self, Read};
use semihosting::{print, process};

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

/// Half of the memory.
const HEAP_BYTES: usize = 2 << 20;

#[entry]
fn main() -> ! {
    // SAFETY: once, and before the first allocation.
    unsafe {
        embedded_alloc::init!(HEAP, HEAP_BYTES);
    }
    let description = String::from_utf8(read(c"model.json").expect("model.json")).expect("model.json");
    let description = Description::from_json(&description).expect("model.json");
    let maps = read(c"maps.f16").expect("maps.f16");
    match answer::answer(&description, &maps, picture_size()) {
        Ok(answer) => print!("{answer}"),
        Err(error) => panic!("maps.f16: {error}"),
    }
    process::exit(0)
}

/// Width and height from the command line, after the program's name.
fn picture_size() -> [u32; 2] {
    let words = args::<256>().expect("a command line");
    let mut sizes = words.skip(1).map(|word| word.ok().and_then(|word| word.parse().ok()));
    [(); 2].map(|()| sizes.next().flatten().expect("the picture's width and height"))
}

fn read(path: &CStr) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
