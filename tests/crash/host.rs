//! The server as a program of its own, started on one store and killed without warning.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, ensure};

/// Ports from which no system takes the ports of outgoing connections: a client that dials while
/// the server is down could otherwise be given its port.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Something that serves at one URL, and can die and come back.
pub trait Host {
    /// Where.
    fn url(&self) -> String;

    /// Starts it, on what the last one left. Returns when it answers.
    async fn start(&mut self) -> anyhow::Result<()>;

    /// Ends it at once.
    async fn kill(&mut self) -> anyhow::Result<()>;
}

/// The real program.
pub struct ServerProcess {
    port: u16,
    store: String,
    child: Option<Child>,
}

impl ServerProcess {
    /// On the store at that URL.
    pub fn new(port: u16, store: String) -> Self {
        Self { port, store, child: None }
    }
}

impl Host for ServerProcess {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_longrun"))
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--store", &self.store])
            // The shortest, so that lost leases happen all the time.
            .args(["--lease-duration", "1s"])
            .args(["--max-stream-age", "2s", "--heartbeat-interval", "1s"])
            // Lost workers are no news here.
            .env("LONGRUN_LOG", std::env::var("LONGRUN_LOG").unwrap_or_else(|_| "error".to_owned()))
            .stdout(Stdio::piped())
            .spawn()
            .context("the server cannot be started")?;
        let stdout = child.stdout.take().context("the server has no output")?;
        self.child = Some(child);
        let first_line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = first_line.await??;
        ensure!(
            line.trim_end() == format!("longrun listening on {}", self.url()),
            "the server said {line:?} instead of where it listens"
        );
        Ok(())
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("the server ended by itself: {status}");
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Nothing is left to be told of a failure.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that is free now, that nobody is given by chance later, and that is not given twice here.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(fastrand::u16(..)));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start))
        .map(|offset| PORTS.start + offset)
        .find(is_free)
        .expect("the search has no end")
}
