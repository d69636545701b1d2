//! A configuration from a file: TOML, or JSON as in a run's own `config.json`.
//!
//! A file names any of the settings of [`Config`], under the names that `config.json` has, and may name the
//! [`Recipe`] whose other settings it takes over (`recipe = "photos"`). It is laid over a configuration setting by
//! setting, so that an error names the setting and its line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::net::backbone::Backbone;
use crate::remedy::file_remedy;
use crate::run::config::Config;
use crate::run::recipe::Recipe;

/// The parts of a configuration whose settings a file may name one by one; every other value is replaced whole.
const SECTIONS: [&str; 7] = ["", "/split", "/network", "/augment", "/loss", "/loss/mc", "/optim"];

/// The name under which a file names its recipe.
const RECIPE: &str = "recipe";

/// A file that has been read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// What its settings are changes to, if it says so.
    pub recipe: Option<Recipe>,
    /// The backbone that it names.
    pub backbone: Option<Backbone>,
    path: PathBuf,
    text: String,
    /// The seed, where it names one for everything and none for the split: the split has the same then.
    seed: Option<u64>,
}

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// The operating system could not read it.
    #[error("cannot read the configuration {}: {source}; {}", path.display(), file_remedy("read", source))]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is no TOML or JSON, or names a setting that there is not, or a value that the setting cannot have.
    #[error("{}, line {line}: {reason}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// What a file says that other settings depend on.
#[derive(Default, Deserialize)]
#[serde(default)]
struct First {
    recipe: Option<Recipe>,
    seed: Option<u64>,
    split: FirstOfSplit,
    network: FirstOfNetwork,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FirstOfSplit {
    seed: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FirstOfNetwork {
    backbone: Option<Backbone>,
}

/// Reads the file in `path`: JSON if its name ends in `.json`, else TOML.
///
/// # Errors
/// [`ConfigFileError`].
pub fn read(path: &Path) -> Result<ConfigFile, ConfigFileError> {
    let file = |source| ConfigFileError::File { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(file)?;
    let mut config = ConfigFile { recipe: None, backbone: None, path: path.to_owned(), text, seed: None };
    let First { recipe, seed, split, network } = config.parse(std::marker::PhantomData)?;
    config.recipe = recipe;
    config.backbone = network.backbone;
    config.seed = if split.seed.is_none() { seed } else { None };
    Ok(config)
}

impl ConfigFile {
    /// `base` with the file's settings in place of its own.
    ///
    /// # Errors
    /// [`ConfigFileError::Setting`]: a name that no setting has, or a value of another kind than the setting's.
    pub fn over(&self, mut base: Config) -> Result<Config, ConfigFileError> {
        base.split.seed = self.seed.unwrap_or(base.split.seed);
        let mut settings = settings(&base);
        self.parse(Over { settings: &mut settings, path: String::new() })?;
        Config::deserialize(settings).map_err(|error| self.refused(0, error.to_string()))
    }

    fn parse<'de, S: DeserializeSeed<'de>>(&'de self, seed: S) -> Result<S::Value, ConfigFileError> {
        if self.path.extension().is_some_and(|ending| ending == "json") {
            let mut json = serde_json::Deserializer::from_str(&self.text);
            let read = seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
            return read.map_err(|error| {
                let place = format!(" at line {} column {}", error.line(), error.column());
                self.refused(error.line(), error.to_string().replace(&place, ""))
            });
        }
        let toml = toml::Deserializer::parse(&self.text);
        toml.and_then(|toml| seed.deserialize(toml)).map_err(|error| {
            let before = error.span().and_then(|span| self.text.get(..span.start)).unwrap_or_default();
            self.refused(before.matches('\n').count() + 1, error.message().to_owned())
        })
    }

    fn refused(&self, line: usize, reason: String) -> ConfigFileError {
        ConfigFileError::Setting { path: self.path.clone(), line, reason }
    }
}

/// The first setting in which two configurations differ, with its value in each: `side 96, now 160`; nothing if they are equal.
pub(super) fn difference(old: &Config, new: &Config) -> Option<String> {
    let [old, new] = [old, new].map(settings);
    let mut paths = Vec::new();
    below("", &new, &mut paths);
    let differs = |path: &&String| old.pointer(path) != new.pointer(path);
    let value =
        |settings: &Value, path: &str| settings.pointer(path).map_or_else(String::new, Value::to_string);
    paths
        .iter()
        .find(differs)
        .map(|path| format!("{} {}, now {}", dotted(path), value(&old, path), value(&new, path)))
}

/// All settings as JSON, those too that `config.json` leaves out where they are not set.
fn settings(config: &Config) -> Value {
    let mut settings = serde_json::to_value(config).expect("a configuration is plain data");
    for (section, name) in [("", "pretrained"), ("/network", "convention")] {
        let section = settings.pointer_mut(section).and_then(Value::as_object_mut).expect("a section");
        section.entry(name).or_insert(Value::Null);
    }
    settings
}

/// Lays what is read over `settings`, at `path` in it.
struct Over<'a> {
    settings: &'a mut Value,
    path: String,
}

impl<'de> DeserializeSeed<'de> for Over<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if is_section(&self.path) {
            return from.deserialize_map(self);
        }
        let place = self.settings.pointer_mut(&self.path).expect("the path of a setting");
        let written = Value::deserialize(from)?;
        *place = written.clone();
        let refused = |reason: String| D::Error::custom(format!("{}: {reason}", dotted(&self.path)));
        let config = Config::deserialize(&*self.settings).map_err(|error| refused(error.to_string()))?;
        match unread(&written, settings(&config).pointer(&self.path)) {
            Some(name) => Err(refused(format!("unknown field `{name}`"))),
            None => Ok(()),
        }
    }
}

impl<'de> Visitor<'de> for Over<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "settings")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let path = format!("{}/{name}", self.path);
            if path.trim_start_matches('/') == RECIPE {
                map.next_value::<Recipe>()?;
            } else if !name.contains(['/', '~']) && self.settings.pointer(&path).is_some() {
                map.next_value_seed(Over { settings: self.settings, path })?;
            } else {
                let nearest = nearest(&path, self.settings);
                let reason =
                    format!("there is no setting {}; the nearest is {}", dotted(&path), dotted(&nearest));
                map.next_value_seed(Refused(reason))?;
            }
        }
        Ok(())
    }
}

/// Refuses a value where it stands, so that the error has its line.
struct Refused(String);

impl<'de> DeserializeSeed<'de> for Refused {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(D::Error::custom(self.0))
    }
}

/// The first field of `written` that did not become one of `read`: serde passes over those beside a tag.
fn unread<'a>(written: &'a Value, read: Option<&Value>) -> Option<&'a str> {
    let has = |name: &str| read.is_some_and(|read| read.get(name).is_some());
    written.as_object()?.keys().map(String::as_str).find(|name| !has(name))
}

fn is_section(path: &str) -> bool {
    SECTIONS.contains(&path)
}

/// A setting's path as TOML writes it.
fn dotted(path: &str) -> String {
    path.trim_start_matches('/').replace('/', ".")
}

/// The paths of all settings, in the form of JSON pointers.
pub fn paths(config: &Config) -> Vec<String> {
    let mut paths = Vec::new();
    below("", &settings(config), &mut paths);
    paths
}

fn below(path: &str, value: &Value, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) if is_section(path) => {
            for (name, value) in fields {
                below(&format!("{path}/{name}"), value, paths);
            }
        }
        _ => paths.push(path.to_owned()),
    }
}

/// The setting whose name is most like the last one of `path`; of equals the one whose whole path is.
fn nearest(path: &str, settings: &Value) -> String {
    let mut paths = vec![format!("/{RECIPE}")];
    below("", settings, &mut paths);
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let key = |known: &String| (changes(&last(known), &last(path)), changes(known, path));
    paths.into_iter().min_by_key(key).expect("there are settings")
}

/// The fewest characters to put in, take out or replace to make `b` of `a` (Levenshtein).
fn changes(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = before + usize::from(from != *to);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::backbone::Convention;
    use crate::net::weights::Start;

    fn over(name: &str, text: &str, base: Config) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let read = read(&path).and_then(|file| file.over(base));
        read.map_err(|error| error.to_string().replace(&path.display().to_string(), name))
    }

    /// A configuration that no recipe has: pretrained, patient, split by source, with numbers that have no short form.
    fn odd() -> Config {
        let mut config = Recipe::Photos.config();
        config.seed = u64::from(u32::MAX);
        config.split.group = Some(crate::data::dataset::GroupBy::Prefix('_'));
        config.network.convention = Some(Convention::TimmTf);
        config.pretrained = Some(Start {
            sha256: "5".repeat(64),
            source: "timm".into(),
            allow: [crate::net::weights::Misfit::Missing].into(),
        });
        config.patience = Some(7);
        config.optim.rate = 0.1 + 0.2;
        config.network.dropout = 1.0 / 3.0;
        config
    }

    #[test]
    fn a_runs_own_configuration_gives_the_same_over_every_recipe() {
        for config in Recipe::ALL.map(Recipe::config).into_iter().chain([odd()]) {
            let json = serde_json::to_string_pretty(&config).unwrap();
            for base in Recipe::ALL {
                let read = over("config.json", &json, base.config()).unwrap();
                // What neither names is left as the base has it: no recipe has either.
                assert_eq!(serde_json::to_string(&read).unwrap(), serde_json::to_string(&config).unwrap());
                assert_eq!(read, config);
            }
        }
    }

    #[test]
    fn toml_changes_what_it_names_and_nothing_else() {
        let text = "recipe = \"photos\"\nepochs = 3\nseed = 5\n[network]\nxi = 4\nclass_layer = \"native\"\n\
                    [loss.mc]\nlambda = 2\n[augment]\ncrop = { kind = \"shifted\", by = 0.1 }\n";
        let mut expected = Recipe::Photos.config();
        expected.epochs = 3;
        (expected.seed, expected.split.seed) = (5, 5);
        expected.network.xi = 4;
        expected.network.class_layer = crate::net::network::ClassLayer::Native;
        expected.loss.mc.lambda = 2.0;
        expected.augment.crop = crate::data::batch::Crop::Shifted { by: 0.1 };
        assert_eq!(over("run.toml", text, Recipe::Photos.config()), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_the_nearest_name() {
        for (name, text, expected) in [
            (
                "a.toml",
                "epochs = 3\nepoch = 4\n",
                "a.toml, line 2: there is no setting epoch; the nearest is epochs",
            ),
            ("a.toml", "xi = 4\n", "a.toml, line 1: there is no setting xi; the nearest is network.xi"),
            (
                "a.json",
                "{\n  \"optim\": {\n    \"Rate\": 0.1\n  }\n}",
                "a.json, line 3: there is no setting optim.Rate; the nearest is optim.rate",
            ),
            ("a.toml", "\n[network]\nxi = 2.5\n", "a.toml, line 3: network.xi: invalid type: floating point"),
            (
                "a.json",
                "{\"side\":\n\"big\"}",
                "a.json, line 2: side: invalid type: string \"big\", expected u32",
            ),
            ("a.toml", "recipe = \"photo\"\n", "a.toml, line 1: unknown variant `photo`"),
            ("a.toml", "[network]\nbackbone = \"vgg\"\n", "a.toml, line 2: unknown variant `vgg`"),
            ("a.toml", "network = 3\n", "a.toml, line 1: invalid type"),
            ("a.toml", "epochs = \n", "a.toml, line 1: "),
            ("a.json", "{\"epochs\": 3,}", "a.json, line 1: trailing comma"),
            (
                "a.toml",
                "augment.crop = { kind = \"whole\", x = 1 }\n",
                "line 1: augment.crop: unknown field `x`",
            ),
        ] {
            let error = over(name, text, Recipe::Scratch.config()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    /// The paths of all objects, down to those that are values.
    fn objects(path: &str, value: &Value, found: &mut Vec<String>) {
        let Some(fields) = value.as_object() else { return };
        found.push(path.to_owned());
        if is_section(path) {
            fields.iter().for_each(|(name, value)| objects(&format!("{path}/{name}"), value, found));
        }
    }

    #[test]
    fn the_first_setting_that_differs_is_named_with_both_values() {
        let old = Recipe::Scratch.config();
        assert_eq!(difference(&old, &old), None);
        let new = Config { side: 96, ..old.clone() };
        assert_eq!(difference(&old, &new).unwrap(), "side 160, now 96");
    }

    #[test]
    fn every_object_of_a_configuration_is_a_section_or_a_value_that_is_replaced_whole() {
        // One of several kinds, with what belongs to it; and what says which weights a run began with.
        let values = [
            "/augment/crop",
            "/network/class_layer",
            "/optim/schedule",
            "/pretrained",
            "/split/group",
            "/loss/keep",
        ];
        for config in Recipe::ALL.map(Recipe::config).into_iter().chain([odd()]) {
            let mut found = Vec::new();
            objects("", &settings(&config), &mut found);
            for path in found {
                assert!(is_section(&path) || values.contains(&path.as_str()), "{path} is neither");
            }
        }
    }
}
