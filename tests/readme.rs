//! The tours of the README and of pages of `docs/`, from top to bottom, as a stranger would take them: with an empty
//! home, no variables, and no programs but the system's, the built one and those that the page names. Their commands are
//! run, and print what is said.
//!
//! What differs from run to run is left out of the comparison (ids are matched one to one, times and
//! durations are blanked), everything else must be the same.

use std::collections::HashMap;
use std::env;
use std::fs::{File, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// The longest tour takes about 17 s, of which its handlers sleep 15.
const LONGEST: Duration = Duration::from_secs(40);
/// Where the server of a page listens; the test's listens elsewhere.
const ADDRESS: &str = "127.0.0.1:7420";
/// The same of an API behind it.
const API: &str = "127.0.0.1:9000";
/// A program that tours use, and the variable that may name it.
const PYTHON: (&str, &str) = ("python3", "LONGRUN_PYTHON");
/// Stands behind the output of each command.
const END: &str = "-- end of output --";

/// A command and what it is said to print.
struct Step {
    command: String,
    expected: Vec<String>,
}

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The commands of the `console` blocks, in order.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    let mut in_command = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if !in_block {
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), expected: Vec::new() });
            in_command = command.ends_with('\\');
        } else if in_command {
            let command = &mut steps.last_mut().unwrap().command;
            command.push('\n');
            command.push_str(line);
            in_command = line.ends_with('\\');
        } else {
            let step = steps.last_mut().expect("output stands behind a command");
            step.expected.push(line.to_owned());
        }
    }
    steps
}

/// A process with its output line by line; it ends, with its children, when this is dropped.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.split(b'\n') {
                let text = String::from_utf8(line.unwrap()).unwrap();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self, deadline: Instant, doing: &str) -> String {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("it takes too long:\n{doing}"),
            Err(RecvTimeoutError::Disconnected) => panic!("its output ended:\n{doing}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// `bash` as a stranger has it: an empty home, the system's programs and this one on its path, no variable of whoever
/// runs the tests.
fn bash(directory: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_longrun")).parent().unwrap();
    let own = [program.to_owned(), directory.join("bin")];
    let system = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    let path = env::join_paths(own.into_iter().chain(system)).unwrap();
    let home = directory.join("home");
    std::fs::create_dir_all(&home).unwrap();
    let mut command = Command::new("/bin/bash");
    command.args(["--noprofile", "--norc"]).current_dir(directory);
    command.env_clear().env("PATH", path).env("HOME", home);
    command
}

/// Puts a program where [`bash`] looks for it: the one that `variable` names, or the one on the path.
fn provide(program: &str, variable: &str, directory: &Path) {
    let bin = directory.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = || env::split_paths(&path).map(|folder| folder.join(program));
    let named = env::var_os(variable).map(PathBuf::from);
    let found = named.or_else(|| on_path().find(|file| file.is_file()));
    let found = found.unwrap_or_else(|| panic!("{program} is missing: run tests/run"));
    let found = std::path::absolute(found).unwrap();
    // Not a link: Python looks for its packages beside the program's own path.
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", found.display());
    std::fs::write(bin.join(program), script).unwrap();
    std::fs::set_permissions(bin.join(program), Permissions::from_mode(0o755)).unwrap();
}

/// Saves the files of a page: each block behind a paragraph that says "Save this as `NAME`".
fn save_files(page: &str, names: &Names, directory: &Path) {
    for (before, rest) in page.match_indices("\n```").map(|(at, _)| page.split_at(at)) {
        let paragraph = before.trim_end().rsplit("\n\n").next().unwrap_or_default();
        let Some((_, named)) = paragraph.split_once("Save this as `") else { continue };
        let name = named.split('`').next().unwrap();
        let (_, text) = rest.trim_start().split_once('\n').unwrap();
        let text = text.split("\n```").next().unwrap();
        std::fs::write(directory.join(name), names.translate(&format!("{text}\n"))).unwrap();
    }
}

/// An address that nobody listens at, and that the system gives nobody who asks for any: those begin higher.
fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 9_000) as u16;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// What this run has in place of the README's words.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    /// The README's text in the words of this run.
    fn translate(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    /// Learns the ids and the worker's name where they first appear.
    fn learn(&mut self, expected: &str, actual: &str) {
        let ids = ids(expected).into_iter().zip(ids(actual));
        let worker = worker(expected).zip(worker(actual));
        for (theirs, ours) in ids.chain(worker) {
            let is_taken = self.0.values().any(|known| known == theirs || known == ours);
            if !is_taken {
                self.0.insert(theirs.to_owned(), ours.to_owned());
            }
        }
    }
}

fn ids(line: &str) -> Vec<&str> {
    let is_id = |word: &&str| {
        word.len() == 36
            && word.char_indices().all(|(at, c)| match at {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            })
    };
    line.split(|c: char| c != '-' && !c.is_ascii_alphanumeric()).filter(is_id).collect()
}

fn worker(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("worker ").map(str::trim)
}

/// A line without what the clock decides, and without the widths that follow from it.
fn timeless(line: &str) -> String {
    let is_time = |word: &str| {
        word.contains(':') && word.chars().all(|c| c.is_ascii_digit() || ":-.TZ".contains(c))
    };
    let is_unit = |word: &str| ["ms", "s", "m", "h", "d"].contains(&word);
    let indent = line.len() - line.trim_start().len();
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_matches(|c| "\"(),".contains(c));
        match words.last_mut() {
            _ if is_time(bare) => words.push(word.replace(bare, "<time>")),
            Some(last) if is_unit(bare) && last.chars().any(|c| c.is_ascii_digit()) => {
                let kept = last.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
                *last = format!("{kept}<span>{}", word.trim_start_matches(bare));
            }
            _ => words.push(word.to_owned()),
        }
    }
    let text = words.join(" ");
    let text = text.replace("<span> <span>", "<span>");
    let text = text.replace("<span> ago", "<age>").replace("(now)", "(<age>)");
    format!("{}{text}", " ".repeat(indent))
}

/// Of a watch of `count`, what no reader is too late for: from its third report on. What comes
/// before depends on who was first, the watch or the work.
fn ending(lines: &[String]) -> &[String] {
    let third =
        lines.iter().position(|line| line.contains("\"percent\": 60") || line.contains("60 %"));
    &lines[third.expect("a watch sees the third report")..]
}

fn compare(step: &Step, actual: &[String], names: &mut Names) {
    // The output is the same line by line, so ids are learned from lines at the same place.
    for (expected, actual) in step.expected.iter().zip(actual) {
        names.learn(&names.translate(expected), actual);
    }
    let expected = step.expected.iter().map(|line| timeless(&names.translate(line)));
    let expected: Vec<_> = expected.collect();
    let printed: Vec<_> = actual.iter().map(|line| timeless(line)).collect();
    let said = |what: &str| {
        let (readme, printed) = (expected.join("\n"), actual.join("\n"));
        format!("$ {}\n{what}. The README says:\n{readme}\nIt is:\n{printed}\n", step.command)
    };
    if step.command.contains("--watch") || step.command.contains("AndWatch ") {
        assert_eq!(ending(&printed), ending(&expected), "{}", said("the end of it differs"));
        let known = |line: &String| expected.contains(line) || line.contains(" QUEUED ");
        assert!(printed.iter().all(known), "{}", said("the beginning of it differs"));
    } else {
        assert_eq!(printed, expected, "{}", said("it differs"));
    }
}

/// Takes the tour of a page, which needs these programs, each with the variable that may name it.
fn take_page(page: &str, programs: &[(&str, &str)]) {
    let directory: TempDir = tempfile::tempdir().unwrap();
    for (program, variable) in programs {
        provide(program, variable, directory.path());
    }
    take(&file(page), directory.path());
}

#[test]
fn the_tour_of_the_readme_is_true() {
    take_page("README.md", &[]);
}

#[test]
fn the_tutorial_is_true() {
    take_page("docs/tutorial.md", &[("grpcurl", "GRPCURL")]);
}

#[test]
fn an_api_becomes_asynchronous_as_it_is_shown() {
    take_page("docs/how-to/async-api.md", &[PYTHON]);
}

#[test]
fn workers_are_written_as_it_is_shown() {
    take_page("docs/how-to/worker.md", &[PYTHON]);
}

#[test]
fn batches_are_as_they_are_shown() {
    take_page("docs/batches.md", &[]);
}

#[test]
fn the_dialect_of_the_docs_is_written_as_it_is_shown() {
    let docs = file("docs/dialects.md");
    let directory: TempDir = tempfile::tempdir().unwrap();
    let (_, writing) = docs.split_once("## Writing one").unwrap();
    let (writing, _) = writing.split_once("\n## ").unwrap();
    let blocks = writing.split("```toml\n").skip(1);
    let blocks: Vec<_> = blocks.map(|rest| rest.split("```").next().unwrap()).collect();
    let (mount, dialect) = blocks.split_last().unwrap();
    for (name, text) in
        [("tickets.toml", dialect.join("\n")), ("longrun.toml", (*mount).to_owned())]
    {
        assert_eq!(text, file(&format!("examples/dialects/{name}")), "{name}");
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    take(&docs, directory.path());
}

/// Runs the commands of a document in a place of its own: one is the server, the others are its clients.
fn take(document: &str, directory: &Path) {
    let deadline = Instant::now() + LONGEST;
    let mut tour = steps(document);
    let serve = tour.iter().position(|step| step.command.starts_with("longrun serve"));
    let serve = tour.remove(serve.expect("a server"));
    let mut names = Names::default();
    names.0.insert(API.to_owned(), free_address());
    save_files(document, &names, directory);

    let mut command = bash(directory);
    command.args(["-c", &format!("exec {}", serve.command)]).stdin(Stdio::null());
    command.env("LONGRUN_LISTEN", "127.0.0.1:0");
    command.env("LONGRUN_STORE", format!("sqlite:{}", directory.join("tour.db").display()));
    command.stderr(File::create(directory.join("log")).unwrap());
    let server = Process::start(command);
    let first = server.line(deadline, &serve.command);
    let url = first.strip_prefix("longrun listening on ").expect(&first);
    names.0.insert(ADDRESS.to_owned(), url.trim_start_matches("http://").to_owned());
    compare(&serve, std::slice::from_ref(&first), &mut names);

    let mut command = bash(directory);
    command.stdin(Stdio::piped()).env("LONGRUN_SERVER", url);
    let mut shell = Process::start(command);
    let mut input = shell.child.stdin.take().unwrap();
    for step in &tour {
        // One shell for all, so that variables stay; its input is not the commands' input.
        let line = names.translate(&step.command);
        writeln!(input, "{{ {line}\n}} </dev/null 2>&1\nprintf '\\n%s\\n' '{END}'").unwrap();
        let next = || Some(shell.line(deadline, &line)).filter(|line| line != END);
        let mut actual: Vec<String> = std::iter::from_fn(next).collect();
        // A note that comes only where a worker takes long to begin.
        actual.retain(|line| !line.contains("no worker serves"));
        // The line end before the mark, where the output had one of its own.
        if actual.last().is_some_and(String::is_empty) {
            actual.pop();
        }
        compare(step, &actual, &mut names);
    }
    assert!(tour.len() >= 4, "the tour has become short: {}", tour.len());
}

/// The first command of the README, by the program that `cargo run` would run.
#[test]
fn the_demo_runs_for_a_stranger_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let output = bash(directory.path()).args(["-c", "longrun demo"]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("SUCCEEDED"), "{shown}");
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "the empty home is all that there is: {left:?}");
    assert_eq!(std::fs::read_dir(directory.path().join("home")).unwrap().count(), 0);
}

#[test]
fn the_first_commands_are_named() {
    let readme = file("README.md");
    let blocks: Vec<&str> = readme.split("```sh\n").skip(1).collect();
    for command in ["cargo run -- demo", "tests/run"] {
        let is_named = blocks.iter().any(|block| block.lines().next() == Some(command));
        assert!(is_named, "{command}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(command.starts_with("cargo ") || folder.join(command).is_file(), "{command}");
    }
}

#[test]
fn what_the_clock_decides_is_left_out_and_nothing_else() {
    for (line, kept) in [
        ("  created    2026-11-22T00:15:56Z (now)", "  created <time> (<age>)"),
        ("  purge      2026-11-29T00:15:56Z (in 6 d 23 h)", "  purge <time> (in <span>)"),
        ("  took       6 ms", "  took <span>"),
        ("ID  count  SUCCEEDED  5 s ago  5.0 s", "ID count SUCCEEDED <age> <span>"),
        ("  \"createTime\": \"2026-11-22T00:16:02.186816Z\",", "  \"createTime\": \"<time>\","),
        ("00:16:01  SUCCEEDED   done, after 5.0 s", "<time> SUCCEEDED done, after <span>"),
        ("    \"initialBackoff\": \"1s\",", "    \"initialBackoff\": \"1s\","),
        ("  input      text/plain; charset=utf-8, 5 B", "  input text/plain; charset=utf-8, 5 B"),
    ] {
        assert_eq!(timeless(line), kept);
    }
}
