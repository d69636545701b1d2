//! A process that has loaded a network, and runs it for every line it gets.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::line;

/// The process, and what it has said.
pub struct Peer {
    pub name: &'static str,
    pub ready: Ready,
    pub runs: Vec<Run>,
    process: Process,
}

/// What a process says once, before its first measured run.
pub struct Ready {
    pub version: String,
    pub load_ms: f64,
    pub first_ms: f64,
    /// The most memory it had, above the empty process.
    pub peak_bytes: f64,
    pub program_bytes: f64,
    pub logits: Vec<f64>,
    pub maps: Vec<f64>,
}

/// One run of the network.
#[derive(Clone, Copy)]
pub struct Run {
    pub wall_ms: f64,
    pub cpu_ms: f64,
}

struct Process {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    /// It does not start, ends, or says something else.
    pub fn start(name: &'static str, mut command: Command) -> Result<Peer> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(&command)))?;
        let (ask, answers) =
            child.stdin.take().zip(child.stdout.take()).context("a process without pipes")?;
        let mut process = Process { child, ask, answers: BufReader::new(answers) };
        let ready = process.answer().and_then(|answer| Ready::read(&answer));
        let ready = ready.with_context(|| format!("`{}` is not ready", line(&command)))?;
        Ok(Peer { name, ready, runs: Vec::new(), process })
    }

    /// One run; it is remembered.
    ///
    /// # Errors
    /// The process has ended, or says something else.
    pub fn run(&mut self) -> Result<Run> {
        writeln!(self.process.ask).with_context(|| format!("{} has ended", self.name))?;
        let answer = self.process.answer().with_context(|| format!("a run of {}", self.name))?;
        let run = Run { wall_ms: number(&answer, "wall_ms")?, cpu_ms: number(&answer, "cpu_ms")? };
        self.runs.push(run);
        Ok(run)
    }
}

impl Process {
    /// The next line that is JSON: converters and engines say other things, too.
    fn answer(&mut self) -> Result<Value> {
        loop {
            let mut answer = String::new();
            if self.answers.read_line(&mut answer)? == 0 {
                bail!("it ended; what it said stands above");
            }
            match serde_json::from_str(&answer) {
                Ok(answer @ Value::Object(_)) => return Ok(answer),
                _ => eprint!("{answer}"),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without a next line it would end by itself; after an error nobody waits for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ready {
    fn read(answer: &Value) -> Result<Ready> {
        Ok(Ready {
            version: answer["version"].as_str().context("no \"version\"")?.to_owned(),
            load_ms: number(answer, "load_ms")?,
            first_ms: number(answer, "first_ms")?,
            peak_bytes: number(answer, "peak_bytes")?,
            program_bytes: number(answer, "program_bytes")?,
            logits: numbers(answer, "logits")?,
            maps: numbers(answer, "maps")?,
        })
    }
}

fn number(answer: &Value, key: &str) -> Result<f64> {
    answer[key].as_f64().with_context(|| format!("no number {key:?}"))
}

/// What is not a number, JSON writes as null.
fn numbers(answer: &Value, key: &str) -> Result<Vec<f64>> {
    let values = answer[key].as_array().with_context(|| format!("no {key:?}"))?;
    Ok(values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_number_stays_none() {
        let answer = json!({"maps": [1.5, null], "load_ms": "soon"});
        let maps = numbers(&answer, "maps").unwrap();
        assert!((maps[0] - 1.5).abs() < f64::EPSILON && maps[1].is_nan());
        assert_eq!(number(&answer, "load_ms").unwrap_err().to_string(), "no number \"load_ms\"");
        assert_eq!(numbers(&answer, "logits").unwrap_err().to_string(), "no \"logits\"");
    }
}
