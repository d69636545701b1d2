//! Tables of words: one record a line, its words divided by spaces.

use std::path::PathBuf;
use std::str::FromStr;

use super::DatasetError;

/// A table's lines, split at spaces.
pub struct Table {
    path: PathBuf,
    text: String,
}

/// One line of a table.
pub struct Row<'a> {
    table: &'a Table,
    line: usize,
    /// Without spaces at its ends.
    pub text: &'a str,
}

impl Table {
    /// The whole file.
    ///
    /// # Errors
    /// The system's.
    pub fn read(path: PathBuf) -> Result<Table, DatasetError> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Table { path, text }),
            Err(source) => Err(DatasetError::Read { path, source }),
        }
    }

    /// A table that may be absent, and is then empty.
    ///
    /// # Errors
    /// The system's.
    pub fn read_if_there(path: PathBuf) -> Result<Table, DatasetError> {
        if path.exists() { Table::read(path) } else { Ok(Table { path, text: String::new() }) }
    }

    /// The lines that are not blank.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let lines = self.text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
        lines.map(|(index, text)| Row { table: self, line: index + 1, text: text.trim() })
    }
}

impl<'a> Row<'a> {
    /// What to say of this line.
    pub fn error(&self, expected: &'static str) -> DatasetError {
        let (path, line) = (self.table.path.clone(), self.line);
        DatasetError::Table { path, line, expected, actual: self.text.to_owned() }
    }

    /// A number, then the rest of the line: names may have spaces.
    ///
    /// # Errors
    /// Another line, as not the one that is `expected`.
    pub fn id_and_text(&self, expected: &'static str) -> Result<(usize, &'a str), DatasetError> {
        let parsed = self.text.split_once(' ').and_then(|(id, text)| Some((id.parse().ok()?, text.trim())));
        parsed.ok_or_else(|| self.error(expected))
    }

    /// All words of the line as numbers.
    ///
    /// # Errors
    /// Other words, or not `N` of them.
    pub fn numbers<T: FromStr, const N: usize>(
        &self,
        expected: &'static str,
    ) -> Result<[T; N], DatasetError> {
        let numbers: Result<Vec<T>, _> = self.text.split_whitespace().map(str::parse).collect();
        numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| self.error(expected))
    }
}
