//! What `fetch` can be told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What can be fetched.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// EfficientNet-Lite0, for pictures of 224 pixels
    #[value(alias = "efficientnet_lite0")]
    EfficientnetLite0,
    /// EfficientNet-Lite1, for 240
    #[value(alias = "efficientnet_lite1")]
    EfficientnetLite1,
    /// EfficientNet-Lite2, for 260
    #[value(alias = "efficientnet_lite2")]
    EfficientnetLite2,
    /// VGG-16's convolutions, without batch normalisation
    Vgg16,
}

/// `fetch`.
#[derive(Args)]
pub struct FetchArgs {
    /// Whose weights
    #[arg(
        value_parser = whose,
        help = format!(
            "Whose weights: {}, or (if built with the feature `hub`) a repository on Hugging Face's hub, like \
             timm/resnet50.a1_in1k",
            known()
        )
    )]
    pub name: Whose,
    /// The file to write [default: one in your cache folder, where the next call finds it]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Where to look.
#[derive(Clone)]
pub enum Whose {
    /// In a wheel that we know.
    Known(Name),
    /// In a repository of the hub.
    Hub(String),
}

fn whose(text: &str) -> Result<Whose, String> {
    if text.contains('/') {
        check_name(text)?;
        return Ok(Whose::Hub(text.to_owned()));
    }
    Name::from_str(text, true)
        .map(Whose::Known)
        .map_err(|_| format!("choose {}, or a repository like timm/resnet50.a1_in1k", known()))
}

/// The names of all that comes in wheels.
fn known() -> String {
    let names = Name::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    names.map(|name| name.get_name().to_owned()).collect::<Vec<_>>().join(", ")
}

/// Whether it reads like `owner/name` on the hub.
///
/// # Errors
/// What is wrong.
fn check_name(repository: &str) -> Result<(), String> {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
    };
    match repository.split_once('/') {
        Some((owner, name)) if is_part(owner) && is_part(name) => Ok(()),
        _ => Err(format!("{repository} is no repository of the hub, like timm/resnet50.a1_in1k")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_repositories_are_told_apart() {
        assert!(matches!(whose("efficientnet-lite0"), Ok(Whose::Known(Name::EfficientnetLite0))));
        assert!(matches!(whose("timm/resnet50.a1_in1k"), Ok(Whose::Hub(_))));
        assert!(whose("resnet50").is_err_and(|error| error.contains("vgg16, or a repository")));
        for odd in ["timm/", "/resnet50", "a/b/c", "../x", "timm/..", "timm/a b"] {
            assert!(whose(odd).is_err(), "{odd}");
        }
    }
}
