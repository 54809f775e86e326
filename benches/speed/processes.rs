//! Servers and loads as processes of their own, and what they cost.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::baseline::Calls;

/// Where the stores of a run are, on the disk that the project is built on: a temporary directory may
/// be in memory, where a sync costs nothing.
pub(crate) fn directory() -> anyhow::Result<tempfile::TempDir> {
    let base = std::env::var_os("LONGRUN_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    std::fs::create_dir_all(&base)?;
    Ok(tempfile::Builder::new().prefix("speed-").tempdir_in(base)?)
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    pub(crate) url: String,
    /// From its start to its being ready.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// `longrun serve` on a store of this directory.
    pub(crate) fn longrun(directory: &Path) -> anyhow::Result<Self> {
        Self::on_store(&format!("sqlite:{}", directory.join("longrun.db").display()))
    }

    /// `longrun serve` on the store at a URL.
    pub(crate) fn on_store(url: &str) -> anyhow::Result<Self> {
        Self::with(url, &[])
    }

    /// The same with more flags.
    pub(crate) fn with(url: &str, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = longrun();
        command.args(["serve", "--listen", "127.0.0.1:0", "--max-outstanding", "10000000"]);
        command.args(["--log", "error", "--store", url]).args(more);
        Self::start(command)
    }

    /// The bare server.
    pub(crate) fn bare(directory: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare-serve").arg(directory);
        Self::start(command)
    }

    fn start(mut command: Command) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("it has no output")?;
        let process = Process(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready_after = began.elapsed();
        let at = line.find("http://").with_context(|| format!("no server: {line:?}"))?;
        Ok(Self { process, url: line[at..].trim().to_owned(), ready_after })
    }

    /// CPU time so far of the threads that it has, to the nanosecond where the system tells.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let process = self.process.0.id();
        let mut spent = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                return Ok(stat(process)?.1);
            };
            let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
            spent += Duration::from_nanos(nanos.unwrap_or(0));
        }
        Ok(spent)
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1_024)
    }

    /// SIGKILL, as a crash: what is left is what a restart finds.
    pub(crate) fn kill(self) {
        drop(self.process);
    }
}

/// One round of load, as it was seen from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    /// Calls or lives per second.
    pub(crate) rate: f64,
    /// Of one of them, in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// The server's CPU time for one of them, in microseconds.
    pub(crate) server_cpu: f64,
    /// The clients' and workers' CPU time for one of them, in microseconds.
    pub(crate) client_cpu: f64,
    /// All that `longrun bench` says.
    pub(crate) report: Value,
}

impl Round {
    /// The CPU time of both sides.
    pub(crate) fn cpu(&self) -> f64 {
        self.server_cpu + self.client_cpu
    }
}

/// The bare clients against the bare server.
pub(crate) fn bare_round(
    server: &Server,
    calls: Calls,
    clients: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let mut command = Command::new(std::env::current_exe()?);
    let (bytes, answer) = match calls {
        Calls::Echo { bytes, answer } => (bytes, answer),
        Calls::Lives => (0, 0),
    };
    let words = [clients, connections(clients), bytes, answer as usize, time.as_millis() as usize];
    command.arg("bare-load").arg(&server.url).args(words.map(|word| word.to_string()));
    let before = server.cpu()?;
    let (output, client_cpu) = output(command)?;
    let server_cpu = server.cpu()? - before;
    let words: Vec<f64> = output.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [count, p50, p99] = words[..] else { bail!("not what was expected: {output:?}") };
    let per = |spent: Duration| spent.as_secs_f64() * 1e6 / count.max(1.0);
    Ok(Round {
        rate: count / time.as_secs_f64(),
        p50: p50 / 1e3,
        p99: p99 / 1e3,
        server_cpu: per(server_cpu),
        client_cpu: per(client_cpu),
        report: Value::Null,
    })
}

/// `longrun bench` against a server; `kind` is the latency of the report that counts.
pub(crate) fn longrun_round(
    server: &Server,
    kind: &str,
    clients: usize,
    time: Duration,
    more: &[&str],
) -> anyhow::Result<Round> {
    let mut command = longrun();
    command.args(["bench", "--json", "--server", &server.url, "--warmup", "0s"]);
    command.args(["--clients", &clients.to_string()]);
    command.args(["--connections", &connections(clients).to_string()]);
    command.args(["--duration", &format!("{}ms", time.as_millis())]).args(more);
    let before = server.cpu()?;
    let (output, client_cpu) = output(command)?;
    let server_cpu = server.cpu()? - before;
    let report: Value = serde_json::from_str(&output)?;
    ensure!(report["failed"] == 0, "something failed: {report}");
    let count = if kind == "submit" { "submits" } else { "lives" };
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let per = |spent: Duration| spent.as_secs_f64() * 1e6 / number(&report[count]).max(1.0);
    Ok(Round {
        rate: number(&report[format!("{count}PerSecond")]),
        p50: number(&report["latencyMs"][kind]["p50"]),
        p99: number(&report["latencyMs"][kind]["p99"]),
        server_cpu: per(server_cpu),
        client_cpu: per(client_cpu),
        report,
    })
}

/// `longrun bench` that goes on beside others until it is dropped.
pub(crate) fn beside(server: &Server, words: &[&str]) -> anyhow::Result<Process> {
    let mut command = longrun();
    command.args(["bench", "--server", &server.url]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Process(command.spawn()?))
}

/// The program as it was built for this run, without the settings of whoever runs it.
fn longrun() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LONGRUN_") {
            command.env_remove(name);
        }
    }
    command
}

fn connections(clients: usize) -> usize {
    clients.min(4)
}

/// What a command prints, and the CPU time that it took.
fn output(mut command: Command) -> anyhow::Result<(String, Duration)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process(command.spawn()?);
    let mut output = String::new();
    process.0.stdout.take().context("it has no output")?.read_to_string(&mut output)?;
    // Until it is waited for, the system still tells what it took.
    while !stat(process.0.id())?.0.starts_with('Z') {
        std::thread::sleep(Duration::from_millis(1));
    }
    let spent = stat(process.0.id())?.1;
    let status = process.0.wait()?;
    ensure!(status.success(), "{command:?} ended with {status}: {output}");
    Ok((output, spent))
}

/// The state of a process and its CPU time, which the system counts in 1/100 s.
fn stat(process: u32) -> anyhow::Result<(String, Duration)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let words: Vec<&str> = behind_name.split_whitespace().collect();
    // User and system time are the 12th and 13th behind the name.
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let state = words.first().copied().unwrap_or_default().to_owned();
    Ok((state, Duration::from_millis((ticks(11) + ticks(12)) * 10)))
}
