//! What differs between the packages of the two programs.

use clap::ValueEnum;

/// A program that people download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// The board's
    Fieldmark,
    /// The trainer
    FieldmarkTrainer,
}

impl Program {
    /// Both.
    pub const ALL: [Program; 2] = [Program::Fieldmark, Program::FieldmarkTrainer];

    /// The program's name, and its crate's and its package's.
    pub fn name(self) -> &'static str {
        match self {
            Program::Fieldmark => "fieldmark",
            Program::FieldmarkTrainer => "fieldmark-trainer",
        }
    }

    /// The example that writes its manual pages and completions.
    pub fn manual(self) -> &'static str {
        match self {
            Program::Fieldmark => "manual",
            Program::FieldmarkTrainer => "trainer_manual",
        }
    }

    /// What an archive says of itself.
    pub fn readme(self) -> &'static str {
        match self {
            Program::Fieldmark => include_str!("README.txt"),
            Program::FieldmarkTrainer => include_str!("README-trainer.txt"),
        }
    }

    /// What dpkg says of a package: a line, then paragraphs.
    pub fn description(self) -> &'static str {
        match self {
            Program::Fieldmark => {
                "tells look-alikes apart, and says by which marks
 Runs Fieldmark models: one ONNX file of a network that was trained so that
 each class has a few channels of its own, each of which looks at another part.
 The program names what pictures show and which parts of the picture decided
 it, checks a model on this very processor, and measures how long it takes.
 .
 Models go to /var/lib/fieldmark, or anywhere else."
            }
            Program::FieldmarkTrainer => {
                "trains classifiers of look-alikes that show which parts decided
 Trains a network on a folder of photos with the mutual-channel loss, so that
 each class has a few channels of its own, measures it on pictures that it has
 not seen, writes a report as one HTML file, and exports one ONNX file, which
 the program fieldmark runs on a small board. Computes on the processor."
            }
        }
    }

    /// Whether systemd can start it, with models in `/var/lib/fieldmark`.
    pub fn is_service(self) -> bool {
        self == Program::Fieldmark
    }
}
