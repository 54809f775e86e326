//! Terminals: what they get, and how they are left behind.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::support::{Server, exit_code, signal, until_caught};

const LEAVE: &str = "\u{1b}[?1049l";

/// `longrun` at a terminal.
struct Terminal {
    process: Child,
    master: File,
    /// Keeps the terminal after the end of the process.
    slave: File,
    /// Read, but not yet returned.
    unread: String,
}

impl Terminal {
    fn start(mut command: Command, term: &str) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let slave = || File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        let end = || Stdio::from(slave());
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", term).env_remove("NO_COLOR");
        let process = command.spawn().unwrap();
        Self { process, master: File::from(master), slave: slave(), unread: String::new() }
    }

    /// What is written up to the end.
    fn read(self) -> (String, ExitStatus) {
        let Self { mut process, mut master, slave, .. } = self;
        // The other ends are those of the process.
        drop(slave);
        let mut shown = Vec::new();
        let mut piece = [0; 4096];
        // The end is an error of the terminal.
        while let Ok(length @ 1..) = master.read(&mut piece) {
            shown.extend_from_slice(&piece[..length]);
        }
        (String::from_utf8_lossy(&shown).into_owned(), process.wait().unwrap())
    }

    /// What is written up to these words.
    fn read_until(&mut self, words: &str) -> String {
        let mut piece = [0; 4096];
        loop {
            if let Some((shown, unread)) = self.unread.split_once(words) {
                let (shown, unread) = (shown.to_owned(), unread.to_owned());
                self.unread = unread;
                return shown;
            }
            let length = self.master.read(&mut piece).unwrap();
            self.unread.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }

    fn takes_keys(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }
}

fn at_a_terminal(command: Command, term: &str) -> String {
    Terminal::start(command, term).read().0
}

#[test]
fn a_terminal_gets_what_it_can_show() {
    let server = Server::start(&["slow=echo 40% half >&3; sleep 0.5"]);
    let watch = || server.command(&["submit", "slow", "--watch"]);
    let dumb = at_a_terminal(watch(), "dumb");
    assert!(!dumb.contains('\u{1b}') && dumb.contains("40 %"), "{dumb:?}");
    let able = at_a_terminal(watch(), "xterm-256color");
    assert!(able.contains('\u{1b}'), "{able:?}");
    let file = server.directory.path().join("large");
    std::fs::write(&file, vec![0; 20 << 20]).unwrap();
    let input = format!("@{}", file.display());
    let sent = at_a_terminal(server.command(&["submit", "slow", &input]), "xterm-256color");
    assert!(sent.contains("sending") && sent.contains("operations/"), "{sent:?}");
    let sent = at_a_terminal(server.command(&["submit", "slow", &input]), "dumb");
    assert!(!sent.contains("sending"), "{sent:?}");
}

#[test]
fn a_terminal_gets_no_binary_contents_unasked() {
    let server = Server::start(&["binary=printf 'a\\000\\377'", "text=printf 'gr\\303\\274n'"]);
    let (binary, text) = (server.submit(&["binary", "--wait"]), server.submit(&["text", "--wait"]));
    let result = |words: &[&str]| {
        let command = server.command(&[&["result"], words].concat());
        let (shown, status) = Terminal::start(command, "xterm").read();
        (shown, status.code())
    };
    assert_eq!(result(&[&text]), ("gr\u{fc}n".to_owned(), Some(0)));
    let (shown, code) = result(&[&binary]);
    assert_eq!(code, Some(1));
    let way = format!("`longrun result {binary} -o FILE`");
    assert!(shown.contains("binary") && shown.contains(&way) && !shown.contains('\0'), "{shown}");
    let (shown, code) = result(&[&binary, "-o", "-"]);
    assert!(shown.starts_with("a\0") && code == Some(0), "{shown:?}");
    // Elsewhere they go as they are.
    let piped = server.command(&["result", &binary]).output().unwrap();
    assert_eq!(piped.stdout, b"a\0\xff");
}

#[test]
fn top_ends_by_a_key_and_leaves_the_terminal_as_it_was() {
    let server = Server::start(&[]);
    let top = |flags: &[&str]| {
        let command = server.command(&[&["top", "--interval", "100ms"], flags].concat());
        let mut top = Terminal::start(command, "xterm");
        top.read_until("queued");
        top
    };
    let ends = |mut top: Terminal, code: i32| {
        let shown = top.read_until(LEAVE);
        assert_eq!(exit_code(&mut top.process), Some(code), "{shown}");
        assert!(!top.takes_keys());
    };
    for key in [&b"q"[..], b"Q", b"\x1b"] {
        let mut top = top(&[]);
        // An arrow is no Escape.
        top.master.write_all(b"\x1b[Aj").unwrap();
        // The keys are read between the second and the third frame at the latest.
        (0..3).for_each(|_| drop(top.read_until("queued")));
        assert!(top.takes_keys());
        top.master.write_all(key).unwrap();
        ends(top, 0);
    }
    // Ctrl-Z gives the terminal back until the program goes on.
    let mut stopped = top(&[]);
    let pid = Pid::from_child(&stopped.process);
    signal(&stopped.process, Signal::TSTP);
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped() && !stopped.takes_keys());
    stopped.read_until(LEAVE);
    signal(&stopped.process, Signal::CONT);
    stopped.read_until("queued");
    assert!(stopped.takes_keys());
    stopped.master.write_all(b"q").unwrap();
    ends(stopped, 0);
    let interrupted = top(&[]);
    until_caught(&interrupted.process);
    signal(&interrupted.process, Signal::INT);
    ends(interrupted, 130);
    ends(top(&["--frames", "3"]), 0);
    ends(top(&["--filter", "kind="]), 1);
}
