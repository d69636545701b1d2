//! A run's metrics as a `TensorBoard` event file.
//!
//! An event file is a sequence of records: length, its checksum, data, its checksum (`TensorFlow`'s
//! `core/lib/io/record_writer.h`). The data is an `Event` of `core/util/event.proto`, of which the few fields that we
//! write are declared here.

use prost::Message;

use crate::run::records::EpochMetrics;

/// `Event`.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    /// Of the first event alone.
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `Summary.Value` with a `simple_value`.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The event file of a run that began at `start`, seconds since 1970, and trains on `pictures` an epoch: an event an epoch,
/// at the step and (validation not counted) the time at which it ended.
pub fn events(epochs: &[EpochMetrics], start: f64, pictures: usize) -> Vec<u8> {
    let version =
        Event { wall_time: start, step: 0, file_version: Some("brain.Event:2".to_owned()), summary: None };
    let mut file = record(&version.encode_to_vec());
    let mut wall_time = start;
    for epoch in epochs {
        if let Some(speed) = epoch.images_per_second.filter(|&speed| speed > 0.0) {
            wall_time += pictures as f64 / speed;
        }
        let summary = Some(Summary { value: scalars(epoch) });
        let event = Event { wall_time, step: epoch.step as i64, file_version: None, summary };
        file.extend(record(&event.encode_to_vec()));
    }
    file
}

fn scalars(epoch: &EpochMetrics) -> Vec<Scalar> {
    let mut values = vec![
        ("accuracy/training", epoch.train_accuracy),
        ("accuracy/validation", epoch.validation_accuracy),
        ("loss/cross_entropy", epoch.cross_entropy),
        ("loss/discriminality", epoch.discriminality),
        ("loss/diversity", epoch.diversity),
        ("loss/validation_cross_entropy", epoch.validation_cross_entropy),
        ("maps/coverage", epoch.coverage),
        ("pace/epoch", (epoch.epoch + 1) as f64),
        ("pace/mu", epoch.mu),
        ("pace/rate", epoch.rate),
    ];
    values.extend(epoch.images_per_second.map(|speed| ("pace/images_per_second", speed)));
    if let Some(places) = &epoch.places {
        values.extend([
            ("maps/blank", places.blank),
            ("maps/corner", places.corner),
            ("maps/dead", places.dead),
        ]);
        values.extend(places.parked.map(|parked| ("maps/parked", parked)));
    }
    let scalar = |(tag, value): (&str, f64)| Scalar { tag: tag.to_owned(), simple_value: Some(value as f32) };
    values.into_iter().map(scalar).collect()
}

/// Length and data, each with its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(data);
    record.extend(masked(crc32c(data)).to_le_bytes());
    record
}

/// As records store a checksum, which would be a bad checksum of data that holds checksums (`lib/hash/crc32c.h`).
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The cyclic redundancy check of Castagnoli's polynomial (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    /// Its bits in reverse order.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let add = |crc: u32, byte: &u8| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 }
            },
        )
    };
    !bytes.iter().fold(!0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize) -> EpochMetrics {
        EpochMetrics {
            schema: 1,
            epoch,
            step: 25 * (epoch + 1),
            rate: 0.05,
            mu: 0.0,
            cross_entropy: 2.5,
            discriminality: 2.75,
            diversity: 1.5,
            coverage: 0.5,
            places: None,
            train_accuracy: 0.25,
            validation_accuracy: 0.125,
            validation_cross_entropy: 2.625,
            images_per_second: Some(50.0),
            peak_memory_mib: None,
        }
    }

    /// The data of each record, its checksums checked.
    fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !file.is_empty() {
            let (head, rest) = file.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            let (data, rest) = rest.split_at(length);
            let sum = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
            assert_eq!(sum(&head[8..]), masked(crc32c(&head[..8])));
            assert_eq!(sum(&rest[..4]), masked(crc32c(data)));
            found.push(data.to_vec());
            file = &rest[4..];
        }
        found
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        let ascending: Vec<u8> = (0..32).collect();
        // RFC 3720, appendix B.4, and the check value of the catalogue of parametrised CRC algorithms.
        let cases: [(&[u8], u32); 4] = [
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
        ];
        for (bytes, crc) in cases {
            assert_eq!(crc32c(bytes), crc, "{bytes:?}");
        }
    }

    #[test]
    fn the_first_record_is_the_one_that_tensorflow_writes() {
        assert_eq!(events(&[], 1.5, 10), FIRST);
    }

    #[test]
    fn every_epoch_is_an_event_at_its_step_and_time() {
        let file = events(&[epoch(0), epoch(1)], 1000.0, 100);
        let events: Vec<Event> =
            records(&file).iter().map(|data| Event::decode(data.as_slice()).unwrap()).collect();
        let facts: Vec<_> = events.iter().map(|event| (event.wall_time, event.step)).collect();
        assert_eq!(facts, [(1000.0, 0), (1002.0, 25), (1004.0, 50)]);
        let values = &events[2].summary.as_ref().unwrap().value;
        let value =
            |tag: &str| values.iter().find(|value| value.tag == tag).and_then(|value| value.simple_value);
        assert_eq!(value("loss/cross_entropy"), Some(2.5));
        assert_eq!(value("pace/mu"), Some(0.0), "zero is written, not left out");
        assert_eq!(value("pace/epoch"), Some(2.0));
    }

    /// `Event(wall_time=1.5, file_version="brain.Event:2")` as the `RecordWriter` of `TensorBoard` 2 frames it.
    const FIRST: &[u8] = b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\
        \x09\0\0\0\0\0\0\xf8\x3f\x1a\x0dbrain.Event:2\x2a\x28\x64\x6c";
}
