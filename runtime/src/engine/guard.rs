//! Panics in foreign code, turned into errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

static QUIET: Once = Once::new();

/// What `run` returns, or the panic it raised, in words.
///
/// tract panics on some graphs it does not like. Its message would reach the terminal beside our own
/// error, so the panic hook is wrapped once to stay silent for threads inside this function, and only
/// for them. In a program that is compiled to abort no panic returns from here: its own hook has the last word.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Where nothing unwinds nobody else will say it.
            if !GUARDED.get() || cfg!(panic = "abort") {
                usual(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    GUARDED.set(outer);
    result.map_err(|payload| one_line(&words(payload.as_ref())))
}

fn words(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_string();
    }
    match payload.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "unexplained failure".to_string(),
    }
}

/// The start of a message, on one line: tract prints whole graph nodes.
pub(super) fn one_line(message: &str) -> String {
    const LONGEST: usize = 240;
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some((end, _)) => format!("{} ...", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let number = guarded(|| 7);
        assert_eq!(number, Ok(7));
        let failure = guarded(|| -> u8 { panic!("node {}\n is odd", 3) });
        assert_eq!(failure, Err("node 3 is odd".to_string()));
    }
}
