//! Numbers and lists as a person reads them.

use std::path::Path;

use maud::{Markup, html};

/// A space that no line breaks at.
const SPACE: char = '\u{a0}';

/// A share of 0..=1 in per cent.
pub fn percent(share: f64) -> String {
    format!("{:.1}{SPACE}%", 100.0 * share)
}

/// Both ends of an interval of shares in per cent.
pub fn interval([low, high]: [f64; 2]) -> String {
    format!("{:.1}\u{2013}{:.1}{SPACE}%", 100.0 * low, 100.0 * high)
}

/// "1 picture", "1,200 pictures".
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{}{SPACE}{}", thousands(number as u64), if number == 1 { one } else { many })
}

/// "1,234,567".
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "a, b and c"; of more than `most` the first, and how many more.
pub fn listed<S: AsRef<str>>(names: &[S], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    if names.len() > most {
        return format!("{} and {} more", shown.join(", "), names.len() - shown.len());
    }
    match shown.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// A label that may be broken after an underscore, as text is after a hyphen.
pub fn breakable(label: &str) -> Markup {
    html! { @for piece in label.split_inclusive('_') { (piece) wbr; } }
}

/// A path as it is typed into a shell.
pub fn typed(path: &Path) -> String {
    let path = path.to_string_lossy();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+=@%:,".contains(letter);
    if !path.is_empty() && path.chars().all(plain) {
        return path.into_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// A value with as many digits as say something.
pub fn value(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_set_in_groups_of_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_long_list_says_how_many_more() {
        assert_eq!(listed(&["a"], 3), "a");
        assert_eq!(listed(&["a", "b", "c"], 3), "a, b and c");
        assert_eq!(listed(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }

    #[test]
    fn a_label_breaks_after_underscores_and_stays_escaped() {
        assert_eq!(breakable("a_<b>").into_string(), "a_<wbr>&lt;b&gt;<wbr>");
    }

    #[test]
    fn a_path_that_a_shell_would_split_is_quoted() {
        assert_eq!(typed(Path::new("runs/a-1")), "runs/a-1");
        assert_eq!(typed(Path::new("my run")), "'my run'");
        assert_eq!(typed(Path::new("it's")), r"'it'\''s'");
    }
}
