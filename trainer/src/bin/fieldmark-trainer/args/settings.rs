//! Which option of `train` decides which setting, and what each recipe sets.

use clap::{Arg, Command};
use fieldmark_trainer::run::config_file::paths;
use fieldmark_trainer::run::recipe::Recipe;
use serde_json::Value;

/// Options of `train` by their names, and where the setting stands in a configuration, as a JSON pointer. An option that
/// decides several settings comes once for each.
const OPTIONS: [(&str, &str); 40] = [
    ("seed", "/seed"),
    ("seed", "/split/seed"),
    ("precision", "/precision"),
    ("validation", "/split/validation"),
    ("test", "/split/test"),
    ("group-by", "/split/group"),
    ("balanced", "/sampling"),
    ("side", "/side"),
    ("resize", "/resize"),
    ("crop", "/augment/crop/area/0"),
    ("shift", "/augment/crop/by"),
    ("flip", "/augment/flip"),
    ("jitter", "/augment/brightness"),
    ("jitter", "/augment/contrast"),
    ("jitter", "/augment/saturation"),
    ("backbone", "/network/backbone"),
    ("convention", "/network/convention"),
    ("norms", "/optim/norms"),
    ("class-layer", "/network/class_layer"),
    ("stride", "/network/class_layer/project/stride"),
    ("xi", "/network/xi"),
    ("head", "/network/head"),
    ("dropout", "/network/dropout"),
    ("mu", "/loss/mc/mu"),
    ("lambda", "/loss/mc/lambda"),
    ("diversity", "/loss/mc/diversity"),
    ("diversity-reach", "/loss/diversity_reach"),
    ("keep", "/loss/keep"),
    ("mu-warm-up", "/loss/mu_warm_up_epochs"),
    ("label-smoothing", "/loss/label_smoothing"),
    ("epochs", "/epochs"),
    ("batch", "/batch"),
    ("rate", "/optim/rate"),
    ("head-factor", "/optim/head_factor"),
    ("head-first", "/optim/head_first_epochs"),
    ("weight-decay", "/optim/weight_decay"),
    ("warm-up", "/optim/warm_up_epochs"),
    ("schedule", "/optim/schedule"),
    ("average", "/optim/average"),
    ("patience", "/patience"),
];

/// The option that decides the setting called so in a configuration (`optim.rate`), if one does.
pub fn option(setting: &str) -> Option<&'static str> {
    let path = format!("/{}", setting.replace('.', "/"));
    let is_meant = |place: &str| place == path || place.starts_with(&format!("{path}/"));
    OPTIONS.iter().find(|(_, place)| is_meant(place)).map(|(option, _)| *option)
}

/// Puts into the help of each option what it is without it.
pub fn with_defaults(command: Command) -> Command {
    let recipes = recipes();
    command.mut_args(|arg| {
        let name = arg.get_long().unwrap_or_default();
        let place = OPTIONS.iter().find(|(option, _)| *option == name).map(|(_, place)| *place);
        if !arg.get_default_values().is_empty() {
            return arg;
        }
        let Some(default) = place.and_then(|place| default(&recipes, place)) else { return arg };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        said(arg, &format!("{help} [default: {default}]"))
    })
}

fn said(arg: Arg, help: &str) -> Arg {
    arg.help(help.to_owned())
}

/// The setting in each recipe that has it, or the one value of all; `None` where none has it.
fn default(recipes: &[(Recipe, Value)], place: &str) -> Option<String> {
    let values: Vec<(&str, String)> = recipes
        .iter()
        .filter_map(|(recipe, config)| Some((recipe.name(), shown(config.pointer(place)?)?)))
        .collect();
    let (_, first) = values.first()?;
    if values.len() == recipes.len() && values.iter().all(|(_, value)| value == first) {
        return Some(first.clone());
    }
    let each = values.iter().map(|(name, value)| format!("{name} {value}"));
    Some(each.collect::<Vec<_>>().join(", "))
}

/// All recipes with their settings as JSON.
fn recipes() -> Vec<(Recipe, Value)> {
    let json = |recipe: Recipe| serde_json::to_value(recipe.config()).expect("a configuration is plain data");
    Recipe::ALL.into_iter().map(|recipe| (recipe, json(recipe))).collect()
}

/// A setting's value as it is typed, or the kind of one that has parts; `None` for one that is not set.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(is_so) => Some(if *is_so { "yes".to_owned() } else { "no".to_owned() }),
        Value::Number(number) if number.is_f64() => number.as_f64().map(rounded),
        Value::Object(parts) => parts.keys().next().cloned(),
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Four significant digits: enough to tell settings apart, few enough to read.
fn rounded(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (3 - value.abs().log10().floor() as i32).max(0) };
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// What each recipe sets: a line for each option of `train` that decides a setting, then the settings that no option
/// decides, by their names in a configuration file.
pub fn table() -> String {
    let recipes = recipes();
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(recipes.iter().map(|(recipe, _)| recipe.name().to_owned()));
    let mut row = |name: String, place: &str| {
        let value = |config: &Value| config.pointer(place).and_then(shown).unwrap_or_else(|| "-".to_owned());
        rows.push(std::iter::once(name).chain(recipes.iter().map(|(_, config)| value(config))).collect());
    };
    for (at, (option, place)) in OPTIONS.iter().enumerate() {
        if at == 0 || OPTIONS[at - 1].0 != *option {
            row(format!("--{option}"), place);
        }
    }
    for path in paths(&Recipe::Scratch.config()) {
        let name = path.trim_start_matches('/').replace('/', ".");
        if option(&name).is_none() {
            row(name, &path);
        }
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default())
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::args::{Cli, command};

    fn typed(words: &[&str]) -> Value {
        let line = ["fieldmark-trainer", "train", "data", "--out", "run"].iter().chain(words);
        let matches =
            command().try_get_matches_from(line).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let Ok(Cli { command: crate::args::Command::Train(args) }) = Cli::from_arg_matches(&matches) else {
            panic!("{words:?}")
        };
        serde_json::to_value(args.settings().unwrap()).unwrap()
    }

    #[test]
    fn every_option_of_train_decides_the_setting_that_the_table_says() {
        let own =
            ["config", "recipe", "device", "threads", "weights", "allow", "out", "checkpoint-steps", "help"];
        let train = command().find_subcommand("train").unwrap().clone();
        for name in train.get_arguments().filter_map(Arg::get_long).filter(|name| !own.contains(name)) {
            let places: Vec<&str> =
                OPTIONS.iter().filter(|(option, _)| *option == name).map(|(_, place)| *place).collect();
            assert!(!places.is_empty(), "--{name} is missing in the table");
            // What the weights expect is known when they have been read.
            if name == "convention" {
                continue;
            }
            let (option, value) = (format!("--{name}"), other_value(name));
            let words = [option.as_str(), value, "--weights", "w"];
            let words = if value.is_empty() { vec![words[0], words[2], words[3]] } else { words.to_vec() };
            let (before, after) = (typed(&["--weights", "w"]), typed(&words));
            for place in places {
                assert_ne!(before.pointer(place), after.pointer(place), "{option} {value}: {place}");
            }
        }
        for (option, _) in OPTIONS {
            assert!(
                train.get_arguments().any(|arg| arg.get_long() == Some(option)),
                "there is no --{option}"
            );
        }
    }

    /// What no recipe has; empty for a switch.
    fn other_value(option: &str) -> &'static str {
        match option {
            "balanced" => "",
            "diversity" => "labelled-class",
            "diversity-reach" => "class-layer",
            "group-by" => "_",
            "precision" => "bf16",
            "resize" => "pad",
            "backbone" => "resnet18",
            "norms" => "learn",
            "class-layer" => "allot",
            "head" => "group-max",
            "schedule" => "step",
            "side" | "stride" | "xi" | "keep" | "epochs" | "batch" | "patience" | "seed" => "17",
            _ => "0.125",
        }
    }

    #[test]
    fn the_table_of_recipes_has_every_setting_and_every_recipe() {
        let table = table();
        for recipe in Recipe::ALL {
            assert!(table.lines().next().unwrap().contains(recipe.name()), "{table}");
        }
        let row = |name: &str| {
            let line = table.lines().find(|line| line.split_whitespace().next() == Some(name));
            line.unwrap_or_else(|| panic!("{name} is missing in\n{table}"))
                .split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
        };
        for path in paths(&Recipe::Scratch.config()) {
            let name = path.trim_start_matches('/').replace('/', ".");
            row(&option(&name).map_or(name, |option| format!("--{option}")));
        }
        let epochs: Vec<String> =
            Recipe::ALL.iter().map(|recipe| recipe.config().epochs.to_string()).collect();
        assert_eq!(row("--epochs"), epochs);
        assert_eq!(row("--stride"), ["8", "32", "-", "-"]);
        assert_eq!(row("--lambda")[2], "4.444");
        assert_eq!(row("optim.nesterov"), ["yes", "yes", "no", "no"]);
    }

    #[test]
    fn help_says_what_each_recipe_sets() {
        let mut train = command().find_subcommand("train").unwrap().clone();
        let help = train.render_long_help().to_string();
        assert!(
            help.contains("[default: scratch 60, photos 20, paper-scratch 300, paper-finetune 300]"),
            "{help}"
        );
        for heading in ["Data:", "Network:", "Loss:", "Schedule:", "Output:"] {
            assert!(help.lines().any(|line| line == heading), "{heading} is missing in\n{help}");
        }
    }

    #[test]
    fn a_setting_in_an_error_is_found_among_the_options() {
        assert_eq!(option("optim.head_factor"), Some("head-factor"));
        assert_eq!(option("augment.crop.area"), Some("crop"));
        assert_eq!(option("augment.saturation"), Some("jitter"));
        assert_eq!(option("optim.momentum"), None);
    }
}
