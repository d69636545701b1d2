//! What a board says of itself, and whether a program is right for it.

use std::fmt;

use anyhow::{Result, ensure};
use fieldmark_boards::{Variant, Version};

/// What `facts.sh` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the kernel calls the processor.
    machine: String,
    /// Of an address of the programs that are installed; a 64-bit kernel may run a 32-bit system.
    bits: Option<u8>,
    /// None where the system has no glibc, or does not say.
    pub glibc: Option<Version>,
    /// Debian's name of the architecture, where there is dpkg.
    debian: Option<String>,
    /// What is printed on the board.
    model: Option<String>,
    /// Bytes that the home folder's disk still takes.
    pub free: Option<u64>,
    missing: Vec<String>,
}

impl Facts {
    /// Reads what the script said. Lines that are not known are somebody's greeting.
    pub fn read(text: &str) -> Facts {
        let mut facts = Facts::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            let value = value.trim();
            let word = || (!value.is_empty()).then(|| value.to_owned());
            match key {
                "machine" => value.clone_into(&mut facts.machine),
                "bits" => facts.bits = value.parse().ok(),
                "libc" => facts.glibc = value.strip_prefix("glibc ").and_then(version),
                "debian" => facts.debian = word(),
                "model" => facts.model = word(),
                "free" => facts.free = value.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024),
                "missing" => facts.missing.extend(word()),
                _ => {}
            }
        }
        facts
    }

    /// Whether programs of a variant start there.
    ///
    /// # Errors
    /// What the board is, and what it would need.
    pub fn check(&self, board: &str, variant: &Variant) -> Result<()> {
        ensure!(!self.machine.is_empty(), "it did not say what it is; is a shell there, and uname?");
        ensure!(self.missing.is_empty(), "it has no {}; install coreutils there", self.missing.join(", no "));
        ensure!(
            variant.starts_on(&self.machine, self.bits()),
            "it is {self}, and {board}'s program is for {}; choose another --board or --bits",
            variant.triple
        );
        Ok(())
    }

    /// Debian's word counts before getconf's, which not every system has.
    fn bits(&self) -> u8 {
        let is_64 = |architecture: &str| architecture.ends_with("64");
        let debian = self.debian.as_deref().map(|debian| if is_64(debian) { 64 } else { 32 });
        debian.or(self.bits).unwrap_or(if self.machine.ends_with("64") { 64 } else { 32 })
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(model) = &self.model {
            write!(f, "a {model}, ")?;
        }
        write!(f, "{} with a {}-bit system", self.machine, self.bits())?;
        match self.glibc {
            Some((major, minor)) => write!(f, " and glibc {major}.{minor}"),
            None => Ok(()),
        }
    }
}

fn version(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use fieldmark_boards::find;

    use super::*;

    const PI: &str = "Welcome to the garden
machine aarch64
bits 64
libc glibc 2.36
debian arm64
model Raspberry Pi 4 Model B Rev 1.4
free 1024";

    fn check(text: &str, board: &str, bits: u8) -> String {
        let variant = find(board, Some(bits)).unwrap().1;
        Facts::read(text).check(board, variant).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn facts_are_read_between_greetings() {
        let facts = Facts::read(PI);
        assert_eq!((facts.glibc, facts.free), (Some((2, 36)), Some(1_048_576)));
        assert_eq!(
            facts.to_string(),
            "a Raspberry Pi 4 Model B Rev 1.4, aarch64 with a 64-bit system and glibc 2.36"
        );
        let bare = Facts::read("machine armv6l\nbits \nlibc \ndebian \nmodel \nfree \n");
        assert_eq!(bare.to_string(), "armv6l with a 32-bit system");
    }

    #[test]
    fn only_what_starts_there_is_deployed() {
        let old_system = PI.replace("arm64", "armhf").replace("bits 64", "bits 32");
        for (text, board, bits, fits) in [
            (PI, "pi4", 64, true),
            (PI, "pi4", 32, false),
            (PI, "x86-64", 64, false),
            (&old_system, "pi4", 64, false),
            (&old_system, "pi4", 32, true),
            (&old_system, "aarch64", 64, true),
            (&old_system, "pi-zero", 32, true),
            ("machine armv6l", "pi-zero", 32, true),
            ("machine armv6l", "pi4", 32, false),
            ("machine armv7l", "pi4", 32, true),
            ("machine x86_64\nbits 64", "x86-64", 64, true),
            ("", "pi4", 64, false),
            ("machine x86_64\nmissing sha256sum", "x86-64", 64, false),
        ] {
            assert_eq!(check(text, board, bits).is_empty(), fits, "{board} {bits}: {text}");
        }
        assert_eq!(
            check(&old_system, "pi4", 64),
            "it is a Raspberry Pi 4 Model B Rev 1.4, aarch64 with a 32-bit system and glibc 2.36, and pi4's program is \
             for aarch64-unknown-linux-gnu; choose another --board or --bits"
        );
    }
}
