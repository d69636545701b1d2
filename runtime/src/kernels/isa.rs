//! Which instruction sets there are kernels for.

use core::fmt;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// x86-64 with AVX-512F: 16 floats at once.
    Avx512,
    /// x86-64 with AVX2, FMA and F16C: 8 floats.
    Avx2,
    /// aarch64, and 32-bit ARM with NEON: 4 floats.
    Neon,
    /// Any processor: 4 floats at once where its compiler finds them.
    Portable,
}

impl Isa {
    /// All, fastest first.
    pub const ALL: [Isa; 4] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];

    /// `"avx512"`, ...
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Portable => "portable",
        }
    }

    /// The one called `name`.
    pub fn named(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// This processor has it. Without `std` what the program was compiled for.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Isa::Avx512 => std::arch::is_x86_feature_detected!("avx512f") && Isa::Avx2.is_available(),
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Isa::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                    && std::arch::is_x86_feature_detected!("f16c")
            }
            Isa::Neon => cfg!(any(all(target_arch = "aarch64", target_feature = "neon"), neon32)),
            Isa::Portable => true,
            #[allow(unreachable_patterns, reason = "on x86-64 with std all are named above")]
            _ => false,
        }
    }

    /// The fastest that this processor has.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
