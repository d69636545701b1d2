//! Messages on stderr, and how errors and panics read in them.

use std::io::{self, Write};
use std::panic::PanicHookInfo;

use fieldmark::engine::LoadError;

use crate::text::printable;

/// One line on stderr. That stderr may be closed is nobody's error.
pub fn tell(kind: &str, message: &str) {
    let _ = writeln!(io::stderr(), "{kind}: {message}");
}

/// An error with its causes and the remedy, on one line. A cause that the message already quotes is not repeated.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    if let Some(remedy) = error.downcast_ref().and_then(remedy) {
        words = format!("{words} ({remedy})");
    }
    printable(&words)
}

/// What of the command line makes a model load that the library refused so.
fn remedy(error: &LoadError) -> Option<&'static str> {
    match error {
        LoadError::NoHalfArithmetic { .. } => Some("leave out --precision, or FIELDMARK_ISA=tract"),
        LoadError::HalfRefused { .. } => Some("leave out --precision"),
        LoadError::NoGpu { .. } => Some("leave out --device, or see docs/src/guides/board-gpu.md"),
        LoadError::GpuRefused { .. } => Some("leave out --device"),
        _ => None,
    }
}

/// What a panic says, on one line: tract prints whole graph nodes, over many.
pub fn reason(panic: &PanicHookInfo) -> String {
    let reason = panic.payload_as_str().unwrap_or("no reason given");
    let reason: String = reason.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(240).collect();
    printable(&reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_error() -> LoadError {
        let source = io::Error::from(io::ErrorKind::NotFound);
        LoadError::Read { path: "m.onnx".into(), source }
    }

    #[test]
    fn causes_are_said_once() {
        let error = anyhow::Error::from(read_error());
        assert_eq!(sentence(&error), "m.onnx cannot be read (entity not found); check the path");
        let error = error.context("while\nloading");
        assert!(sentence(&error).starts_with("while?loading: m.onnx cannot be read"));
    }

    #[test]
    fn a_refusal_of_the_library_ends_with_what_to_type() {
        let reason = "it has no self-test".to_string();
        let error = anyhow::Error::from(LoadError::HalfRefused { reason }).context("m.onnx");
        let words = sentence(&error);
        assert!(words.ends_with("it has no self-test; compute in f32 (leave out --precision)"), "{words}");
    }
}
