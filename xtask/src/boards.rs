//! What is built for the boards of the table in `trainer/boards`, and tested as on them.
//!
//! [`mod@build`] makes the program: [`library`] finds the standard library for the board, [`linker`] what links it,
//! `fieldmark_programs::elf` reads whether the result will start there. [`parity`] tests it under emulation.

mod answers;
mod build;
mod debian;
mod emulator;
mod library;
mod linker;
mod parity;

use anyhow::{Result, bail};
use clap::Args;
use fieldmark_boards::{BOARDS, Board, Emulator, Libc, Variant, find};

pub use build::{Profile, build, build_trainer};
pub use emulator::processor;
use linker::LinkerName;
pub use parity::{Options as TestOptions, test_boards};

use crate::process::Act;

/// Which program is meant, and with what it is made.
#[derive(Args, Clone, Default)]
pub struct Choice {
    /// Board; `cargo xtask boards` lists them
    #[arg(long)]
    pub board: String,
    /// 32 for a 32-bit system on a board that has either
    #[arg(long)]
    pub bits: Option<u8>,
    /// Toolchain with the board's standard library: a folder with bin/rustc, or a name of rustup's
    /// [default: `FIELDMARK_TOOLCHAIN`, else what is found]
    #[arg(long)]
    pub toolchain: Option<String>,
    /// What links [default: zig, else gcc where it is right for the board]
    #[arg(long, value_enum)]
    pub linker: Option<LinkerName>,
    /// With the feature `cuda`: the program computes on an NVIDIA GPU where it is told to
    #[arg(long)]
    pub cuda: bool,
}

impl Choice {
    /// The board and which of its programs.
    ///
    /// # Errors
    /// A board, a size or a GPU that there is none of, with those that there are.
    pub fn found(&self) -> Result<(&'static Board, &'static Variant)> {
        let (board, variant) = find(&self.board, self.bits)?;
        if self.cuda && !board.cuda {
            let all: Vec<_> = BOARDS.iter().filter(|board| board.cuda).map(|board| board.name).collect();
            let name = board.name;
            bail!("{name} has no GPU with CUDA 12.6; leave out --cuda, or choose {}", all.join(" or "));
        }
        Ok((board, variant))
    }
}

/// What can be chosen of `cargo xtask build`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    choice: Choice,
    /// How it is compiled
    #[arg(long, value_enum, default_value_t = Profile::Board)]
    profile: Profile,
    /// Print what would be run, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Builds a board's program, and prints where it is.
///
/// # Errors
/// As [`build()`].
pub fn build_program(options: &Options) -> Result<()> {
    let act = Act { dry_run: options.dry_run };
    println!("{}", build(&act, &options.choice, options.profile)?.display());
    Ok(())
}

/// Prints all boards.
pub fn list() {
    for board in &BOARDS {
        println!("{:12} {}; {}", board.name, board.what, board.core);
        for variant in board.variants {
            println!("{:12}   {}", "", described(variant));
        }
        println!("{:12}   {}\n", "", board.why);
    }
}

fn described(variant: &Variant) -> String {
    let libc = match variant.libc {
        Libc::Glibc((major, minor)) => format!("glibc {major}.{minor} or later"),
        Libc::Musl => "static".to_owned(),
    };
    let tested = match variant.emulator {
        Some(Emulator { program, cpu }) => format!("tested under {program} -cpu {cpu}"),
        None => "tested on this machine".to_owned(),
    };
    format!("{}-bit: {}, {libc}; {tested}", variant.bits, variant.triple)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_is_refused_where_there_is_no_gpu_for_it() {
        let choice = |board: &str| Choice { board: board.to_owned(), cuda: true, ..Choice::default() };
        let error = choice("pi5").found().err().unwrap().to_string();
        assert_eq!(error, "pi5 has no GPU with CUDA 12.6; leave out --cuda, or choose jetson-orin or x86-64");
        assert!(choice("jetson-orin").found().is_ok());
    }
}
