//! A model's self-tests, here by the engine and on the board by `fieldmark verify --format json`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fieldmark::engine::{SelfTestCase, SelfTestReport};
use serde_json::{Deserializer, Value};

/// One model's self-test.
#[derive(Debug, PartialEq)]
pub struct Verified {
    model: String,
    passed: bool,
    seeds: Vec<u64>,
    /// The largest difference from the trainer's logits, in what is tolerated.
    furthest: f64,
}

impl Verified {
    /// What the engine found on this machine.
    pub fn here(model: &Path, report: &SelfTestReport) -> Verified {
        // The greatest of all with one that is not a number is not one.
        let further = |most: f64, case: &SelfTestCase| {
            if case.logits.is_nan() { f64::INFINITY } else { most.max(case.logits.into()) }
        };
        Verified {
            model: model.display().to_string(),
            passed: report.passed(),
            seeds: report.cases.iter().map(|case| case.seed).collect(),
            furthest: report.cases.iter().fold(0.0, further),
        }
    }
}

/// The reports in a text, one after the other.
///
/// # Errors
/// Anything else.
pub fn verified(text: &str) -> Result<Vec<Verified>> {
    let reports = Deserializer::from_str(text).into_iter::<Value>();
    reports.map(|report| read(&report.ok()?)).collect::<Option<_>>().context("no report of a self-test")
}

fn read(report: &Value) -> Option<Verified> {
    let cases = report["cases"].as_array()?;
    let seeds = cases.iter().map(|case| case["seed"].as_u64()).collect::<Option<_>>()?;
    // JSON has no word for what is not a number.
    let furthest =
        cases.iter().map(|case| case["logits"].as_f64().unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
    let model = report["model"].as_str()?.trim_start_matches("./").to_owned();
    Some(Verified { model, passed: report["passed"].as_bool()?, seeds, furthest })
}

/// That both machines pass the same tests, a sentence a model.
///
/// # Errors
/// Other tests, or one that failed.
pub fn agree(there: &[Verified], here: &[Verified]) -> Result<Vec<String>> {
    ensure!(there.len() == here.len(), "{} models answered there, {} here", there.len(), here.len());
    let sentence = |(there, here): (&Verified, &Verified)| {
        let Verified { model, seeds, furthest, .. } = there;
        ensure!(there.passed && here.passed, "{model} does not pass its self-test");
        ensure!(*seeds == here.seeds, "{model} has other self-tests there: {seeds:?}, here {:?}", here.seeds);
        let tests = seeds.len();
        Ok(format!(
            "{model}: {tests} self-tests passed there as here; largest difference from the trainer, in what is \
             tolerated: {furthest:.3} there, {:.3} here",
            here.furthest
        ))
    };
    there.iter().zip(here).map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seed: u64, logits: &str, passed: bool) -> String {
        let case = format!(r#"{{"seed":{seed},"logits":{logits},"shares":null}}"#);
        format!(r#"{{"schema":1,"model":"./m.onnx","passed":{passed},"cases":[{case}]}}"#)
    }

    #[test]
    fn this_machine_s_figures_are_those_that_the_program_would_write() {
        let case = |logits| SelfTestCase { seed: 1, logits, shares: None };
        let here = |cases: Vec<SelfTestCase>| Verified::here(Path::new("m.onnx"), &SelfTestReport { cases });
        assert_eq!([here(vec![case(0.25)])], verified(&report(1, "0.25", true)).unwrap()[..]);
        assert!(here(vec![case(f32::NAN), case(0.5)]).furthest.is_infinite());
    }

    #[test]
    fn the_same_tests_have_to_pass_on_both() {
        let text = report(1, "0.25", true) + "\n" + &report(2, "0.5", true);
        let here = verified(&text).unwrap();
        let said = agree(&here, &here).unwrap();
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with("m.onnx: 1 self-tests passed there as here; "), "{}", said[0]);
        assert!(said[0].ends_with("tolerated: 0.250 there, 0.250 here"), "{}", said[0]);
        for other in [
            report(1, "0.25", true),
            report(1, "0.25", true) + &report(3, "0.5", true),
            report(1, "null", false) + &report(2, "0.5", true),
        ] {
            assert!(agree(&verified(&other).unwrap(), &here).is_err(), "{other}");
        }
        assert!(verified("cannot execute binary file").is_err());
        assert!(verified("{}").is_err());
    }
}
