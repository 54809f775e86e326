//! Inputs and results, of any size and to wherever they should go.

use std::io::Write as _;
use std::process::Stdio;

use super::support::{Server, longrun, stderr, stdout};

const MIB: usize = 1 << 20;

#[test]
fn an_input_that_no_message_holds_is_sent_as_it_is_read() {
    let server = Server::start(&["size=wc -c", "keep=cat"]);
    let mut command = server.command(&["submit", "size", "-", "--quiet", "--label", "a=b c"]);
    command.args(["--max-attempts", "2", "--deadline", "1h", "--backoff-jitter", "0.5"]);
    let mut submit = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = submit.stdin.take().unwrap();
    let piece = vec![b'x'; MIB];
    let mut most = 0;
    for _ in 0..200 {
        stdin.write_all(&piece).unwrap();
        most = most.max(resident_kib(submit.id()));
    }
    drop(stdin);
    let output = submit.wait_with_output().unwrap();
    assert!(output.status.success());
    let name = stdout(&output).trim().to_owned();
    assert!(most < 100 << 10, "{most} KiB for 200 MiB");
    let operation = server.json(&["wait", &name]);
    assert_eq!(operation["result"]["text"].as_str().map(str::trim), Some("209715200"));
    assert_eq!(operation["labels"]["a"], "b c");
    assert_eq!(operation["input"]["contentType"], "application/octet-stream");
    let settings = &operation["settings"];
    assert_eq!(settings["deadline"], "3600s");
    assert_eq!(settings["retryPolicy"]["maxAttempts"], 2);
    assert_eq!(settings["retryPolicy"]["jitter"], 0.5);

    // A file, with a type and a key of its own; and back again.
    let file = server.directory.path().join("large");
    let bytes: Vec<u8> = (0..6 * MIB).map(|at| (at % 251) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let input = format!("@{}", file.display());
    let args = ["keep", &input, "-k", "once", "--content-type", "image/png"];
    let name = server.submit(&args);
    assert_eq!(server.submit(&args), name);
    let shown = server.expect(0, &["submit", "keep", &input, "--watch"]);
    assert!(shown.contains("SUCCEEDED"), "{shown}");
    let back = server.directory.path().join("back");
    let answer = server.json(&["input", &name, "-o", back.to_str().unwrap()]);
    assert_eq!(
        (&answer["contentType"], &answer["sizeBytes"]),
        (&"image/png".into(), &bytes.len().into())
    );
    assert!(std::fs::read(&back).unwrap() == bytes);
}

/// How much memory the process has in the machine.
fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

#[test]
fn a_refusal_of_a_large_input_says_what_one_of_a_small_input_says() {
    let server = Server::start(&[]);
    let file = server.directory.path().join("large");
    std::fs::write(&file, vec![0; 5 * MIB]).unwrap();
    let input = format!("@{}", file.display());
    for (flags, said) in [(&["1k"][..], "kind"), (&["k", "--label", "A!=b"], "label")] {
        let refused = server.command(&[&["submit"], flags, &[&input]].concat()).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let small = server.command(&[&["submit"], flags, &["x"]].concat()).output().unwrap();
        let (large, small) = (stderr(&refused), stderr(&small));
        assert!(large.contains(said) && large.contains("INVALID_ARGUMENT"), "{large}\n{small}");
        assert!(small.contains("INVALID_ARGUMENT"), "{small}");
    }
}

#[test]
fn inputs_and_results_are_written_byte_for_byte() {
    let server =
        Server::start(&["upper=tr a-z A-Z", "fail=echo no such device >&2; exit 1", "none=true"]);
    assert_eq!(server.expect(0, &["submit", "upper", "a b", "--result"]), "A B");
    let name = server.submit(&["upper", "a b"]);
    assert_eq!(server.expect(0, &["result", &name, "--wait", "20s"]), "A B");
    assert_eq!(server.expect(0, &["result", &name, "-o", "-"]), "A B");
    assert_eq!(server.expect(0, &["input", &name]), "a b");
    let other = server.submit(&["upper", "@@c"]);
    server.expect(0, &["wait", &name, &other]);
    assert_eq!(server.expect(0, &["input", &name, &other]), "a b@c");
    assert_eq!(server.expect(0, &["result", &name, &other]), "A B@C");
    let file = server.directory.path().join("file");
    server.expect(2, &["result", &name, &other, "-o", file.to_str().unwrap()]);

    let failed = server.command(&["submit", "fail", "--result"]).output().unwrap();
    assert_eq!((failed.status.code(), stdout(&failed)), (Some(3), String::new()));
    assert!(stderr(&failed).contains("FAILED: EXIT_1: no such device"), "{}", stderr(&failed));
    let name = server.submit(&["fail"]);
    server.expect(3, &["wait", &name]);
    let why = server.command(&["result", &name]).output().unwrap();
    assert_eq!(why.status.code(), Some(3));
    assert!(stderr(&why).contains(&format!("{name} FAILED: EXIT_1")), "{}", stderr(&why));
    let nothing = server.command(&["submit", "none", "--result"]).output().unwrap();
    assert_eq!((nothing.status.code(), stdout(&nothing)), (Some(0), String::new()));
    let said = stderr(&nothing);
    assert!(said.ends_with(" SUCCEEDED without a result\n") && !said.contains("error"), "{said}");
    let name = said.split(' ').next().unwrap();
    assert_eq!(server.expect(0, &["result", &other, name, &other]), "@C@C");
    let waiting = server.submit(&["nobody"]);
    server.expect(6, &["result", &waiting, "--wait=200ms"]);
    server.expect(6, &["submit", "nobody", "--result", "--wait=200ms"]);
}

#[test]
fn stdin_that_is_not_asked_for_is_spoken_of() {
    let server = Server::start(&[]);
    let mut submit = server.command(&["submit", "k"]);
    submit.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut submit = submit.spawn().unwrap();
    submit.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
    let output = submit.wait_with_output().unwrap();
    assert!(stderr(&output).contains("`longrun submit k -` reads it"), "{}", stderr(&output));
    let mut silent = server.command(&["submit", "k"]);
    let silent = silent.stdin(Stdio::piped()).output().unwrap();
    assert_eq!(stderr(&silent), "");
}

#[test]
fn a_store_has_its_objects_in_one_place_whatever_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    std::fs::create_dir(root.join("sub")).unwrap();
    std::os::unix::fs::symlink("real.db", root.join("link.db")).unwrap();
    let mut holder = Some(directory);
    let mut name = None;
    for store in ["sqlite:sub/../real.db", "sqlite:link.db", "sqlite:./sub/.././real.db"] {
        let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", store]);
        command.args(["--handler", "large=head -c 3000000 /dev/zero"]).current_dir(&root);
        let mut server = Server::spawned(command, holder.take().unwrap());
        let name = name.get_or_insert_with(|| server.submit(&["large"]));
        server.expect(0, &["wait", name]);
        assert_eq!(server.expect(0, &["result", name]).len(), 3_000_000, "{store}");
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        holder = Some(std::mem::replace(&mut server.directory, tempfile::tempdir().unwrap()));
    }
    let backup = ["store", "backup", "../up.db", "--store", "sqlite:../real.db"];
    let backup = longrun(&backup).current_dir(root.join("sub")).output().unwrap();
    assert!(backup.status.success(), "{}", stderr(&backup));
    assert!(root.join("up.db").exists() && root.join("up.db.objects").exists());
    let copy = ["store", "copy", "sqlite:../up.db", "sqlite:sub/../../copied.db"];
    std::fs::create_dir(root.join("sub/sub")).unwrap();
    let copy = longrun(&copy).current_dir(root.join("sub")).output().unwrap();
    assert!(copy.status.success(), "{}", stderr(&copy));
    assert!(root.join("copied.db").exists());
}
