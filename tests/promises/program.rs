//! Our programs, started as a person starts them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A program of this workspace, built from the sources that the tests were built from.
pub fn program(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // `cargo test` builds a package's programs only for that package's own integration tests.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let tests = std::env::current_exe().expect("this program has a path");
        let folder = tests.ancestors().nth(2).expect("tests are in target/debug/deps");
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--workspace", "--bins", "--target-dir"]);
        build.arg(folder.parent().expect("profiles are in the target folder"));
        build.args(folder.ends_with("release").then_some("--release"));
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
        assert!(built.success(), "the workspace's programs do not build");
        folder.to_owned()
    });
    Command::new(folder.join(name))
}

/// An example of this workspace, built like a program.
pub fn example(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let programs = program("fieldmark");
        let folder = Path::new(programs.get_program()).parent().expect("a folder of programs").to_owned();
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--workspace", "--examples", "--target-dir"]);
        build.arg(folder.parent().expect("profiles are in the target folder"));
        build.args(folder.ends_with("release").then_some("--release"));
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
        assert!(built.success(), "the workspace's examples do not build");
        folder.join("examples")
    });
    Command::new(folder.join(name))
}

/// xtask, in the workspace, whose cargo finds built what was built for the tests.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub fn xtask() -> Command {
    let mut xtask = program("xtask");
    let target = Path::new(xtask.get_program()).ancestors().nth(2).expect("a target folder").to_owned();
    xtask.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target);
    xtask
}

/// What a program that was started with these arguments did.
pub fn run<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> Finished {
    finished(program(name).args(args))
}

/// What a program that was started did.
pub fn finished(command: &mut Command) -> Finished {
    let output = command.output().expect("the program starts");
    Finished { command: format!("{command:?}"), output }
}

/// A program that has ended.
pub struct Finished {
    command: String,
    output: Output,
}

impl Finished {
    /// Stdout of a run that must have ended with `code`; anything else shows all that it said.
    #[track_caller]
    pub fn expect(self, code: i32) -> Finished {
        let Finished { command, output } = &self;
        let (out, err) = (self.out(), self.err());
        assert_eq!(output.status.code(), Some(code), "{command}\nstdout:\n{out}\nstderr:\n{err}");
        self
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// A folder of a few drawn birds of four species.
pub fn birds(folder: &Path) -> PathBuf {
    let birds = folder.join("birds");
    let config = fieldmark_trainer::data::synth::SynthConfig {
        classes: 4,
        per_class_train: 8,
        per_class_test: 3,
        side: 64,
        seed: 5,
    };
    fieldmark_trainer::data::synth::draw_dataset(&birds, &config).unwrap();
    birds
}

/// Arguments that make training take a second.
pub const SHORT: [&str; 10] =
    ["--side", "32", "--stride", "8", "--batch", "4", "--epochs", "2", "--validation", "0.25"];

/// A short run on the birds of `folder`, and its model file.
pub fn trained(folder: &Path) -> (PathBuf, PathBuf) {
    let (birds, trained, model) = (birds(folder), folder.join("run"), folder.join("model.onnx"));
    let train = [OsStr::new("train"), birds.as_ref(), "--out".as_ref(), trained.as_ref()];
    run("fieldmark-trainer", train.into_iter().chain(SHORT.map(OsStr::new))).expect(0);
    let export = [OsStr::new("export"), trained.as_ref(), "--out".as_ref(), model.as_ref()];
    run("fieldmark-trainer", export).expect(0);
    (trained, model)
}
