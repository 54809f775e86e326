//! Commands that wait, and whose reader goes away: they end without another event.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::{Server, exit_code};

#[test]
fn what_follows_ends_when_its_reader_is_gone() {
    let server = Server::start(&["shout=cat"]);
    let names = ["a", "b"].map(|input| server.submit(&["shout", input, "--start-in", "1h"]));
    let [one, other] = [names[0].as_str(), names[1].as_str()];
    for (args, is_silent) in [
        (&["watch", one][..], false),
        (&["watch", one, "--json"], false),
        (&["watch", one, other], false),
        (&["watch", "--filter", "kind=shout"], false),
        (&["submit", "shout", "x", "--start-in", "1h", "--watch"], false),
        (&["wait", one], true),
        (&["result", one, "--wait"], true),
        (&["submit", "shout", "x", "--start-in", "1h", "--wait"], true),
    ] {
        let mut child = server.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        if !is_silent {
            assert!(reader.read_line(&mut String::new()).unwrap() > 0, "{args:?}");
            assert_eq!(child.try_wait().unwrap(), None, "{args:?} goes on while it is read");
        }
        drop(reader);
        assert_eq!(exit_code(&mut child), Some(0), "{args:?}");
    }
}

#[test]
fn a_wait_for_a_file_needs_no_reader() {
    let server = Server::start(&["shout=cat"]);
    let name = server.submit(&["shout", "x", "--start-in", "1h"]);
    let file = server.directory.path().join("result").display().to_string();
    let args = ["result", name.as_str(), "--wait", "--output", &file];
    let mut child = server.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    server.expect(0, &["run-now", &name]);
    assert_eq!(exit_code(&mut child), Some(0));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "x");
}
