//! A file system that becomes read-only under the server, as ext4 does after an error of its disk.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::{Setup, require, without, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_becomes_read_only_serves_reads_and_loses_nothing() {
    if without("mounts") || without("loops") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (image, mounted) = (directory.path().join("image"), directory.path().join("mounted"));
    fs::create_dir(&mounted).unwrap();
    let wrapper = words("unshare --mount");
    let what = "root, a loop device and mkfs.ext4 are needed to make a file system fail";
    let make = format!("truncate -s 24M '{0}' && mkfs.ext4 -q -F '{0}'", image.display());
    require(&words("env"), &make, what);
    let mount =
        format!("mount -o loop,errors=remount-ro '{}' '{}'", image.display(), mounted.display());
    require(&wrapper, &mount, what);
    let setup = Setup { wrapper, before: mount, ..Setup::new(&mounted.join("longrun.db")) };
    let server = setup.start();
    let client = server.client();
    let mut taken = Vec::new();
    for number in 0..50 {
        let submission = crate::program::submission(&format!("key-{number}"), 100);
        taken.push(client.submit(submission).await.unwrap());
    }

    fs::write(trigger(&image), "1").unwrap();
    let refused = client.submit(crate::program::submission("after", 10)).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    server.refuses_writes_and_serves_reads(&taken, "store").await;

    // Such a file system is mounted again by whoever looks after it.
    server.kill();
    let server = setup.start();
    server.has_all(&taken).await;
    server.client().submit(crate::program::submission("after", 10)).await.unwrap();
}

/// The file that makes ext4 take its disk for broken.
fn trigger(image: &Path) -> String {
    let listed = Command::new("losetup").arg("-j").arg(image).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let device = listed.split(':').next().unwrap().trim_start_matches("/dev/");
    format!("/sys/fs/ext4/{device}/trigger_fs_error")
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused_at_the_start() {
    if without("mounts") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let wrapper = words("unshare --user --map-root-user --mount");
    let mount = format!("mount -t tmpfs -o ro tmpfs '{}'", path.display());
    require(&wrapper, &mount, "user namespaces with mounts are needed (unshare -Urm)");
    let setup = Setup { wrapper, before: mount, ..Setup::new(&path.join("longrun.db")) };
    let (code, said) = setup.refusal();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("longrun.db") && said.contains("Read-only file system"), "{said}");
}
