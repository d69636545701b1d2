//! Random streams named by numbers: who draws when, and on which thread, changes nothing.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The stream that belongs to `name`; streams of different names are unrelated.
///
/// A seed alone, or seeds that are sums of counters, would give neighbours overlapping streams; the hash does not.
pub fn stream(name: &[u64]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    for word in name {
        hash.update(word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn a_stream_is_decided_by_its_whole_name() {
        let first = |name: &[u64]| stream(name).random::<u64>();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[1, 2]), first(&[1, 2, 0]));
    }
}
