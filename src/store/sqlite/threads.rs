//! The threads that talk to SQLite, and how async callers talk to them.
//!
//! SQLite blocks, so it is kept off the runtime's threads. Queues are bounded: when all threads are
//! busy, callers wait. A thread ends when its queue is closed and empty.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::super::StoreError;
use super::commits::Names;
use super::hold::Hold;
use super::mark;
use super::open::Opened;

/// Jobs that may wait for a thread.
const QUEUE: usize = 64;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// What the writer is asked to do.
type Write = Box<dyn FnOnce(Result<(&mut Connection, &mut Names), StoreError>) + Send>;

/// The running threads.
pub(super) struct Threads {
    state: Mutex<Option<Running>>,
    /// Held by whoever closes, so that a second `close` returns only when the first has.
    closing: tokio::sync::Mutex<()>,
}

struct Running {
    writes: mpsc::Sender<Write>,
    writer: Worker,
    /// For reads of a few rows by key. Commits wait for some of these.
    lookups: Pool,
    /// For reads that may take long, so that they keep nobody but each other waiting.
    lists: Pool,
    /// Given back last of all, when no thread has the file any more.
    hold: Arc<Hold>,
}

/// Threads that take reads from one queue.
struct Pool {
    reads: mpsc::Sender<Read>,
    readers: Vec<Worker>,
}

/// A thread and the news of its end.
struct Worker {
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Threads {
    pub(super) fn start(opened: Opened) -> io::Result<Self> {
        let Opened { hold, writer, lookups, lists } = opened;
        let hold = Arc::new(hold);
        let lookups = Pool::start("sqlite-lookup", lookups)?;
        let lists = Pool::start("sqlite-list", lists)?;
        let (writes, queue) = mpsc::channel(QUEUE);
        let held = Arc::clone(&hold);
        let writing = move || write_all(writer, queue, &held);
        let writer = Worker::start("sqlite-write".to_owned(), writing)?;
        let running = Running { writes, writer, lookups, lists, hold };
        Ok(Self { state: Mutex::new(Some(running)), closing: tokio::sync::Mutex::default() })
    }

    /// Writes, behind all writes before.
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
        // Without an answer the thread died in the middle of it.
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("the writer ended".to_owned())))
    }

    /// A read of a few rows by key.
    pub(super) async fn look_up<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reads = self.with(|running| running.lookups.reads.clone())?;
        Self::read(reads, job).await
    }

    /// A read that may take long.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reads = self.with(|running| running.lists.reads.clone())?;
        Self::read(reads, job).await
    }

    async fn read<T: Send + 'static>(
        reads: mpsc::Sender<Read>,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Read = Box::new(move |connection| {
            // Nobody is waiting any more when the caller gave up: then the work is spared.
            if !answer.is_closed() {
                let _ = answer.send(in_transaction(connection, job));
            }
        });
        reads.send(job).await.map_err(|_| closed())?;
        drop(reads);
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Whether the files are still there.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let hold = self.with(|running| Arc::clone(&running.hold))?;
        let checked = tokio::task::spawn_blocking(move || hold.check()).await;
        checked.unwrap_or_else(|_| Err(closed()))
    }

    /// Lets what is under way finish and ends the threads, readers first: the last connection to
    /// go folds the log into the file, and only the writer may.
    pub(super) async fn close(&self) {
        let _closing = self.closing.lock().await;
        let Some(running) = self.take() else { return };
        let Running { writes, mut writer, lookups, lists, hold } = running;
        let mut readers = lookups.close();
        readers.extend(lists.close());
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
        if let Some(Running { writes, writer, lookups, lists, hold }) = self.take() {
            join(lookups.close().into_iter().chain(lists.close()));
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
            Worker::start(format!("{name}-{number}"), move || serve(&connection, &queue))
        });
        Ok(Self { reads, readers: readers.collect::<io::Result<_>>()? })
    }

    /// Takes no more reads; the threads end when those that wait are done.
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
        // A thread that panicked has said so itself.
        let _ = worker.thread.join();
    }
}

fn serve(connection: &Connection, queue: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        // One idle thread waits in the queue, the others for their turn to.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match job {
            Some(job) => job(connection),
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

/// All that `job` reads is of one moment.
fn in_transaction<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let moment = connection.unchecked_transaction().map_err(super::store_error)?;
    job(&moment)
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}
