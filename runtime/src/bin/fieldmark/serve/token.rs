//! The secret that requests show.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

use crate::args::UsageError;

/// The fewest characters of a secret: those of a random one are more than can be tried.
const SHORTEST: usize = 16;

/// The most, in bytes of the file: what fits into a request's head beside other things.
const LONGEST: u64 = 1024;

/// A secret, as its hash.
pub struct Token([u8; 32]);

impl Token {
    /// The one line of a file.
    ///
    /// # Errors
    /// A file that cannot be read, and a secret that is too short or too long, or does not fit into a header.
    pub fn read(path: &Path) -> Result<Token, UsageError> {
        let refused = |reason: &str| UsageError(format!("--token-file {}: {reason}", path.display()));
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
        read.map_err(|error| {
            refused(&format!("cannot be read ({error}); check the path and who may read it"))
        })?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if text.len() as u64 > LONGEST
            || secret.len() < SHORTEST
            || !secret.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(refused(
                "expected 16 to 1000 letters, digits and signs on one line; make one: head -c 24 /dev/urandom | base64",
            ));
        }
        Ok(Token(hash(secret.as_bytes())))
    }

    /// Whether an `Authorization` header shows it. Hashes are compared, so that how long it takes says nothing.
    pub fn is_in(&self, header: Option<&HeaderValue>) -> bool {
        let Some((scheme, secret)) =
            header.map(HeaderValue::as_bytes).and_then(|bytes| bytes.split_at_checked(7))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && hash(secret.trim_ascii()) == self.0
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0IHNlY3JldA==";

    #[test]
    fn a_header_shows_the_secret_or_it_does_not() {
        let token = Token(hash(SECRET.as_bytes()));
        for (header, shown) in [
            (format!("Bearer {SECRET}"), true),
            (format!("bearer  {SECRET} "), true),
            (format!("Bearer {}", &SECRET[1..]), false),
            (format!("Basic {SECRET}"), false),
            (SECRET.to_string(), false),
            ("Bearer ".to_string(), false),
            (String::new(), false),
        ] {
            let value = HeaderValue::from_str(&header).unwrap();
            assert_eq!(token.is_in(Some(&value)), shown, "{header:?}");
        }
        assert!(!token.is_in(None));
    }

    #[test]
    fn weak_secrets_are_refused_with_how_to_make_one() {
        let path = std::env::temp_dir().join(format!("fieldmark-token-{}", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Token::read(&path)
        };
        assert!(read(&format!("{SECRET}\n")).unwrap().0 == hash(SECRET.as_bytes()));
        let long = "x".repeat(2000);
        for weak in ["", "hunter2\n", "two words are no good here\n", "sixteen letters\n\u{e9}\n", &long] {
            let error = read(weak).err().expect(weak).0;
            assert!(error.contains("/dev/urandom"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_error(&path).contains("cannot be read"));
    }

    fn read_error(path: &Path) -> String {
        Token::read(path).err().expect("no file").0
    }
}
