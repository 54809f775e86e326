//! The threads that use SQLite, and how async callers reach them.
//!
//! SQLite blocks, so it does not run on the runtime's threads. Queues are bounded: when all threads are busy, callers
//! wait. A thread ends when its queue is closed and empty.
//!
//! A read ends when its caller disconnects, even in the middle of a statement. A list also ends when its time is up: it
//! first gets a short time among the others, and then a longer one, where it delays only other slow lists.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::StoreError;
use super::commits::Names;
use super::hold::Hold;
use super::mark;
use super::open::Opened;

/// The maximum number of jobs that wait for a thread.
const QUEUE: usize = 64;
/// A list that takes longer moves to the thread of slow lists.
const QUICK: Duration = Duration::from_millis(250);
/// The approximate number of steps of SQLite's virtual machine between two checks whether a read should go on: a few
/// hundred microseconds.
const STEPS: i32 = 10_000;

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// A request to the writer.
type Write = Box<dyn FnOnce(Result<(&mut Connection, &mut Names), StoreError>) + Send>;

/// The running threads.
pub(super) struct Threads {
    state: Mutex<Option<Running>>,
    /// The time limit of a list.
    list_time: Duration,
    /// Held while closing, so that a second `close` returns only after the first.
    closing: tokio::sync::Mutex<()>,
}

struct Running {
    writes: mpsc::Sender<Write>,
    writer: Worker,
    /// For reads of a few rows by key. Commits wait for some of them.
    lookups: Pool,
    /// For watches that read the log: there may be many of them, and commits must not wait for any.
    logs: Pool,
    /// For quick lists, which nearly all are, and for full scans page by page.
    lists: Pool,
    /// For other lists, so that they delay only each other.
    slow_lists: Pool,
    /// Released last, when no thread has the file open any more.
    hold: Arc<Hold>,
}

/// Threads that take reads from one queue.
struct Pool {
    reads: mpsc::Sender<Read>,
    readers: Vec<Worker>,
}

/// A thread, and the signal of its end.
struct Worker {
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Threads {
    pub(super) fn start(opened: Opened, list_time: Duration) -> io::Result<Self> {
        let Opened { hold, writer, lookups, logs, lists, slow_lists } = opened;
        let hold = Arc::new(hold);
        let lookups = Pool::start("sqlite-lookup", lookups)?;
        let logs = Pool::start("sqlite-log", logs)?;
        let lists = Pool::start("sqlite-list", lists)?;
        let slow_lists = Pool::start("sqlite-slow", slow_lists)?;
        let (writes, queue) = mpsc::channel(QUEUE);
        let held = Arc::clone(&hold);
        let writing = move || write_all(writer, queue, &held);
        let writer = Worker::start("sqlite-write".to_owned(), writing)?;
        let running = Running { writes, writer, lookups, logs, lists, slow_lists, hold };
        let (state, closing) = (Mutex::new(Some(running)), tokio::sync::Mutex::default());
        Ok(Self { state, list_time, closing })
    }

    /// Runs a write after all earlier writes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection, &mut Names) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let writes = self.with(|running| running.writes.clone())?;
        let (answer, answered) = oneshot::channel();
        let job: Write = Box::new(move |writer| {
            let _ = answer.send(writer.and_then(|(connection, names)| job(connection, names)));
        });
        writes.send(job).await.map_err(|_| closed())?;
        drop(writes);
        // Without an answer, the thread died during the write.
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("the writer ended".to_owned())))
    }

    /// Reads a few rows by key.
    pub(super) async fn look_up<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reads = self.with(|running| running.lookups.reads.clone())?;
        read(reads, None, job).await
    }

    /// Reads a page of the log.
    pub(super) async fn log<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reads = self.with(|running| running.logs.reads.clone())?;
        read(reads, None, job).await
    }

    /// Reads a page of a full scan.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reads = self.with(|running| running.lists.reads.clone())?;
        read(reads, None, job).await
    }

    /// Runs a read that may take long, and stops it if it does. It may start twice.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        job: impl Fn(&Connection) -> Result<T, StoreError> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let job = Arc::new(job);
        let (quick, again) = (Arc::clone(&job), job);
        let reads = self.with(|running| running.lists.reads.clone())?;
        match read(reads, Some(QUICK.min(self.list_time)), move |connection| quick(connection))
            .await
        {
            Err(StoreError::TimedOut) => {}
            done => return done,
        }
        let reads = self.with(|running| running.slow_lists.reads.clone())?;
        read(reads, Some(self.list_time), move |connection| again(connection)).await
    }

    /// Whether the files are still there.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let hold = self.with(|running| Arc::clone(&running.hold))?;
        let checked = tokio::task::spawn_blocking(move || hold.check()).await;
        checked.unwrap_or_else(|_| Err(closed()))
    }

    /// Finishes running jobs and ends the threads, readers first: the last connection to close checkpoints the log into
    /// the file, and only the writer may do that.
    pub(super) async fn close(&self) {
        let _closing = self.closing.lock().await;
        let Some(running) = self.take() else { return };
        let Running { writes, mut writer, lookups, logs, lists, slow_lists, hold } = running;
        let pools = [lookups, logs, lists, slow_lists];
        let mut readers: Vec<Worker> = pools.into_iter().flat_map(Pool::close).collect();
        for reader in &mut readers {
            let _ = (&mut reader.ended).await;
        }
        drop(writes);
        let _ = (&mut writer.ended).await;
        join(readers.into_iter().chain([writer]));
        drop(hold);
    }

    fn with<T>(&self, look: impl FnOnce(&Running) -> T) -> Result<T, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().map(look).ok_or_else(closed)
    }

    fn take(&self) -> Option<Running> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(running) = self.take() {
            let Running { writes, writer, lookups, logs, lists, slow_lists, hold } = running;
            join([lookups, logs, lists, slow_lists].into_iter().flat_map(Pool::close));
            drop(writes);
            join([writer]);
            drop(hold);
        }
    }
}

impl Pool {
    fn start(name: &str, connections: Vec<Connection>) -> io::Result<Self> {
        let (reads, queue) = mpsc::channel::<Read>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let readers = connections.into_iter().enumerate().map(|(number, connection)| {
            let queue = Arc::clone(&queue);
            Worker::start(format!("{name}-{number}"), move || serve(connection, &queue))
        });
        Ok(Self { reads, readers: readers.collect::<io::Result<_>>()? })
    }

    /// Accepts no more reads; the threads end when the waiting ones are done.
    fn close(self) -> Vec<Worker> {
        self.readers
    }
}

impl Worker {
    fn start(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name(name).spawn(move || {
            work();
            drop(end);
        })?;
        Ok(Self { thread, ended })
    }
}

fn join(workers: impl IntoIterator<Item = Worker>) {
    for worker in workers {
        // A thread that panicked has reported it itself.
        let _ = worker.thread.join();
    }
}

/// Runs a read on one of the threads, for `limit` at most; it ends at the latest when this future is dropped.
async fn read<T: Send + 'static>(
    reads: mpsc::Sender<Read>,
    limit: Option<Duration>,
    job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, answered) = oneshot::channel();
    let gone = CancellationToken::new();
    let _waiting = gone.clone().drop_guard();
    let job: Read = Box::new(move |connection| {
        if !gone.is_cancelled() {
            let _ = answer.send(read_until(connection, limit, gone, job));
        }
    });
    reads.send(job).await.map_err(|_| closed())?;
    drop(reads);
    answered.await.unwrap_or_else(|_| Err(closed()))
}

fn serve(mut connection: Connection, queue: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        // One idle thread waits for the queue, the others for the lock.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match job {
            Some(job) => job(&mut connection),
            None => return,
        }
    }
}

fn write_all(mut connection: Connection, mut queue: mpsc::Receiver<Write>, hold: &Hold) {
    let mut names = Names::default();
    while let Some(write) = queue.blocking_recv() {
        // A commit to a file that was removed would be lost with it.
        match hold.check() {
            Ok(()) => write(Ok((&mut connection, &mut names))),
            Err(error) => write(Err(error)),
        }
    }
    mark::end(&connection, hold);
}

/// Everything that `job` reads is of one moment. Its statements are stopped after `limit`, or when `gone` returns true.
fn read_until<T>(
    connection: &mut Connection,
    limit: Option<Duration>,
    gone: CancellationToken,
    job: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let is_over =
        move || gone.is_cancelled() || limit.is_some_and(|limit| began.elapsed() >= limit);
    connection.progress_handler(STEPS, Some(is_over)).map_err(super::store_error)?;
    let read = connection.unchecked_transaction().map_err(super::store_error).and_then(|moment| {
        // Ending the transaction takes fewer steps than one check interval.
        job(&moment)
    });
    connection.progress_handler(0, None::<fn() -> bool>).map_err(super::store_error)?;
    read
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

#[cfg(test)]
mod tests;
