//! The project's chores: what CI and people type. It starts programs and links none of them.

mod bare_metal;
mod bench_engine;
mod bench_of_trainer;
mod bench_stages;
mod bench_train;
mod boards;
mod book;
mod build_cuda;
mod check_onnx;
mod check_packages;
mod check_systems;
mod check_weights;
mod ci;
mod dist;
mod measured;
mod no_std;
mod process;
mod programs;
mod python;
mod sanitize;
mod toolchain;
mod train;
mod windows;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build both programs, then make a model: `fieldmark-trainer make` with the words that follow
    #[command(disable_help_flag = true)]
    TrainAndExport(train::Options),
    /// Check exported files with the onnx package and ONNX Runtime
    CheckOnnx {
        /// Model files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Check on real photos that published weights get the normalisation and padding they expect
    CheckWeights,
    /// Measure speed and memory
    #[command(subcommand)]
    Bench(Bench),
    /// Build the trainer for NVIDIA GPUs, without one; with no CUDA installed, from Python's wheels
    BuildCuda(build_cuda::Options),
    /// List the boards, what is built for each, and why
    Boards,
    /// Build the board's program for a board
    Build(boards::Options),
    /// Run all tests: `cargo test --workspace`; with --board those of the runtime, and its program, as on that board
    Test {
        #[command(flatten)]
        boards: boards::TestOptions,
        /// More for `cargo test`
        #[arg(last = true)]
        extra: Vec<OsString>,
    },
    /// Run the kernels' tests under AddressSanitizer (x86-64 Linux)
    Sanitize,
    /// Pack both programs for download: packages, archives, bills of materials, hashes
    Dist(dist::Options),
    /// Install, start and remove packages in a Debian of their architecture, under emulation
    CheckPackages(check_packages::Options),
    /// Check that everything compiles for Windows and macOS
    CheckSystems,
    /// Build the board's core for bare metal
    NoStd,
    /// Name a picture's marks on an emulated microcontroller, and compare
    BareMetal(bare_metal::Options),
    /// Build the book of `docs/` into target/book, and follow its links
    Book(book::Options),
    /// Say where the programs of others are that chores and tests start
    Programs(programs::Options),
    /// Build both programs for Windows, and with --wine run their main job there
    Windows(windows::Options),
    /// Do all that CI does
    Ci(ci::Options),
}

#[derive(Subcommand)]
enum Bench {
    /// Runs of the board's engine on the processor, beside other engines'
    Engine(bench_engine::Options),
    /// Stages of a prediction one by one, and the kernels on numbers below the normal ones
    Stages {
        /// For criterion, like a name to filter by
        #[arg(last = true)]
        extra: Vec<OsString>,
    },
    /// What more classes, larger pictures and several at a time cost the board's engine
    Growth {
        /// For the bench itself, `--help` among them
        #[arg(last = true)]
        extra: Vec<OsString>,
    },
    /// Training steps on the processor, beside PyTorch's
    Train(bench_train::Options),
    /// Pictures decoded and augmented, a CPU-second of one thread
    Input {
        /// For the bench itself, `--help` among them
        #[arg(last = true)]
        extra: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match done(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            error.downcast_ref::<process::Failed>().map_or(ExitCode::FAILURE, process::Failed::exit_code)
        }
    }
}

fn done(command: Command) -> Result<()> {
    match command {
        Command::TrainAndExport(options) => train::train_and_export(&options),
        Command::CheckOnnx { files } => check_onnx::check_onnx(&files),
        Command::CheckWeights => check_weights::check_weights(),
        Command::Bench(Bench::Train(options)) => bench_train::bench_train(&options),
        Command::Bench(Bench::Engine(options)) => bench_engine::bench_engine(&options),
        Command::Bench(Bench::Input { extra }) => bench_of_trainer::bench_of_trainer("input", &extra),
        Command::Bench(Bench::Growth { extra }) => bench_of_trainer::bench_of_trainer("growth", &extra),
        Command::Bench(Bench::Stages { extra }) => bench_stages::bench_stages(&extra),
        Command::BuildCuda(options) => build_cuda::build_cuda(&options),
        Command::Boards => {
            boards::list();
            Ok(())
        }
        Command::Build(options) => boards::build_program(&options),
        Command::Test { boards, .. } if boards::test_boards(&boards)? => Ok(()),
        Command::Test { extra, .. } => {
            process::run(process::cargo().args(["test", "--workspace"]).args(extra))
        }
        Command::Sanitize => sanitize::sanitize(),
        Command::Dist(options) => dist::dist(&options),
        Command::CheckPackages(options) => check_packages::check_packages(&options),
        Command::CheckSystems => check_systems::check_systems(),
        Command::NoStd => no_std::no_std(),
        Command::BareMetal(options) => bare_metal::bare_metal(&options),
        Command::Book(options) => book::book(&options),
        Command::Programs(options) => programs::programs(&options),
        Command::Windows(options) => windows::windows(&options),
        Command::Ci(options) => ci::ci(&options),
    }
}
