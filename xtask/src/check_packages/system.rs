//! A Debian 12 in a folder, with systemd as its first process, in namespaces of its own: for this machine's processor or,
//! under emulation, for another's.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::boards::{Choice, processor};
use crate::process::{Act, output, run, workspace};
use crate::programs::found;

/// Waits until its users are known, goes into a control group of its own, and starts what comes after.
const ENTER: &str = r#"
    echo here
    read known
    echo $$ > "$1/cgroup.procs"
    shift
    exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup --propagation private \
        sh -ec "$@" < /dev/null > /dev/null
"#;

/// Makes a folder the root of everything, and systemd the first process. Nothing of this machine's can be changed from there: the
/// users are other ones, though of the same numbers, and /sys is read-only.
const START: &str = r#"
    root=$1 emulator=$2
    mount --bind "$root" "$root"
    cd "$root"
    mount -t proc proc proc
    if [ -n "$emulator" ]; then
        mount -t binfmt_misc binfmt_misc proc/sys/fs/binfmt_misc || {
            echo "programs of another processor are started through binfmt_misc of a namespace: Linux 6.7 or later" >&2
            exit 1
        }
        printf %s "$emulator" > proc/sys/fs/binfmt_misc/register
    fi
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    mount -t tmpfs -o mode=755 tmpfs dev
    for device in null zero full random urandom tty; do
        touch dev/$device
        mount --bind /dev/$device dev/$device
    done
    mkdir dev/shm run/before
    ln -s pts/ptmx dev/ptmx
    pivot_root . run/before
    umount --lazy run/before
    # systemd does this but in a container, and brings secrets to services through it.
    mount --make-rshared /
    exec env container=fieldmark /lib/systemd/systemd --unit=basic.target
"#;

/// For systemd to start or to end something, emulated.
const PATIENCE: Duration = Duration::from_mins(5);

/// A running one. It ends when it is dropped; its files stay.
pub struct System {
    /// Its files.
    pub root: PathBuf,
    group: PathBuf,
    /// Whose only child is systemd.
    unshare: Child,
    /// For qemu.
    cpu: &'static str,
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        // Groups are folders whose files cannot be removed and need not be; they go once the last process has gone.
        for _ in 0..50 {
            let mut find = Command::new("find");
            find.arg(&self.group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
            let _ = find.stderr(Stdio::null()).status();
            if !self.group.exists() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
    }
}

impl System {
    /// The one of an architecture, made when it is not there yet.
    ///
    /// # Errors
    /// No debootstrap or namespaces, or a system that does not start.
    pub fn start(architecture: &str) -> Result<System> {
        let (board, bits) = match architecture {
            "arm64" => ("pi4", 64),
            "armhf" => ("pi4", 32),
            "amd64" => ("x86-64", 64),
            _ => bail!("nobody has said how {architecture} is emulated"),
        };
        let choice = Choice { board: board.to_owned(), bits: Some(bits), ..Choice::default() };
        let processor = processor(choice.found()?.1)?;
        let root = workspace()?.target.join("systems").join(architecture);
        if root.exists() {
            return System::boot(root, processor.as_ref());
        }
        let unfinished = root.with_extension("unfinished");
        unpack(architecture, &unfinished)?;
        System::boot(unfinished.clone(), processor.as_ref())?.install_base()?;
        fs::rename(&unfinished, &root).with_context(|| format!("cannot finish {}", root.display()))?;
        System::boot(root, processor.as_ref())
    }

    fn boot(root: PathBuf, processor: Option<&(PathBuf, &'static str)>) -> Result<System> {
        let group = group()?;
        let emulator = processor.map(|(emulator, _)| binfmt(emulator)).transpose()?;
        let cpu = processor.map_or("", |(_, cpu)| *cpu);
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "sh", "-ec", ENTER, "sh"]).arg(&group).args([START, "sh"]).arg(&root);
        unshare.arg(emulator.unwrap_or_default());
        unshare.env_clear().env("PATH", PATH).env("QEMU_CPU", cpu);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
        let unshare = unshare.spawn().context("cannot start unshare, of util-linux")?;
        let mut system = System { root, group, unshare, cpu };
        system
            .introduce()
            .context("no namespace for a system; to make one takes root, and a kernel that lets it")?;
        let start = Instant::now();
        while !matches!(system.state().as_str(), "running" | "degraded") {
            ensure!(start.elapsed() < PATIENCE, "systemd did not start in {}", system.root.display());
            ensure!(system.unshare.try_wait()?.is_none(), "systemd ended in {}", system.root.display());
            sleep(Duration::from_millis(200));
        }
        Ok(system)
    }

    /// Tells the kernel who the users of the new namespace are, and lets it go on.
    fn introduce(&mut self) -> Result<()> {
        let mut line = String::new();
        BufReader::new(self.unshare.stdout.take().context("piped")?).read_line(&mut line)?;
        ensure!(line == "here\n", "unshare ended");
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{map}", self.unshare.id()), "0 0 65536")?;
        }
        Ok(self.unshare.stdin.take().context("piped")?.write_all(b"known\n")?)
    }

    /// What systemd says of itself; nothing before it listens.
    fn state(&self) -> String {
        let state = self.command(&["systemctl", "is-system-running"]).stderr(Stdio::null()).output();
        state.map(|state| String::from_utf8_lossy(&state.stdout).trim().to_owned()).unwrap_or_default()
    }

    /// A program in the system, as its root.
    fn command(&self, words: &[&str]) -> Command {
        let unshare = self.unshare.id().to_string();
        let mut enter = Command::new("nsenter");
        // unshare itself is in all of its namespaces but this one, and systemd takes the place of its root, too.
        enter.arg(format!("--pid=/proc/{unshare}/ns/pid_for_children")).args(["--target", &unshare]);
        enter.args(["--user", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--root", "--"]);
        enter.args(words);
        enter.env_clear().env("PATH", PATH).env("QEMU_CPU", self.cpu);
        enter.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        enter
    }

    /// Runs a program of the system, as its root.
    ///
    /// # Errors
    /// It did not end well.
    pub fn run(&self, words: &[&str]) -> Result<()> {
        run(&mut self.command(words))
    }

    /// The same; returns what it said.
    ///
    /// # Errors
    /// As [`System::run`], and text that is not UTF-8.
    pub fn output(&self, words: &[&str]) -> Result<String> {
        output(&mut self.command(words))
    }

    /// Writes a file of the running system, which may be in its memory.
    ///
    /// # Errors
    /// The system's reason.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let root = format!("/proc/{}/root", self.unshare.id());
        Act::REAL.write(&Path::new(&root).join(path), content)
    }

    /// debootstrap has only unpacked everything; what packages of ours depend on gets to be known to dpkg, too.
    fn install_base(&self) -> Result<()> {
        let is_base = |name: &str| {
            ["libc6_", "libcrypt1_", "libgcc-s1_", "gcc-12-base_"].iter().any(|start| name.starts_with(start))
        };
        let base: Vec<_> = archives(&self.root)?.into_iter().filter(|name| is_base(name)).collect();
        let base: Vec<_> = base.iter().map(|name| format!("/{ARCHIVES}/{name}")).collect();
        let mut words = vec!["dpkg", "--force-depends", "--install"];
        words.extend(base.iter().map(String::as_str));
        self.run(&words)
    }

    /// All files but what dpkg and systemd note for themselves.
    ///
    /// # Errors
    /// No `find`.
    pub fn files(&self) -> Result<Vec<OsString>> {
        let mut find = Command::new("find");
        find.current_dir(&self.root).arg(".");
        for notes in ["./etc/.pwd.lock", "./var/lib/dpkg", "./var/lib/systemd", "./var/log", "./var/tmp"] {
            find.args(["-path", notes, "-prune", "-o"]);
        }
        Ok(output(find.arg("-print"))?.lines().map(OsString::from).collect())
    }
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where debootstrap leaves packages.
const ARCHIVES: &str = "var/cache/apt/archives";

fn archives(root: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(root.join(ARCHIVES)).context("debootstrap left no packages")?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "deb")).collect())
}

/// The smallest Debian with systemd, unpacked. To install it under emulation would take long, and shows nothing of ours.
fn unpack(architecture: &str, root: &Path) -> Result<()> {
    Act::REAL.remove_folder(root)?;
    let mut debootstrap = Command::new(found("debootstrap")?);
    debootstrap.args(["--foreign", "--variant=minbase", "--include=systemd", "--arch", architecture]);
    run(debootstrap.arg("bookworm").arg(root))
        .context("no Debian to try packages in; debootstrap has to be started by root")?;
    for archive in archives(root)? {
        output(Command::new("dpkg-deb").arg("--extract").arg(root.join(ARCHIVES).join(archive)).arg(root))?;
    }
    Ok(())
}

/// A new control group, below the root of all.
fn group() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
    let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = words
        .filter(|words| words.get(2) == Some(&"cgroup2"))
        .find_map(|words| words.get(1).map(PathBuf::from));
    let root = root.context("no control groups (cgroup2) are mounted; systemd needs them")?;
    let group = root.join(format!("fieldmark-check-{}", std::process::id()));
    fs::create_dir_all(&group)
        .with_context(|| format!("cannot make the control group {}; root can", group.display()))?;
    Ok(group)
}

/// What is registered for an emulator, `qemu-aarch64` or `qemu-arm`: the head of the ELF files of its processor, without
/// their system's number, and programs or libraries alike. It is opened now (`F`), as the system does not have it.
fn binfmt(emulator: &Path) -> Result<String> {
    let (bits, machine) = match emulator.file_name().and_then(|name| name.to_str()) {
        Some("qemu-aarch64") => ("02", "b7"),
        Some("qemu-arm") => ("01", "28"),
        _ => bail!("nobody has said what {} runs", emulator.display()),
    };
    let zeros = r"\x00".repeat(9);
    let magic = format!(r"\x7fELF\x{bits}\x01\x01{zeros}\x02\x00\x{machine}\x00");
    let mask = format!(r"{}\x00{}\xfe\xff\xff\xff", r"\xff".repeat(7), r"\xff".repeat(8));
    Ok(format!(":fieldmark:M::{magic}:{mask}:{}:F", emulator.display()))
}
