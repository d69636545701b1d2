//! What can be typed.

use std::ffi::OsString;
#[cfg(all(feature = "serve", unix))]
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use fieldmark::engine::{Device, Engine, Kernels, Options, Precision, read_model};
use fieldmark::kernels::Isa;
use fieldmark::raw::NumberType;
use thiserror::Error;

/// Tells look-alikes apart, and says by which marks.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  some inputs failed, the rest were processed; or results could not be written
  2  wrong usage
  3  the model was refused
  4  the self-test failed
  6  every input that failed was refused because of a limit";

/// The program's verbs.
#[derive(Subcommand)]
pub enum Command {
    /// Name what pictures show, and by which marks
    Predict(PredictArgs),
    /// Show what is inside a model
    Inspect(InspectArgs),
    /// Run a model's self-test on this processor
    Verify(VerifyArgs),
    /// Measure how long this machine takes, stage by stage
    Bench(BenchArgs),
    /// Answer over HTTP: send a picture, get its record
    #[cfg(all(feature = "serve", unix))]
    #[command(after_help = PATHS)]
    Serve(ServeArgs),
}

/// `predict`.
#[derive(Args)]
pub struct PredictArgs {
    /// Model file
    pub model: PathBuf,
    /// Picture file, folder, glob pattern, - for a picture on stdin, or @FILE with a path a line
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    /// How many of the likeliest classes to name
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    pub top: u32,
    /// Show where the marks of the best answer are, and how much each counts
    #[arg(long)]
    pub cues: bool,
    /// Draw the marks of each picture into DIR/<name>.marks.png
    #[arg(long, value_name = "DIR")]
    pub overlay: Option<PathBuf>,
    /// How many of the strongest marks text and overlays show; JSON has all cues
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    pub marks: u32,
    /// How results are written
    #[arg(long, value_enum, default_value_t = RecordFormat::Text)]
    pub format: RecordFormat,
    /// Threads to use [default: one per core]; the results do not depend on it
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Write the class-aligned maps of the one input as a raw tensor
    #[arg(long, value_name = "FILE")]
    pub maps: Option<PathBuf>,
    /// How the maps' values are stored
    #[arg(long, value_enum, default_value_t = NumberType::F32, requires = "maps")]
    pub maps_type: NumberType,
}

/// `inspect`.
#[derive(Args)]
pub struct InspectArgs {
    /// Model file
    pub model: PathBuf,
    /// How results are written
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
    /// Write the model's description as JSON, for programs that have maps but no engine
    #[arg(long, value_name = "FILE")]
    pub description: Option<PathBuf>,
}

/// `verify`.
#[derive(Args)]
pub struct VerifyArgs {
    /// Model file
    pub model: PathBuf,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// How results are written
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

/// `bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Model file
    pub model: PathBuf,
    /// Picture to read, decode and name repeatedly [default: a drawn picture, without decoding]
    pub input: Option<OsString>,
    /// Seconds to measure; several minutes show whether heat slows the machine down
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Threads that share the work on one picture [default: one per core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// How results are written
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

/// What `serve` answers.
#[cfg(all(feature = "serve", unix))]
pub const PATHS: &str = "\
What it answers:
  POST /predict?top=K&cues=true  a picture's bytes: the record of `predict --format jsonl`
  GET /model                     what the model is: the report of `inspect --format json`
  GET /metrics                   counts and times, for Prometheus
  GET /healthz                   the program is alive
  GET /readyz                    there is room for a picture now; else 503

    curl --data-binary @bird.jpg 'http://127.0.0.1:8080/predict?cues=true'

SIGHUP loads the model file again; a file that is refused changes nothing. SIGTERM lets begun requests finish.";

/// `serve`.
#[cfg(all(feature = "serve", unix))]
#[derive(Args)]
pub struct ServeArgs {
    /// Model file
    pub model: PathBuf,
    /// Address or name of this machine, and port; 0.0.0.0 or [::] lets other machines in, and needs a token
    #[arg(long, value_name = "ADDRESS:PORT", env = "FIELDMARK_LISTEN", default_value = "127.0.0.1:8080", value_parser = listen)]
    pub listen: SocketAddr,
    /// File with the secret that requests must send as `Authorization: Bearer SECRET`
    #[arg(long, value_name = "FILE", env = "FIELDMARK_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Pictures that are named at the same time, and threads for each [default: one per core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<u16>,
    /// Further pictures that may wait; the answer to more is 503
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u16).range(..=1024))]
    pub queue: u16,
    /// Largest picture file, in MiB; the answer to a larger one is 413
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = value_parser!(u16).range(1..=256))]
    pub max_body: u16,
    /// Largest picture, in millions of pixels; the answer to a larger one is 413. A PNG may take 12 bytes of memory per pixel
    #[arg(long, value_name = "MP", default_value_t = 24, value_parser = value_parser!(u16).range(1..=64))]
    pub max_pixels: u16,
    /// Seconds that a client may take to send the head, to send the picture, and to read the answer, for each of them
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = value_parser!(u16).range(1..=600))]
    pub timeout: u16,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// What `--threads` takes.
fn threads(text: &str) -> Result<u16, String> {
    let count = text.parse().ok().filter(|count| (1..=256).contains(count));
    count.ok_or_else(|| "expected 1 to 256; leave the option out for one thread per core".to_owned())
}

/// What `--listen` takes: an address or a name of this machine, and a port.
#[cfg(all(feature = "serve", unix))]
fn listen(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok().or_else(|| text.to_socket_addrs().ok()?.next());
    let host = if text.contains(':') && !text.starts_with('[') { "127.0.0.1" } else { text };
    address.ok_or_else(|| format!("expected an address of this machine and a port, as in {host}:8080"))
}

/// How a network is computed.
#[derive(Args, Default)]
pub struct ComputeArgs {
    /// How numbers are computed
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    pub precision: Precision,
    /// What computes the network
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
}

/// How one record a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    /// For people
    Text,
    /// One array of records
    Json,
    /// One record a line
    Jsonl,
    /// One row an answer
    Csv,
}

/// How one report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Text,
    /// One object
    Json,
}

/// What was typed is each allowed, but not together. The message says what to type instead.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The variable that says what computes the convolutions, for tests and comparisons.
const ISA: &str = "FIELDMARK_ISA";

/// How to load a model.
///
/// # Errors
/// [`UsageError`] for a variable `FIELDMARK_ISA` that names nothing there is.
pub fn options(compute: &ComputeArgs, threads: Option<u16>) -> Result<Options, UsageError> {
    let kernels = match std::env::var(ISA).as_deref() {
        Err(_) | Ok("") => Kernels::Best,
        Ok("tract") => Kernels::Tract,
        Ok(name) => Isa::named(name).map(Kernels::Only).ok_or_else(|| {
            let names = Isa::ALL.map(Isa::name).join(", ");
            UsageError(format!("{ISA} is {name:?}; set it to one of {names}, tract, or not at all"))
        })?,
    };
    Ok(Options {
        device: compute.device,
        precision: compute.precision,
        kernels,
        threads: threads.map_or(0, usize::from),
    })
}

/// The model in a file, ready to run.
///
/// # Errors
/// [`UsageError`] as [`options`];
/// [`fieldmark::engine::LoadError`], below the path where the message does not have it.
pub fn load(path: &Path, compute: &ComputeArgs, threads: Option<u16>) -> anyhow::Result<Engine> {
    let options = options(compute, threads)?;
    Engine::from_bytes(read_model(path)?, options).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_thread_at_all_is_refused_with_what_to_type() {
        let error = Cli::try_parse_from(["fieldmark", "predict", "m.onnx", "a.jpg", "--threads", "0"]);
        let error = error.err().unwrap().to_string();
        assert!(error.contains("leave the option out for one thread per core"), "{error}");
    }

    #[cfg(all(feature = "serve", unix))]
    #[test]
    fn an_address_needs_a_port_and_may_be_a_name() {
        assert_eq!(listen("127.0.0.1:80"), Ok(SocketAddr::from(([127, 0, 0, 1], 80))));
        assert!(listen("localhost:8080").unwrap().ip().is_loopback());
        for (text, instead) in [
            ("localhost", "localhost:8080"),
            ("192.168.1.2", "192.168.1.2:8080"),
            ("[::1]", "[::1]:8080"),
            ("::1", "127.0.0.1:8080"),
            ("localhost:port", "127.0.0.1:8080"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.ends_with(&format!("and a port, as in {instead}")), "{text}: {error}");
        }
    }

    #[test]
    fn maps_type_needs_maps_and_counts_start_at_one() {
        for (line, accepted) in [
            ("fieldmark predict m.onnx a.jpg --maps a.raw --maps-type f16", true),
            ("fieldmark predict m.onnx a.jpg --maps-type f16", false),
            ("fieldmark predict m.onnx -", true),
            ("fieldmark predict m.onnx", false),
            ("fieldmark predict m.onnx a.jpg --top 0", false),
            ("fieldmark predict m.onnx a.jpg --threads 0", false),
        ] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).is_ok(), accepted, "{line}");
        }
    }
}
