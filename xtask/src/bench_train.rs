//! `cargo xtask bench train`: training steps of ours and of PyTorch's, interleaved in one run.
//!
//! Both are processes that do some steps for every line on stdin, `trainer/benches/train.rs` and `train.py`.
//! They take turns, so that what else the machine does hits both, and medians are compared.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::{Act, bench_program, line, workspace};
use crate::python::python_with_packages;

/// The bench of training steps.
#[derive(clap::Args)]
pub struct Options {
    /// Ours alone, one short round each: whether it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// Rounds of each, taken in turns
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// A Python that has PyTorch, instead of an environment of the bench's own (5 GB)
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where the measurements go, as JSON Lines
    #[arg(long)]
    out: Option<PathBuf>,
}

const PINS: [&str; 1] = ["torch==2.15.0"];

/// Pictures a step.
const BATCH: usize = 16;

#[derive(Clone, Copy)]
struct Case {
    backbone: &'static str,
    side: usize,
    threads: usize,
    /// Steps a round, to make it last about a second.
    steps: usize,
}

/// What one process did in one round.
struct Round {
    seconds: f64,
    cpu_seconds: f64,
    images: f64,
    peak_bytes: f64,
}

/// Medians over the rounds of a process.
#[derive(Clone, Copy)]
struct Summary {
    images_per_cpu_second: f64,
    images_per_second: f64,
    peak_bytes: f64,
}

/// A process that answers every line with a round.
struct Peer {
    name: &'static str,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Measures all cases, prints a table and writes every round as a line of JSON.
///
/// # Errors
/// A program that does not build or start, or ends early.
pub fn bench_train(options: &Options) -> Result<()> {
    let workspace = workspace()?;
    let ours = bench_program("train", options.quick)?;
    let script = workspace.root.join("trainer/benches/train.py");
    let python = match &options.python {
        _ if options.quick => None,
        Some(python) => Some(python.clone()),
        None => Some(python_with_packages(
            &Act::REAL,
            &workspace.target.join("bench-train-venv"),
            &PINS,
            "torch",
        )?),
    };
    let path = options.out.clone().unwrap_or_else(|| workspace.target.join("bench-train.jsonl"));
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{HEADER}");
    for case in cases(options.quick) {
        let mut peers = vec![Peer::start("fieldmark", Command::new(&ours), case)?];
        if let Some(python) = &python {
            let mut command = Command::new(python);
            command.arg(&script);
            peers.push(Peer::start("pytorch", command, case)?);
        }
        let summaries =
            measured(&mut peers, case, if options.quick { 1 } else { options.rounds }.into(), &mut file)
                .with_context(|| format!("the rounds so far are in {}", path.display()))?;
        println!("{}", Row { case, ours: summaries[0], theirs: summaries.get(1).copied() });
    }
    eprintln!("every round is in {}", path.display());
    Ok(())
}

fn cases(quick: bool) -> Vec<Case> {
    let backbones = ["resnet18", "efficientnet_lite0"];
    let (threads, sizes): (&[usize], &[(usize, usize)]) =
        if quick { (&[2], &[(64, 1)]) } else { (&[1, 2], &[(96, 4), (224, 1)]) };
    let mut cases = Vec::new();
    for &threads in threads {
        for backbone in backbones {
            cases.extend(sizes.iter().map(|&(side, steps)| Case { backbone, side, threads, steps }));
        }
    }
    cases
}

fn measured(peers: &mut [Peer], case: Case, rounds: usize, file: &mut File) -> Result<Vec<Summary>> {
    let mut all: Vec<Vec<Round>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (peer, rounds) in peers.iter_mut().zip(&mut all) {
            let answer = peer.round()?;
            let record = json!({
                "bench": "train", "peer": peer.name, "backbone": case.backbone, "side": case.side,
                "threads": case.threads, "batch": BATCH, "round": round, "measured": answer,
            });
            file.write_all(format!("{record}\n").as_bytes())?;
            rounds.push(Round::read(&answer)?);
        }
    }
    Ok(all.iter().map(|rounds| Summary::of(rounds)).collect())
}

impl Peer {
    fn start(name: &'static str, mut command: Command, case: Case) -> Result<Peer> {
        let Case { backbone, side, threads, steps } = case;
        command.args(["--backbone", backbone, "--on-line"]);
        for (option, value) in
            [("--side", side), ("--threads", threads), ("--steps", steps), ("--batch", BATCH)]
        {
            command.args([option, &value.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(&command)))?;
        let (ask, answers) =
            child.stdin.take().zip(child.stdout.take()).context("a process without pipes")?;
        Ok(Peer { name, child, ask, answers: BufReader::new(answers) })
    }

    fn round(&mut self) -> Result<Value> {
        writeln!(self.ask).with_context(|| format!("{} takes no more rounds", self.name))?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            bail!("{} ended before its round did; what it said stands above", self.name);
        }
        serde_json::from_str(&answer).with_context(|| format!("{} said {answer:?}", self.name))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Without a next line it would end by itself; after an error nobody waits for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Round {
    fn read(answer: &Value) -> Result<Round> {
        let number = |key: &str| answer[key].as_f64().with_context(|| format!("no {key:?} in {answer}"));
        Ok(Round {
            seconds: number("seconds")?,
            cpu_seconds: number("cpu_seconds")?,
            images: number("images")?,
            peak_bytes: number("peak_bytes")?,
        })
    }
}

impl Summary {
    fn of(rounds: &[Round]) -> Summary {
        let median = |value: fn(&Round) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Summary {
            images_per_cpu_second: median(|round| round.images / round.cpu_seconds),
            images_per_second: median(|round| round.images / round.seconds),
            peak_bytes: rounds.iter().map(|round| round.peak_bytes).fold(0.0, f64::max),
        }
    }
}

impl Summary {
    /// As the table has them, memory in MiB.
    fn columns(&self) -> [f64; 3] {
        [self.images_per_cpu_second, self.images_per_second, self.peak_bytes / f64::from(1 << 20)]
    }
}

const HEADER: &str = "\
| backbone | side | threads | images per CPU second: ours, PyTorch's, ratio | images per second | peak MiB |
|---|---|---|---|---|---|";

struct Row {
    case: Case,
    ours: Summary,
    theirs: Option<Summary>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { backbone, side, threads, .. } = self.case;
        write!(f, "| {backbone} | {side} | {threads} |")?;
        let ours = self.ours.columns();
        let theirs = self.theirs.map(|theirs| theirs.columns());
        for (index, digits) in [1, 1, 0].into_iter().enumerate() {
            write!(f, " {:.digits$}", ours[index])?;
            if let Some(theirs) = theirs {
                write!(f, ", {:.digits$}, **{:.2}**", theirs[index], ours[index] / theirs[index])?;
            }
            write!(f, " |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_compares_medians() {
        let round = |seconds, peak_bytes| Round { seconds, cpu_seconds: seconds, images: 8.0, peak_bytes };
        let ours = Summary::of(&[round(1.0, 2e6), round(2.0, 3e6), round(100.0, 1e6)]);
        let theirs = Summary::of(&[round(4.0, 6e6)]);
        let case = Case { backbone: "resnet18", side: 96, threads: 1, steps: 4 };
        let row = Row { case, ours, theirs: Some(theirs) }.to_string();
        assert_eq!(row, "| resnet18 | 96 | 1 | 4.0, 2.0, **2.00** | 4.0, 2.0, **2.00** | 3, 6, **0.50** |");
        let row = Row { case, ours, theirs: None }.to_string();
        assert_eq!(row, "| resnet18 | 96 | 1 | 4.0 | 4.0 | 3 |");
    }

    #[test]
    fn an_answer_without_its_numbers_is_an_error() {
        let error = Round::read(&json!({"seconds": 1.0})).err().unwrap().to_string();
        assert_eq!(error, r#"no "cpu_seconds" in {"seconds":1.0}"#);
    }
}
