//! The boards that Fieldmark's programs are built for: one table for all who ask. [`BOARDS`] says of each what it is, what is
//! built for it, the core that it is emulated as, and how long it takes by published measurements.
//!
//! [`find()`] looks a board up, [`Variant::starts_on`] recognises one by what its system says of itself.

use std::error::Error;
use std::fmt;

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

/// What instructions a program is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// `ARMv6` with `VFPv2`.
    Armv6,
    /// `ARMv7` with NEON.
    Armv7,
    /// 64-bit ARM, `ARMv8.0`.
    Aarch64,
    /// 64-bit PCs.
    X86_64,
}

/// One of the programs that run on a board.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Of an address: 32 or 64.
    pub bits: u8,
    /// What it is made of.
    pub instructions: Instructions,
    /// Rust's name of the target.
    pub triple: &'static str,
    /// What it needs.
    pub libc: Libc,
    /// Debian's cross compiler whose start files are right for the core.
    pub gcc: Option<&'static str>,
    /// What it is tested on; none where this machine runs it itself.
    pub emulator: Option<Emulator>,
    /// The program `fieldmark` of the profile `board` may have so many bytes. It only shrinks.
    pub budget: u64,
}

/// A published network that board times are known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Depthwise convolutions.
    MobilenetV2,
    /// Bottlenecks.
    Resnet50,
    /// 3x3 convolutions.
    Resnet18,
}

/// Milliseconds a picture of 224 x 224 pixels on a board, with one and with four threads. From ncnn's `benchmark/README.md`
/// (2026-07-22, a4d2ea1d4), the least of its runs; the Pi 5 in f16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// Which of those that are sold under the board's name was measured.
    pub on: &'static str,
    /// [`Reference::MobilenetV2`].
    pub mobilenet_v2: [f64; 2],
    /// [`Reference::Resnet50`].
    pub resnet50: [f64; 2],
    /// [`Reference::Resnet18`].
    pub resnet18: [f64; 2],
}

/// A board.
#[derive(Debug)]
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
    /// What others have measured on it.
    pub published: Option<Published>,
    /// Why so.
    pub why: &'static str,
}

/// JetPack 4 has it, and everything newer.
const OLDEST_GLIBC: Libc = Libc::Glibc((2, 27));
const RASPBERRY_PI_OS: (&str, Version) = ("Raspberry Pi OS 12", (2, 36));

const fn aarch64(cpu: &'static str) -> Variant {
    Variant {
        bits: 64,
        instructions: Instructions::Aarch64,
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
    instructions: Instructions::Armv7,
    triple: "thumbv7neon-unknown-linux-gnueabihf",
    libc: OLDEST_GLIBC,
    gcc: Some("arm-linux-gnueabihf-gcc"),
    emulator: Some(Emulator { program: "qemu-arm", cpu: "cortex-a7" }),
    budget: 6_150_000,
};

const ARMV6: Variant = Variant {
    bits: 32,
    instructions: Instructions::Armv6,
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
    instructions: Instructions::X86_64,
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
        published: None,
        why: "static musl: Debian's C libraries for armhf and their start files are ARMv7, which this core does not know",
    },
    Board {
        name: "pi-zero2",
        what: "Raspberry Pi Zero 2 W",
        core: "4 x Cortex-A53 (ARMv8.0)",
        system: RASPBERRY_PI_OS,
        variants: &[aarch64("cortex-a53"), ARMV7],
        cuda: false,
        published: None,
        why: "64-bit has the NEON kernels; 32-bit for Raspberry Pi OS as it came with 512 MB",
    },
    Board {
        name: "pi3",
        what: "Raspberry Pi 3, 3+, CM3",
        core: "4 x Cortex-A53 (ARMv8.0)",
        system: RASPBERRY_PI_OS,
        variants: &[aarch64("cortex-a53"), ARMV7],
        cuda: false,
        published: Some(Published {
            on: "Raspberry Pi 3B+",
            mobilenet_v2: [158.7, 110.6],
            resnet50: [977.0, 584.0],
            resnet18: [379.0, 271.0],
        }),
        why: "as pi-zero2; f16 is stored only, this core does not compute with it",
    },
    Board {
        name: "pi4",
        what: "Raspberry Pi 4, 400, CM4",
        core: "4 x Cortex-A72 (ARMv8.0)",
        system: RASPBERRY_PI_OS,
        variants: &[aarch64("cortex-a72"), ARMV7],
        cuda: false,
        published: Some(Published {
            on: "Raspberry Pi 4B",
            mobilenet_v2: [93.0, 61.6],
            resnet50: [533.0, 262.0],
            resnet18: [191.0, 122.0],
        }),
        why: "f16 is stored only, this core does not compute with it",
    },
    Board {
        name: "pi5",
        what: "Raspberry Pi 5, 500, CM5",
        core: "4 x Cortex-A76 (ARMv8.2, FP16)",
        system: RASPBERRY_PI_OS,
        variants: &[aarch64("cortex-a76"), ARMV7],
        cuda: false,
        published: Some(Published {
            on: "Raspberry Pi 5",
            mobilenet_v2: [16.2, 10.5],
            resnet50: [89.0, 45.9],
            resnet18: [29.5, 19.8],
        }),
        why: "the same program as pi4's; what the core has above ARMv8.0 is found when it runs",
    },
    Board {
        name: "jetson-nano",
        what: "NVIDIA Jetson Nano, TX1",
        core: "4 x Cortex-A57 (ARMv8.0)",
        system: ("JetPack 4, Ubuntu 18.04", (2, 27)),
        variants: &[aarch64("cortex-a57")],
        cuda: false,
        published: None,
        why: "its glibc is the oldest of all; on the processor: the GPU has CUDA 10.2, tract takes 12",
    },
    Board {
        name: "jetson-orin",
        what: "NVIDIA Jetson Orin Nano, Orin NX, AGX Orin",
        core: "6 to 12 x Cortex-A78AE (ARMv8.2, FP16)",
        system: ("JetPack 6, Ubuntu 22.04", (2, 35)),
        variants: &[aarch64("neoverse-n1")],
        cuda: true,
        published: None,
        why: "qemu has no A78AE; the N1 is as near: ARMv8.2 with FP16 and dot products",
    },
    Board {
        name: "aarch64",
        what: "any 64-bit ARM with Linux",
        core: "ARMv8.0 or later",
        system: ("any, also without glibc", (2, 17)),
        variants: &[AARCH64_STATIC],
        cuda: false,
        published: None,
        why: "static musl starts on every distribution; emulated with all that qemu knows (SVE2)",
    },
    Board {
        name: "x86-64",
        what: "any 64-bit PC with Linux",
        core: "x86-64; AVX2 and AVX-512 are found when it runs",
        system: ("Ubuntu 18.04, Debian 10", (2, 27)),
        variants: &[X86_64],
        cuda: true,
        published: None,
        why: "what the others' answers are compared with; runs here without emulation",
    },
];

/// The board called `name`, and which of its programs: the one of `bits`, else its usual one.
///
/// # Errors
/// [`Unknown`].
pub fn find(name: &str, bits: Option<u8>) -> Result<(&'static Board, &'static Variant), Unknown> {
    let board = BOARDS.iter().find(|board| board.name == name);
    let board = board.ok_or_else(|| Unknown::Board { name: name.to_owned() })?;
    let bits = bits.unwrap_or(board.variants[0].bits);
    let variant = board.variants.iter().find(|variant| variant.bits == bits);
    Ok((board, variant.ok_or(Unknown::Bits { board, bits })?))
}

/// What the table does not have.
#[derive(Debug)]
pub enum Unknown {
    /// No such board.
    Board {
        /// What was asked for.
        name: String,
    },
    /// No such program.
    Bits {
        /// A board that there is.
        board: &'static Board,
        /// What was asked for.
        bits: u8,
    },
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unknown::Board { name } => {
                write!(f, "no board called {name:?}; there are {}", BOARDS.map(|board| board.name).join(", "))
            }
            Unknown::Bits { board, bits } => {
                let all: Vec<_> = board.variants.iter().map(|variant| variant.bits.to_string()).collect();
                write!(f, "{} has no program of {bits} bits; choose {}", board.name, all.join(" or "))
            }
        }
    }
}

impl Error for Unknown {}

impl Variant {
    /// Whether it starts where the kernel calls the processor `machine` (`uname -m`), in a system whose own programs have
    /// addresses of `bits`: a 64-bit kernel may run a 32-bit system.
    pub fn starts_on(&self, machine: &str, bits: u8) -> bool {
        let is_32_bit_arm = bits == 32 && (machine.starts_with("armv") || machine == "aarch64");
        match self.instructions {
            // A static program needs nothing of the system but its kernel.
            Instructions::Aarch64 => machine == "aarch64" && (self.libc == Libc::Musl || bits == 64),
            Instructions::X86_64 => machine == "x86_64" && bits == 64,
            Instructions::Armv7 => is_32_bit_arm && machine != "armv6l",
            Instructions::Armv6 => is_32_bit_arm,
        }
    }
}

impl Reference {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Reference::MobilenetV2 => "MobileNet V2",
            Reference::Resnet50 => "ResNet-50",
            Reference::Resnet18 => "ResNet-18",
        }
    }

    /// Multiply-adds of a picture of 224 x 224 pixels.
    pub fn multiply_adds(self) -> f64 {
        match self {
            Reference::MobilenetV2 => 301e6,
            Reference::Resnet50 => 4089e6,
            Reference::Resnet18 => 1814e6,
        }
    }
}

impl Published {
    /// Milliseconds a picture with one and with four threads.
    pub fn milliseconds(&self, reference: Reference) -> [f64; 2] {
        match reference {
            Reference::MobilenetV2 => self.mobilenet_v2,
            Reference::Resnet50 => self.resnet50,
            Reference::Resnet18 => self.resnet18,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_64_bit_by_default_where_the_core_is() {
        for (board, bits, triple) in [
            ("pi4", None, "aarch64-unknown-linux-gnu"),
            ("pi4", Some(32), "thumbv7neon-unknown-linux-gnueabihf"),
            ("pi-zero", None, "arm-unknown-linux-musleabihf"),
        ] {
            assert_eq!(find(board, bits).unwrap().1.triple, triple);
        }
    }

    #[test]
    fn a_board_that_is_none_is_answered_with_those_there_are() {
        let error = find("pi6", None).unwrap_err().to_string();
        assert!(error.starts_with("no board called \"pi6\"; there are pi-zero, pi-zero2, "), "{error}");
        let error = find("jetson-nano", Some(32)).unwrap_err().to_string();
        assert_eq!(error, "jetson-nano has no program of 32 bits; choose 64");
        let error = find("pi4", Some(16)).unwrap_err().to_string();
        assert_eq!(error, "pi4 has no program of 16 bits; choose 64 or 32");
    }

    #[test]
    fn names_are_unique_and_no_board_has_two_programs_of_one_size() {
        for (at, board) in BOARDS.iter().enumerate() {
            assert!(BOARDS[..at].iter().all(|other| other.name != board.name), "{}", board.name);
            let bits: Vec<_> = board.variants.iter().map(|variant| variant.bits).collect();
            assert!(matches!(bits[..], [32 | 64] | [64, 32]), "{}: {bits:?}", board.name);
        }
    }

    #[test]
    fn targets_name_their_instructions_c_library_and_size() {
        for Variant { bits, instructions, triple, libc, gcc, .. } in
            BOARDS.iter().flat_map(|board| board.variants)
        {
            let (first, size) = match instructions {
                Instructions::Armv6 => ("arm-", 32),
                Instructions::Armv7 => ("thumbv7neon-", 32),
                Instructions::Aarch64 => ("aarch64-", 64),
                Instructions::X86_64 => ("x86_64-", 64),
            };
            assert!(triple.starts_with(first) && *bits == size, "{triple}");
            // No gcc of Debian's links what needs no glibc.
            let is_static = *libc == Libc::Musl;
            assert_eq!((triple.contains("musl"), gcc.is_none()), (is_static, is_static), "{triple}");
        }
    }

    #[test]
    fn a_program_starts_only_where_processor_and_system_know_its_instructions() {
        for (board, bits, machine, system, starts) in [
            ("pi4", 64, "aarch64", 64, true),
            ("pi4", 64, "aarch64", 32, false),
            ("pi4", 32, "aarch64", 32, true),
            ("pi4", 32, "aarch64", 64, false),
            ("pi4", 32, "armv7l", 32, true),
            ("pi4", 32, "armv6l", 32, false),
            ("pi-zero", 32, "armv6l", 32, true),
            ("pi-zero", 32, "aarch64", 32, true),
            ("aarch64", 64, "aarch64", 32, true),
            ("x86-64", 64, "x86_64", 64, true),
            ("x86-64", 64, "aarch64", 64, false),
            ("pi4", 64, "x86_64", 64, false),
        ] {
            let variant = find(board, Some(bits)).unwrap().1;
            assert_eq!(variant.starts_on(machine, system), starts, "{board} {bits} on {machine} {system}");
        }
    }

    #[test]
    fn published_times_fall_with_threads_and_with_the_newer_board() {
        let all = [Reference::MobilenetV2, Reference::Resnet50, Reference::Resnet18];
        for reference in all {
            let times = BOARDS.iter().filter_map(|board| Some(board.published?.milliseconds(reference)));
            let times: Vec<_> = times.collect();
            assert_eq!(times.len(), 3);
            assert!(times.iter().all(|[one, four]| four < one), "{times:?}");
            assert!(times.is_sorted_by(|older, newer| newer[0] < older[0]), "{times:?}");
        }
    }
}
