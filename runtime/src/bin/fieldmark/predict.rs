//! `fieldmark predict`: what pictures show.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use fieldmark::Frame;
use fieldmark::engine::{Engine, Prediction, cores};
use fieldmark::file::write_whole;
use fieldmark::picture::Limits;
use fieldmark::raw::raw_bytes;

use crate::args::{PredictArgs, RecordFormat, UsageError, load};
use crate::exit::Exit;
use crate::inputs::{Input, expand};
use crate::messages::{sentence, tell};
use crate::output::{Style, write_end, write_outcome, write_start};
use crate::overlay::{overlay_names, overlay_png};
use crate::read::{ReadError, decode, read};
use crate::record::{Record, record};
use crate::text::{Widths, printable};

/// One input, and where its overlay goes.
struct Job {
    input: Input,
    overlay: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// A usage that makes no sense, a refused model, and results that cannot be written. Inputs that fail are
/// told on stderr and counted in the exit code.
pub fn run(args: &PredictArgs) -> anyhow::Result<Exit> {
    let inputs = expand(&args.inputs);
    check_usage(args, &inputs.list)?;
    let engine = load(&args.model, &args.compute, args.threads)?;
    for note in &inputs.notes {
        tell("note", note);
    }
    let jobs = jobs(inputs.list, args.overlay.as_deref())?;
    let names = jobs.iter().map(|job| job.input.name());
    let widths = Widths::of(names, &engine.description().labels);
    let marks = args.cues.then_some(args.marks as usize);
    let style = Style { format: args.format, marks, widths };
    let threads = args.threads.map_or_else(cores, usize::from);
    predict_all(&engine, &jobs, args, style, threads)
}

fn check_usage(args: &PredictArgs, inputs: &[Input]) -> Result<(), UsageError> {
    let refused = |message: String| Err(UsageError(message));
    if args.cues && args.format == RecordFormat::Csv {
        return refused(
            "--cues does not fit into csv, which has a row an answer; use --format json".to_string(),
        );
    }
    if args.maps.is_some() && inputs.len() != 1 {
        let count = inputs.len();
        return refused(format!("--maps writes the maps of one input, got {count}; name one picture"));
    }
    if inputs.iter().filter(|input| **input == Input::Stdin).count() > 1 {
        return refused("stdin has one picture; write - once".to_string());
    }
    Ok(())
}

fn jobs(inputs: Vec<Input>, folder: Option<&Path>) -> Result<Vec<Job>, UsageError> {
    let Some(folder) = folder else {
        return Ok(inputs.into_iter().map(|input| Job { input, overlay: None }).collect());
    };
    fs::create_dir_all(folder).map_err(|error| {
        UsageError(format!("--overlay {} cannot be made ({error}); name another folder", folder.display()))
    })?;
    let names = overlay_names(inputs.iter().map(Input::stem));
    let job = |(input, name)| Job { input, overlay: Some(folder.join(name)) };
    Ok(inputs.into_iter().zip(names).map(job).collect())
}

/// Writes the outcome of every job in order, `threads` of them at a time in memory.
fn predict_all(
    engine: &Engine,
    jobs: &[Job],
    args: &PredictArgs,
    style: Style,
    threads: usize,
) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    let unwritten = "results cannot be written";
    let (mut failed, mut limits, mut done) = (0, 0, 0);
    write_start(&mut out, style.format).context(unwritten)?;
    for chunk in jobs.chunks(threads) {
        for (job, outcome) in chunk.iter().zip(outcomes(engine, chunk, args)) {
            let name = job.input.name();
            let outcome = outcome.map_err(|error| {
                failed += 1;
                limits += usize::from(is_limit(&error));
                let message = sentence(&error);
                tell("error", &format!("{}: {message}", printable(&name)));
                message
            });
            let outcome = outcome.as_ref().map_err(String::as_str);
            write_outcome(&mut out, style, done, &name, outcome).context(unwritten)?;
            done += 1;
        }
        out.flush().context(unwritten)?;
    }
    write_end(&mut out, style.format).and_then(|()| out.flush()).context(unwritten)?;
    if failed > 0 && done > 1 {
        tell("note", &format!("{failed} of {done} inputs failed"));
    }
    Ok(exit_after(failed, limits))
}

fn is_limit(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(ReadError::is_limit)
}

/// The exit code after this many failures, and this many of them for a limit.
fn exit_after(failed: usize, limits: usize) -> Exit {
    match failed {
        0 => Exit::Done,
        _ if limits == failed => Exit::Limit,
        _ => Exit::SomeFailed,
    }
}

/// The outcome of each job, in order, each in a thread of its own.
fn outcomes(engine: &Engine, jobs: &[Job], args: &PredictArgs) -> Vec<anyhow::Result<Record>> {
    thread::scope(|scope| {
        let started: Vec<_> = jobs.iter().map(|job| scope.spawn(|| predict(engine, job, args))).collect();
        // A decoder that panics on a strange picture costs that picture only.
        let panicked = |_| Err(anyhow!("broke the program; please report it together with the picture"));
        started.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    })
}

fn predict(engine: &Engine, job: &Job, args: &PredictArgs) -> anyhow::Result<Record> {
    let start = Instant::now();
    let bytes = read(&job.input)?;
    let (top, cues) = (args.top as usize, args.cues || job.overlay.is_some());
    // The overlay names the runner-up, whether or not the record does.
    let limits = Limits::default();
    let (frame, prediction) = predicted(engine, &bytes, &limits, start, top.max(2), cues)?;
    if let Some(path) = &job.overlay {
        let whole = if frame.scale() == 1 {
            Cow::Borrowed(&frame)
        } else {
            Cow::Owned(decode(&bytes, &limits, None)?)
        };
        let png = overlay_png(&whole, &prediction, engine.description(), args.marks as usize)?;
        write(path, &png, "overlay")?;
    }
    if let Some(path) = &args.maps {
        write_maps(path, &prediction, args)?;
    }
    Ok(record(job.input.name(), &frame, prediction, top, cues))
}

/// What a picture's bytes show, that were asked for at `start`.
///
/// # Errors
/// [`ReadError`] and [`fieldmark::engine::RunError`].
pub fn predicted(
    engine: &Engine,
    bytes: &[u8],
    limits: &Limits,
    start: Instant,
    top: usize,
    cues: bool,
) -> anyhow::Result<(Frame, Prediction)> {
    let frame = decode(bytes, limits, Some(engine.description().input))?;
    let decode = 1000.0 * start.elapsed().as_secs_f64();
    let mut prediction = engine.predict(&frame, top, cues)?;
    prediction.ms.decode = decode;
    Ok((frame, prediction))
}

fn write_maps(path: &Path, prediction: &Prediction, args: &PredictArgs) -> anyhow::Result<()> {
    write(path, &raw_bytes(prediction.maps.view(), args.maps_type)?, "maps")
}

fn write(path: &Path, bytes: &[u8], what: &str) -> anyhow::Result<()> {
    write_whole(path, bytes).map_err(|error| {
        anyhow!("its {what} cannot be written to {} ({error}); choose another place", path.display())
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn predict_args(line: &str) -> PredictArgs {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Predict(args) => args,
            _ => unreachable!("the line says predict"),
        }
    }

    #[test]
    fn limits_have_their_exit_code_unless_mixed_with_other_failures() {
        assert_eq!(exit_after(0, 0), Exit::Done);
        assert_eq!(exit_after(2, 2), Exit::Limit);
        assert_eq!(exit_after(2, 1), Exit::SomeFailed);
        assert_eq!(exit_after(1, 0), Exit::SomeFailed);
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_what_does() {
        let refusal = |line: &str| {
            let args = predict_args(line);
            check_usage(&args, &expand(&args.inputs).list).err().map(|error| error.0)
        };
        assert_eq!(
            refusal("fieldmark predict m a.jpg - --maps-type f32 --maps b --format csv").unwrap(),
            "--maps writes the maps of one input, got 2; name one picture"
        );
        assert!(refusal("fieldmark predict m a.jpg --format csv --cues").unwrap().contains("--format json"));
        assert!(refusal("fieldmark predict m - a.jpg -").unwrap().contains("write - once"));
        assert_eq!(refusal("fieldmark predict m - a.jpg --format csv --overlay o"), None);
    }
}
