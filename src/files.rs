//! The server's own files: one file is one thing under all its names, and only its owner may read it.

use std::ffi::OsString;
use std::fs::{DirBuilder, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Component, Path, PathBuf};

/// The absolute path of a file or directory without links, `.` or `..`. The last components need not exist; a link
/// to something that does not exist is followed.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::new();
    for component in std::path::absolute(path)?.components() {
        match component {
            Component::CurDir => {}
            // What is resolved so far has no links, so its parent is the directory above.
            Component::ParentDir => _ = resolved.pop(),
            component => {
                resolved.push(component);
                resolved = follow(resolved)?;
            }
        }
    }
    Ok(resolved)
}

/// Whether no user may read a file but its owner and, of a file that root owns, the group: so Kubernetes mounts secrets
/// for a server that is not root. `mode`, `owner` and `user` are those of the file and of this process.
pub(crate) const fn is_private(mode: u32, owner: u32, user: u32) -> bool {
    let others = if owner == 0 && user != 0 { 0o037 } else { 0o077 };
    mode & others == 0
}

/// [`is_private`] for this process.
pub(crate) fn is_private_here(metadata: &Metadata) -> bool {
    let user = rustix::process::geteuid().as_raw();
    is_private(metadata.permissions().mode(), metadata.uid(), user)
}

/// The target of the last component, whose parent is resolved. The system refuses links that lead in a circle.
fn follow(path: PathBuf) -> io::Result<PathBuf> {
    match std::fs::canonicalize(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => match std::fs::read_link(&path) {
            Ok(target) => resolve(&path.parent().unwrap_or(&path).join(target)),
            Err(_) => Ok(path),
        },
        resolved => resolved,
    }
}

/// Whether two names lead to one file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    identity(one).is_some_and(|found| identity(other) == Some(found))
}

/// A name with something behind it.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// How to open a file that, if it is made, its owner alone may read and write.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Lets the owner of a file alone read and write it.
pub(crate) async fn make_private(path: &Path) -> io::Result<()> {
    tokio::fs::set_permissions(path, Permissions::from_mode(0o600)).await
}

/// Makes a directory that its owner alone may enter, and those above it, unless it is there.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_of_root_may_be_for_the_group_of_a_server_that_is_not() {
        let server = 7420;
        for (mode, owner) in [(0o100_600, server), (0o400, server), (0o440, 0), (0o640, 0)] {
            assert!(is_private(mode, owner, server), "{mode:o} of {owner}");
        }
        for (mode, owner) in [(0o640, server), (0o444, 0), (0o660, 0), (0o640, 1000)] {
            assert!(!is_private(mode, owner, server), "{mode:o} of {owner}");
        }
        assert!(!is_private(0o640, 0, 0), "root needs no group");
    }

    #[test]
    fn all_names_of_a_file_resolve_to_one() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(root.join("data/deep")).unwrap();
        fs::write(root.join("data/file"), "x").unwrap();
        symlink(root.join("data/deep"), root.join("deep")).unwrap();
        symlink("data/file", root.join("link")).unwrap();
        symlink("data/new", root.join("dangling")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        for (name, expected) in [
            ("data/file", "data/file"),
            ("link", "data/file"),
            // The directory above a link's target, as for the system.
            ("deep/../file", "data/file"),
            ("data/../no/such/../file", "no/file"),
            ("dangling", "data/new"),
            ("./data/./other", "data/other"),
        ] {
            assert_eq!(resolve(&root.join(name)).unwrap(), root.join(expected), "{name}");
        }
        assert!(resolve(&root.join("circle")).is_err());
        assert!(resolve(&root.join("data/file/below")).is_err(), "a file has nothing below it");
    }
}
