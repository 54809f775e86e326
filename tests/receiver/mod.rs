//! A receiver of webhooks that answers each request with one status, in a thread of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

/// The text of each answer, which means harm.
pub const ANSWER: &str = "<b>no</b>\u{202e}";

/// A message as it arrived: `webhook-id`, and the body.
pub type Message = (String, String);

/// A receiver. Its thread ends with the process.
pub struct Receiver {
    pub url: String,
    /// The status of the next answers.
    pub status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<Message>>>,
}

impl Receiver {
    pub fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (status, got) = (Arc::new(AtomicU16::new(status)), Arc::<Mutex<Vec<_>>>::default());
        let receiver = Self { url, status: Arc::clone(&status), got: Arc::clone(&got) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(message) = read(&stream) else { continue };
                got.lock().unwrap().push(message);
                let (status, length) = (status.load(Ordering::SeqCst), ANSWER.len());
                let answer =
                    format!("HTTP/1.1 {status} A\r\ncontent-length: {length}\r\n\r\n{ANSWER}");
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        receiver
    }

    pub fn got(&self) -> Vec<Message> {
        self.got.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Message> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length, mut id) = (String::new(), 0, String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "webhook-id" => id = value.trim().to_owned(),
            _ => {}
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((id, String::from_utf8(body).ok()?))
}
