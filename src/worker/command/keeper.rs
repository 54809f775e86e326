//! Ends commands whose supervisor was killed. A command must never run beside the next attempt of its operation, and a
//! process that gets SIGKILL can end nothing itself.
//!
//! The keeper is a small shell process, one for all commands of this process, started with the first of them. It is told
//! of process groups over a pipe. The pipe ends with us, however we end, and the keeper then kills every group that is
//! still running. Processes that have left their group (`setsid`) are out of its reach.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;

/// `+ N` adds a group, `- N` removes it.
const SCRIPT: &str = r#"
groups=' '
while read -r sign group; do
    case $sign in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;; esac ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
"#;

static KEEPER: Mutex<Keeper> = Mutex::new(Keeper { process: None, groups: BTreeSet::new() });

struct Keeper {
    process: Option<Child>,
    groups: BTreeSet<i32>,
}

/// Makes sure that there is a keeper, so that a command that is about to start is kept as soon as it has a process.
pub(super) fn prepare() {
    let mut keeper = keeper();
    if keeper.process.is_none() {
        let started = keeper.start();
        keeper.warn_of(started);
    }
}

/// From now on that group does not outlive this process.
pub(super) fn keep(leader: Pid) {
    let mut keeper = keeper();
    keeper.groups.insert(leader.as_raw_nonzero().get());
    let told = keeper.tell('+', leader);
    keeper.warn_of(told);
}

/// That group may live as long as it likes, or has ended.
pub(super) fn release(leader: Pid) {
    let mut keeper = keeper();
    keeper.groups.remove(&leader.as_raw_nonzero().get());
    let told = keeper.tell('-', leader);
    keeper.warn_of(told);
}

fn keeper() -> MutexGuard<'static, Keeper> {
    KEEPER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    /// Tells the keeper; another one of everything if it has died.
    fn tell(&mut self, sign: char, leader: Pid) -> io::Result<()> {
        let line = format!("{sign} {}\n", leader.as_raw_nonzero());
        let told = self.process.as_mut().is_some_and(|process| write(process, &line).is_ok());
        if told { Ok(()) } else { self.start() }
    }

    fn start(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let process = self.process.insert(start()?);
        let all: String = self.groups.iter().map(|group| format!("+ {group}\n")).collect();
        write(process, &all)
    }

    fn warn_of(&self, done: io::Result<()>) {
        if let Err(error) = done {
            tracing::warn!(%error, "commands would outlive this process if it were killed: nothing can be started to end them");
        }
    }
}

fn write(process: &mut Child, lines: &str) -> io::Result<()> {
    let pipe = process.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
    pipe.write_all(lines.as_bytes())
}

fn start() -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "longrun-keeper"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal that a terminal sends to our group must not end it before us.
        .process_group(0)
        .spawn()
}
