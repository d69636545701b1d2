//! `fieldmark-trainer deploy` against a real sshd on loopback, whose sessions live in a folder that stands for a board's home.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::program::{Finished, program, run, trained};

/// A board of the kind that this machine is. Its sshd ends with it.
struct Board {
    folder: TempDir,
    sshd: Child,
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

impl Board {
    /// A board with a trained model beside it on the host; `None` where there is no sshd, which is said.
    fn new() -> Option<Board> {
        let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"].map(Path::new);
        let Some(sshd) = sshd.into_iter().find(|path| path.exists()) else {
            eprintln!("not tested: no sshd; on Debian: apt-get install openssh-server");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("a board ").tempdir().unwrap();
        for name in ["home/bin", "host models"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for key in ["host_key", "user_key"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path().join(key));
            assert!(keygen.status().unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        write_configurations(folder.path(), sshd, port);
        // Where Debian's sshd, started by root, wants an empty folder.
        let _ = fs::create_dir("/run/sshd");
        let mut sshd = Command::new(sshd);
        sshd.args(["-D", "-e", "-f"]).arg(folder.path().join("sshd_config")).stderr(Stdio::piped());
        let mut sshd = sshd.spawn().unwrap();
        let said = BufReader::new(sshd.stderr.take().unwrap());
        let mut said = said.lines().map(Result::unwrap);
        assert!(said.any(|line| line.starts_with("Server listening")), "sshd does not listen");
        // What it says later has to go somewhere.
        std::thread::spawn(move || said.for_each(drop));
        let board = Board { folder, sshd };
        let (_, model) = trained(board.folder.path());
        fs::rename(model, board.model()).unwrap();
        Some(board)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self) -> PathBuf {
        self.path("host models/my birds.onnx")
    }

    /// A file in the board's home.
    fn home(&self, name: &str) -> PathBuf {
        self.path("home").join(name)
    }

    /// A program that the board's scripts find before the system's.
    fn fake(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.home("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `fieldmark-trainer deploy` of the everyday program to a host of the ssh configuration.
    fn deploy(&self, board: &str, host: &str, more: &[&str]) -> Finished {
        let mut args: Vec<OsString> = ["deploy", "--board", board, host].map(OsString::from).into();
        args.extend([self.model().into(), "--ssh-config".into(), self.path("ssh_config").into()]);
        if !more.contains(&"--program") {
            args.extend(["--program".into(), program("fieldmark").get_program().to_owned()]);
        }
        args.extend(more.iter().map(OsString::from));
        run("fieldmark-trainer", args)
    }

    /// A former version, of which nothing may be lost.
    fn with_former_version(&self) {
        fs::create_dir_all(self.home(".local/bin")).unwrap();
        fs::create_dir_all(self.home(".local/share/fieldmark")).unwrap();
        fs::write(self.home(".local/bin/fieldmark"), "former program").unwrap();
        fs::write(self.home(".local/share/fieldmark/my birds.onnx"), "former model").unwrap();
    }

    /// That the former version is all there is.
    #[track_caller]
    fn has_former_version(&self) {
        assert_eq!(fs::read(self.home(".local/bin/fieldmark")).unwrap(), b"former program");
        assert_eq!(fs::read(self.home(".local/share/fieldmark/my birds.onnx")).unwrap(), b"former model");
        self.has_nothing_else(".local/bin", ".local/share/fieldmark");
    }

    #[track_caller]
    fn has_nothing_else(&self, programs: &str, models: &str) {
        assert_eq!(names(&self.home(programs)), ["fieldmark"]);
        assert_eq!(names(&self.home(models)), ["my birds.onnx"]);
        assert!(!self.home(".fieldmark-deploy").exists());
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Of sshd, and of ssh with one host for each kind of trouble.
fn write_configurations(folder: &Path, sshd: &Path, port: u16) {
    let shown = folder.display();
    fs::copy(folder.join("user_key.pub"), folder.join("authorized_keys")).unwrap();
    let server = format!(
        "ListenAddress 127.0.0.1:{port}
HostKey \"{shown}/host_key\"
AuthorizedKeysFile \"{shown}/authorized_keys\"
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
Subsystem sftp /usr/lib/openssh/sftp-server
ForceCommand cd '{shown}/home' && HOME=$PWD PATH=\"$PWD/bin:$PATH\" exec sh -c \"$SSH_ORIGINAL_COMMAND\"
"
    );
    fs::write(folder.join("sshd_config"), &server).unwrap();
    // A variable of the board's own with which the program refuses to load a model.
    fs::write(folder.join("stubborn_config"), server + "SetEnv FIELDMARK_ISA=none\n").unwrap();
    let inetd = |config: &str| format!("{} -i -f '{shown}/{config}'", sshd.display());
    let client = format!(
        "Host board
    Port {port}
Host stubborn
    ProxyCommand {stubborn}
Host breaks-off
    # What is said after the connection is made fits, a program does not.
    ProxyCommand dd bs=1 count=100000 status=none | {board}
Host nobody
    Port 1
Host *
    HostName 127.0.0.1
    HostKeyAlias board
    IdentityFile \"{shown}/user_key\"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile \"{shown}/known_hosts\"
    StrictHostKeyChecking accept-new
    LogLevel ERROR
",
        stubborn = inetd("stubborn_config"),
        board = inetd("sshd_config"),
    );
    fs::write(folder.join("ssh_config"), client).unwrap();
}

#[test]
fn what_is_deployed_runs_there_under_names_with_spaces_and_replaces_what_runs() {
    let Some(board) = Board::new() else { return };
    let places = ["--to", "my programs", "--models-to", "~/my models"];
    let out = board.deploy("x86-64", "board", &places).expect(0).out();
    assert!(out.contains("board has my programs/fieldmark, my models/my birds.onnx"), "{out}");
    board.has_nothing_else("my programs", "my models");

    // The same out of an archive, as released ones are.
    fs::create_dir(board.path("fieldmark-0")).unwrap();
    fs::copy(program("fieldmark").get_program(), board.path("fieldmark-0/fieldmark")).unwrap();
    let archive = board.path("fieldmark-0.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&archive).arg("-C").arg(board.folder.path()).arg("fieldmark-0");
    assert!(tar.status().unwrap().success());
    let more = ["--program", archive.to_str().unwrap()].into_iter().chain(places);
    board.deploy("x86-64", "board", &more.collect::<Vec<_>>()).expect(0);
    board.has_nothing_else("my programs", "my models");

    // A program that runs cannot be written to; it goes on with what it was started from.
    let installed = board.home("my programs/fieldmark");
    let mut running = Command::new(&installed);
    running.arg("predict").arg(board.model()).arg("-").stdin(Stdio::piped());
    let mut running = running.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let err = board.deploy("x86-64", "board", &places).expect(0).err();
    assert!(err.contains("self-tests passed there as here"), "{err}");
    let _ = running.kill();
    let _ = running.wait();
    board.has_nothing_else("my programs", "my models");
    let verify = Command::new(&installed).arg("verify").arg(board.home("my models/my birds.onnx")).output();
    assert!(verify.unwrap().status.success());
}

#[test]
fn whatever_fails_the_board_has_what_it_had() {
    let Some(board) = Board::new() else { return };
    board.with_former_version();
    let refused = |kind: &str, host: &str, more: &[&str], why: &str| {
        let err = board.deploy(kind, host, more).expect(1).err();
        let last = err.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(why), "{host} {more:?}: {err}");
        board.has_former_version();
    };
    refused("x86-64", "nobody", &[], "nobody was not touched: no connection");
    refused("pi4", "board", &[], "a 64-bit system");
    refused("x86-64", "stubborn", &[], "as it was: the new program does not give the models' answers there");

    // A program with the same beginning that no disk holds.
    let huge = board.path("huge");
    fs::copy(program("fieldmark").get_program(), &huge).unwrap();
    fs::OpenOptions::new().write(true).open(&huge).unwrap().set_len(1 << 43).unwrap();
    refused("x86-64", "board", &["--program", huge.to_str().unwrap()], "make room there");
    fs::remove_file(huge).unwrap();

    refused("x86-64", "breaks-off", &[], "as it was: copying failed");
}

#[test]
fn a_version_that_fails_in_its_place_is_taken_back() {
    let Some(board) = Board::new() else { return };
    board.with_former_version();
    // A disk that spoils what it is told to keep.
    board.fake(
        "sync",
        "for file in .local/share/fieldmark/.*.new; do [ ! -e \"$file\" ] || echo spoilt >\"$file\"; done",
    );
    let err = board.deploy("x86-64", "board", &[]).expect(1).err();
    assert!(err.contains("failed its self-test in its place; the previous version is restored"), "{err}");
    board.has_former_version();

    // Where there was nothing, nothing is left.
    for name in [".local/bin/fieldmark", ".local/share/fieldmark/my birds.onnx"] {
        fs::remove_file(board.home(name)).unwrap();
    }
    board.deploy("x86-64", "board", &[]).expect(1);
    for name in [".local/bin", ".local/share/fieldmark"] {
        assert_eq!(names(&board.home(name)), [""; 0]);
    }

    // A folder in the way is found before anything is swapped.
    fs::create_dir(board.home(".local/share/fieldmark/my birds.onnx")).unwrap();
    let err = board.deploy("x86-64", "board", &[]).expect(1).err();
    assert!(err.contains("what was installed is as it was"), "{err}");
    assert_eq!(names(&board.home(".local/bin")), [""; 0]);
}

#[test]
fn a_dry_run_looks_whether_the_program_is_for_the_board() {
    let own = program("fieldmark").get_program().to_owned();
    let dry = |board: &str| {
        let words = ["deploy", "--board", board, "--dry-run", "nobody.invalid", "m.onnx", "--program"];
        run("fieldmark-trainer", words.map(OsString::from).into_iter().chain([own.clone()]))
    };
    let other = if cfg!(target_arch = "aarch64") { "x86-64" } else { "pi4" };
    let err = dry(other).expect(1).err();
    assert!(err.contains("would not start on the board: it is for "), "{err}");
}

#[test]
fn a_dry_run_starts_nothing() {
    let nobody =
        ["deploy", "--board", "x86-64", "--dry-run", "--program", "my-program", "nobody.invalid", "m.onnx"];
    let err = run("fieldmark-trainer", nobody).expect(0).err();
    let commands: Vec<_> = err.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let starts = commands.iter().map(|line| line.split(' ').next().unwrap());
    assert_eq!(starts.collect::<Vec<_>>(), ["ssh", "ssh", "scp", "ssh", "ssh"], "{err}");
}
