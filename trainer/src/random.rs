//! All random streams by name: who draws when, and on which thread, changes nothing.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// A stream's name: what it decides, and the numbers that tell it from others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream<'a> {
    /// The first values of a network's parameter.
    Parameter {
        /// The run's.
        seed: u64,
        /// Of the parameter, in ASCII.
        name: &'a str,
    },
    /// The order in which an epoch takes the pictures.
    Order {
        /// The run's.
        seed: u64,
        /// 0-based.
        epoch: u64,
    },
    /// How a training picture is changed.
    Augmentation {
        /// The run's.
        seed: u64,
        /// 0-based.
        epoch: u64,
        /// The picture's place in the epoch's order.
        place: u64,
    },
    /// Dropout and CWA masks of a training step.
    Step {
        /// The run's.
        seed: u64,
        /// Steps done before it.
        step: u64,
    },
    /// Which pictures are held out of training.
    HeldOut {
        /// The split rule's.
        seed: u64,
        /// 0 for the test split, 1 for the validation split.
        split: u64,
    },
    /// Which classes a training does without.
    LeftOut {
        /// The run's.
        seed: u64,
        /// Times that all classes have had their turn.
        turn: u64,
    },
    /// A drawn bird.
    Bird {
        /// The data set's.
        seed: u64,
        /// 0-based.
        species: u64,
        /// Of the picture, 1-based.
        number: u64,
    },
    /// A mark planted on a photo.
    Planted {
        /// The data set's.
        seed: u64,
        /// 0-based.
        class: u64,
        /// Of the picture, 1-based.
        number: u64,
    },
    /// The order of the photos that marks are planted on.
    Photos {
        /// The data set's.
        seed: u64,
    },
    /// Random squares and orders of covering on a picture. No run's seed has a say: all are measured with the same.
    Regions {
        /// The picture's place in the split.
        place: u64,
    },
    /// One draw of answers that are right as often as they are sure.
    Calibration {
        /// 0-based.
        draw: u64,
    },
    /// Tests and benches.
    Trial {
        /// Which.
        number: u64,
    },
}

impl Stream<'_> {
    /// The name as bytes. Lengths and, at equal lengths, the second number keep kinds apart; no name in ASCII has the zeros of
    /// a small number.
    fn bytes(self) -> Vec<u8> {
        let words = match self {
            Stream::Parameter { seed, name } => return [&seed.to_le_bytes(), name.as_bytes()].concat(),
            Stream::Calibration { draw } => vec![draw],
            Stream::HeldOut { seed, split } => vec![seed, split],
            Stream::Order { seed, epoch } => vec![seed, 0, epoch],
            Stream::Step { seed, step } => vec![seed, 2, step],
            Stream::Regions { place } => vec![0, 3, place],
            Stream::Trial { number } => vec![0, 5, number],
            Stream::LeftOut { seed, turn } => vec![seed, 16, turn],
            Stream::Augmentation { seed, epoch, place } => vec![seed, 1, epoch, place],
            Stream::Bird { seed, species, number } => vec![seed, 4, species, number],
            Stream::Planted { seed, class, number } => vec![seed, 6, class, number],
            Stream::Photos { seed } => vec![seed, 7, 0],
        };
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }
}

/// The stream of that name; streams of different names are unrelated.
///
/// A seed alone, or seeds that are sums of counters, would give neighbours overlapping streams; the hash does not.
pub fn stream(name: Stream) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(Sha256::digest(name.bytes()).into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::RngExt;

    use super::*;

    #[test]
    fn a_stream_is_decided_by_its_whole_name() {
        let first = |name| stream(name).random::<u64>();
        let step = |seed, step| Stream::Step { seed, step };
        assert_eq!(first(step(1, 2)), first(step(1, 2)));
        assert_ne!(first(step(1, 2)), first(step(2, 1)));
        assert_ne!(first(step(1, 2)), first(Stream::Order { seed: 1, epoch: 2 }));
    }

    #[test]
    fn no_two_names_are_the_same_stream() {
        let names: Vec<String> = (0..20).map(|number| format!("block{number}.weight")).collect();
        let mut all = Vec::new();
        for seed in 0..20 {
            for second in 0..20 {
                all.extend([
                    Stream::Order { seed, epoch: second },
                    Stream::Step { seed, step: second },
                    Stream::HeldOut { seed, split: second },
                    Stream::LeftOut { seed, turn: second },
                ]);
                all.push(Stream::Parameter { seed, name: &names[second as usize] });
                for third in 0..20 {
                    all.push(Stream::Augmentation { seed, epoch: second, place: third });
                    all.push(Stream::Bird { seed, species: second, number: third });
                    all.push(Stream::Planted { seed, class: second, number: third });
                }
            }
            all.extend([
                Stream::Regions { place: seed },
                Stream::Photos { seed },
                Stream::Calibration { draw: seed },
                Stream::Trial { number: seed },
            ]);
        }
        let kinds: BTreeSet<usize> = all.iter().map(|name| kind(*name)).collect();
        assert!(kinds.into_iter().eq(0..12));
        let bytes: BTreeSet<Vec<u8>> = all.iter().map(|name| name.bytes()).collect();
        assert_eq!(bytes.len(), all.len());
    }

    /// So that a new kind is compared, too: 0 to one less than the number of kinds.
    fn kind(name: Stream) -> usize {
        match name {
            Stream::Parameter { .. } => 0,
            Stream::Order { .. } => 1,
            Stream::Augmentation { .. } => 2,
            Stream::Step { .. } => 3,
            Stream::HeldOut { .. } => 4,
            Stream::LeftOut { .. } => 5,
            Stream::Bird { .. } => 6,
            Stream::Regions { .. } => 7,
            Stream::Calibration { .. } => 8,
            Stream::Trial { .. } => 9,
            Stream::Planted { .. } => 10,
            Stream::Photos { .. } => 11,
        }
    }
}
