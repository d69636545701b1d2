//! A run's report: one HTML file that a person reads, keeps and hands on.
//!
//! It fetches nothing: pictures are data URIs, charts inline SVG, and a content security policy forbids the rest. Nothing
//! needs a script; the one in it sorts the table of classes and unfolds what a link leads to. What `eval.json` does not
//! say is not guessed: its section names the command that brings it, which the caller knows ([`Commands`]).
//!
//! [`report`] first gathers all that sections need (`Findings`): the run's files ([`records`]), the network's answers and
//! cues (`survey`), pictures (`album`, `pairs`). Each section is then a function of these.

mod advice;
mod album;
mod chart;
mod classes;
mod commands;
mod confusion;
mod cost;
mod evidence;
mod gallery;
mod knowledge;
mod lint;
mod look_alikes;
mod measured;
mod page;
mod pairs;
mod settings;
mod summary;
mod survey;
mod training;
mod words;

use std::path::Path;

use indicatif::ProgressBar;
use maud::{Markup, html};

use crate::data::lint::Lint;
use crate::data::picture::ReadError;
use crate::measure::answers::AnswerError;
use crate::measure::eval::wilson;
use crate::net::layer::{Cost, ShapeError, cost};
use crate::run::error::FolderError;
use crate::run::folder::Trained;
use crate::run::records::{self, EpochMetrics, Evaluation, NoEvaluation};
use album::{CROPS_BYTES, Crops, crops};
pub use commands::Commands;
use measured::{Measured, Split};
use pairs::{Pair, pairs};
use survey::{Eyes, Survey};
use words::count;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A record of the run cannot be read.
    #[error(transparent)]
    Run(#[from] FolderError),
    /// The network does not fit its own input.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The network does not answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl From<candle_core::Error> for ReportError {
    fn from(error: candle_core::Error) -> ReportError {
        AnswerError::from(error).into()
    }
}

impl From<ReadError> for ReportError {
    fn from(error: ReadError) -> ReportError {
        AnswerError::from(error).into()
    }
}

/// Which run a report is of, and what its readers have and type.
pub struct Asked<'a> {
    /// The run's folder, as it was typed.
    pub run: &'a Path,
    /// The weights are those of the last epoch, not of the best.
    pub is_last: bool,
    /// The model file that was exported from it, if that is known.
    pub model: Option<&'a Path>,
    /// What they type.
    pub commands: Commands,
}

/// All that sections are made of. `c` classes, `N` channels.
struct Findings<'a> {
    asked: &'a Asked<'a>,
    trained: &'a Trained,
    cost: Cost,
    epochs: Vec<EpochMetrics>,
    /// What was measured with these weights on the test split.
    evaluation: Result<Evaluation, NoEvaluation>,
    measured: Measured,
    survey: Survey,
    /// Of each of the `N` channels.
    crops: Crops,
    pairs: Vec<Pair>,
    lint: Lint,
}

impl Findings<'_> {
    fn labels(&self) -> &[String] {
        &self.trained.progress.labels
    }

    fn classes(&self) -> usize {
        self.labels().len()
    }

    /// Training pictures of each class.
    fn training_pictures(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes()];
        for sample in &self.trained.dataset.train {
            counts[sample.class] += 1;
        }
        counts
    }

    /// The interval of the share of right answers, 95 %.
    fn top1_interval(&self) -> Option<[f64; 2]> {
        let measured = &self.measured;
        let evaluated = self.evaluation.as_ref().ok().map(|evaluation| evaluation.top1_interval);
        let right = measured.pictures - measured.wrong().min(measured.pictures);
        evaluated.or_else(|| (measured.pictures > 0).then(|| wilson(right, measured.pictures)))
    }
}

/// The report, as HTML, on the run that was `asked` for, of which `trained` was opened. `bar` counts pictures.
///
/// # Errors
/// [`ReportError`].
pub fn report(trained: &Trained, asked: &Asked<'_>, bar: &ProgressBar) -> Result<String, ReportError> {
    let side = trained.progress.config.side as usize;
    let layers = [trained.network.trunk.as_slice(), trained.network.head.as_slice()].concat();
    let evaluation =
        records::evaluation(asked.run, &trained.weights)?.and_then(|evaluation| fitting(evaluation, trained));
    let dataset = &trained.dataset;
    bar.inc_length((dataset.train.len() + dataset.validation.len() + dataset.test.len()) as u64);
    let lint = crate::data::lint::lint(dataset, &[], &trained.progress.config.split, &|| bar.inc(1));
    let epochs = records::metrics(asked.run)?;
    let eyes = Eyes::new(trained)?;
    let survey = eyes.survey(bar)?;
    let measured = if let Ok(evaluation) = &evaluation {
        Measured::of_evaluation(evaluation)
    } else {
        let answers = survey.answers.iter().filter(|answer| answer.is_validation);
        Measured::of_validation(answers, trained.progress.labels.len())
    };
    let pairs = pairs(trained, &eyes, &survey, &measured, bar)?;
    let crops = crops(&survey, CROPS_BYTES, bar)?;
    let cost = cost(&layers, [3, side, side])?;
    let findings =
        Findings { asked, trained, cost, epochs, evaluation, measured, survey, crops, pairs, lint };
    Ok(page::page(&findings))
}

/// An evaluation whose classes are the run's, or why it is none.
fn fitting(evaluation: Evaluation, trained: &Trained) -> Result<Evaluation, NoEvaluation> {
    let labels = &trained.progress.labels;
    let rows = &evaluation.confusion_matrix;
    let is_square = rows.len() == labels.len() && rows.iter().all(|row| row.len() == labels.len());
    let has_classes = evaluation.classes.iter().map(|class| &class.label).eq(labels);
    if is_square && has_classes {
        return Ok(evaluation);
    }
    let reason = format!("it does not have the {} classes of the run", labels.len());
    Err(NoEvaluation::OtherVersion { reason })
}

/// Which pictures the figures are of.
fn source(findings: &Findings) -> Markup {
    let measured = &findings.measured;
    html! {
        @match measured.split {
            Split::Test => {
                "Measured on " (count(measured.pictures, "test picture", "test pictures"))
                " that neither training nor the choice of the epoch saw."
            }
            Split::Validation if measured.pictures == 0 => {
                "There is no validation split, and "
                @match &findings.evaluation {
                    Err(NoEvaluation::OtherWeights) => "eval.json is of other weights.",
                    Err(NoEvaluation::OtherVersion { .. }) => "eval.json is not of this version.",
                    Err(NoEvaluation::Missing) | Ok(_) => "eval was not run.",
                }
            }
            Split::Validation => {
                "Measured on the " (count(measured.pictures, "validation picture", "validation pictures"))
                ", by which the best epoch was chosen, so a little too good."
            }
        }
    }
}

#[cfg(test)]
mod tests;
