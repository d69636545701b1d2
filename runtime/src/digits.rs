//! Bytes as hexadecimal digits.

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes as lower case digits, two each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// The bytes of digits, of either case; `None` where the text is not pairs of digits.
pub fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some(16 * digit(high)? + digit(low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&hexadecimal(&all)), Some(all));
        assert_eq!((hexadecimal(&[0, 175]).as_str(), bytes("AFaf")), ("00af", Some([175, 175].to_vec())));
        for wrong in ["a", "0g", "+1", "é", "aé"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
