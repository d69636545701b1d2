//! The boards: what each is, what is built for it, and the core that it is emulated as.
//!
//! [`mod@build`] makes the program: [`library`] finds the standard library for the board, [`linker`] what links it,
//! [`elf`] reads whether the result will start there. [`parity`]
//! tests it under emulation.

mod answers;
mod build;
mod debian;
mod elf;
mod emulator;
mod library;
mod linker;
mod parity;

use anyhow::{Context, Result, bail};
use clap::Args;

pub use build::{Profile, build};
pub use elf::{glibc, starts};
pub use emulator::processor;
use linker::LinkerName;
pub use parity::{Options as TestOptions, test_boards};

use crate::process::Act;

/// A version of glibc.
pub type Version = (u32, u32);

/// What programs need of a system's C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// Any glibc from this one on.
    Glibc(Version),
    /// Nothing: musl is in the program.
    Musl,
}

/// What qemu runs a board's programs as.
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    /// `qemu-aarch64` or `qemu-arm`.
    pub program: &'static str,
    /// For `-cpu`.
    pub cpu: &'static str,
}

/// One of the programs that run on a board.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Of an address.
    pub bits: u8,
    /// Rust's name of the target.
    pub triple: &'static str,
    /// What it needs.
    pub libc: Libc,
    /// Debian's cross compiler whose start files are right for the core.
    pub gcc: Option<&'static str>,
    /// What it is tested on; none where this machine runs it itself.
    pub emulator: Option<Emulator>,
    /// The program of the profile `board` may have so many bytes. It only shrinks.
    pub budget: u64,
}

/// A board.
pub struct Board {
    /// What is typed.
    pub name: &'static str,
    /// What is sold.
    pub what: &'static str,
    /// The processor.
    pub core: &'static str,
    /// The system that most of them run, and its glibc.
    pub system: (&'static str, Version),
    /// The usual one first.
    pub variants: &'static [Variant],
    /// It can have an NVIDIA GPU with the CUDA that the feature `cuda` is bound to.
    pub cuda: bool,
    /// Why so.
    pub why: &'static str,
}

/// JetPack 4 has it, and everything newer.
const OLDEST_GLIBC: Libc = Libc::Glibc((2, 27));
const RASPBERRY_PI_OS: (&str, Version) = ("Raspberry Pi OS 12", (2, 36));

const fn aarch64(cpu: &'static str) -> Variant {
    Variant {
        bits: 64,
        triple: "aarch64-unknown-linux-gnu",
        libc: OLDEST_GLIBC,
        gcc: Some("aarch64-linux-gnu-gcc"),
        emulator: Some(Emulator { program: "qemu-aarch64", cpu }),
        budget: 7_650_000,
    }
}

/// For 32-bit Raspberry Pi OS: Thumb instructions, a quarter smaller, and NEON, which all cores of boards have. qemu's
/// 32-bit emulator has none of the boards' own cores; the A7 is the least that has what they have: ARMv7, NEON, VFPv4.
const ARMV7: Variant = Variant {
    bits: 32,
    triple: "thumbv7neon-unknown-linux-gnueabihf",
    libc: OLDEST_GLIBC,
    gcc: Some("arm-linux-gnueabihf-gcc"),
    emulator: Some(Emulator { program: "qemu-arm", cpu: "cortex-a7" }),
    budget: 6_150_000,
};

const ARMV6: Variant = Variant {
    bits: 32,
    triple: "arm-unknown-linux-musleabihf",
    libc: Libc::Musl,
    gcc: None,
    emulator: Some(Emulator { program: "qemu-arm", cpu: "arm1176" }),
    budget: 8_150_000,
};

const AARCH64_STATIC: Variant = Variant {
    triple: "aarch64-unknown-linux-musl",
    libc: Libc::Musl,
    gcc: None,
    budget: 7_100_000,
    ..aarch64("max")
};

const X86_64: Variant = Variant {
    bits: 64,
    triple: "x86_64-unknown-linux-gnu",
    libc: OLDEST_GLIBC,
    gcc: Some("x86_64-linux-gnu-gcc"),
    emulator: None,
    budget: 10_300_000,
};

/// All boards.
pub const BOARDS: [Board; 9] = [
    Board {
        name: "pi-zero",
        what: "Raspberry Pi Zero, Zero W, 1",
        core: "ARM1176 (ARMv6, VFPv2)",
        system: ("Raspberry Pi OS 12, 32-bit", (2, 36)),
        variants: &[ARMV6],
        cuda: false,
        why: "static musl: Debian's C libraries for armhf and their start files are ARMv7, which this core does not know",
    },
    Board {
        name: "pi-zero2",
        what: "Raspberry Pi Zero 2 W",
        core: "4 x Cortex-A53 (ARMv8.0)",
        system: RASPBERRY_PI_OS,
        variants: &[aarch64("cortex-a53"), ARMV7],
        cuda: false,
        why: "64-bit has the NEON kernels; 32-bit for Raspberry Pi OS as it came with 512 MB",
    },
    Board {
        name: "pi3",
        what: "Raspberry Pi 3, 3+, CM3",
        core: "4 x Cortex-A53 (ARMv8.0)",
        system: RASPBERRY_PI_OS,
        variants: &[aarch64("cortex-a53"), ARMV7],
        cuda: false,
        why: "as pi-zero2; f16 is stored only, this core does not compute with it",
    },
    Board {
        name: "pi4",
        what: "Raspberry Pi 4, 400, CM4",
        core: "4 x Cortex-A72 (ARMv8.0)",
        system: RASPBERRY_PI_OS,
        variants: &[aarch64("cortex-a72"), ARMV7],
        cuda: false,
        why: "f16 is stored only, this core does not compute with it",
    },
    Board {
        name: "pi5",
        what: "Raspberry Pi 5, 500, CM5",
        core: "4 x Cortex-A76 (ARMv8.2, FP16)",
        system: RASPBERRY_PI_OS,
        variants: &[aarch64("cortex-a76"), ARMV7],
        cuda: false,
        why: "the same program as pi4's; what the core has above ARMv8.0 is found when it runs",
    },
    Board {
        name: "jetson-nano",
        what: "NVIDIA Jetson Nano, TX1",
        core: "4 x Cortex-A57 (ARMv8.0)",
        system: ("JetPack 4, Ubuntu 18.04", (2, 27)),
        variants: &[aarch64("cortex-a57")],
        cuda: false,
        why: "its glibc is the oldest of all; on the processor: the GPU has CUDA 10.2, tract takes 12",
    },
    Board {
        name: "jetson-orin",
        what: "NVIDIA Jetson Orin Nano, Orin NX, AGX Orin",
        core: "6 to 12 x Cortex-A78AE (ARMv8.2, FP16)",
        system: ("JetPack 6, Ubuntu 22.04", (2, 35)),
        variants: &[aarch64("neoverse-n1")],
        cuda: true,
        why: "qemu has no A78AE; the N1 is as near: ARMv8.2 with FP16 and dot products",
    },
    Board {
        name: "aarch64",
        what: "any 64-bit ARM with Linux",
        core: "ARMv8.0 or later",
        system: ("any, also without glibc", (2, 17)),
        variants: &[AARCH64_STATIC],
        cuda: false,
        why: "static musl starts on every distribution; emulated with all that qemu knows (SVE2)",
    },
    Board {
        name: "x86-64",
        what: "any 64-bit PC with Linux",
        core: "x86-64; AVX2 and AVX-512 are found when it runs",
        system: ("Ubuntu 18.04, Debian 10", (2, 27)),
        variants: &[X86_64],
        cuda: true,
        why: "what the others' answers are compared with; runs here without emulation",
    },
];

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
        let name = &self.board;
        let names = || BOARDS.map(|board| board.name).join(", ");
        let board = BOARDS.iter().find(|board| board.name == name);
        let board = board.with_context(|| format!("no board called {name:?}; there are {}", names()))?;
        let bits = self.bits.unwrap_or(board.variants[0].bits);
        let variant = board.variants.iter().find(|variant| variant.bits == bits);
        let variant = variant.with_context(|| {
            let all: Vec<_> = board.variants.iter().map(|variant| variant.bits.to_string()).collect();
            format!("{name} has no program of {bits} bits; choose --bits {}", all.join(" or "))
        })?;
        if self.cuda && !board.cuda {
            let all: Vec<_> = BOARDS.iter().filter(|board| board.cuda).map(|board| board.name).collect();
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

    fn choice(board: &str, bits: Option<u8>) -> Choice {
        Choice { board: board.to_owned(), bits, ..Choice::default() }
    }

    #[test]
    fn programs_are_64_bit_by_default_where_the_core_is() {
        for (board, bits, triple) in [
            ("pi4", None, "aarch64-unknown-linux-gnu"),
            ("pi4", Some(32), "thumbv7neon-unknown-linux-gnueabihf"),
            ("pi-zero", None, "arm-unknown-linux-musleabihf"),
        ] {
            assert_eq!(choice(board, bits).found().unwrap().1.triple, triple);
        }
    }

    #[test]
    fn a_board_that_is_none_is_answered_with_those_there_are() {
        let error = choice("pi6", None).found().err().unwrap().to_string();
        assert!(error.starts_with("no board called \"pi6\"; there are pi-zero, pi-zero2, "), "{error}");
        let error = choice("jetson-nano", Some(32)).found().err().unwrap().to_string();
        assert_eq!(error, "jetson-nano has no program of 32 bits; choose --bits 64");
        let error = Choice { cuda: true, ..choice("pi5", None) }.found().err().unwrap().to_string();
        assert_eq!(error, "pi5 has no GPU with CUDA 12.6; leave out --cuda, or choose jetson-orin or x86-64");
    }

    #[test]
    fn what_needs_no_glibc_is_linked_by_no_gcc_of_debian_s() {
        let variants = BOARDS.iter().flat_map(|board| board.variants);
        for variant in variants.filter(|variant| variant.libc == Libc::Musl) {
            assert!(variant.gcc.is_none() && variant.triple.contains("musl"), "{}", variant.triple);
        }
    }
}
