//! The machine on which doctor runs.

use rustix::process::{Resource, getrlimit};

use super::{Check, Finding};

/// With fewer open files than this, the server can have few connections.
const FEW_FILES: u64 = 8_192;

pub(super) fn files() -> Vec<Finding> {
    let Some(files) = getrlimit(Resource::Nofile).current else {
        return vec![Finding::ok(Check::System, "a process may open any number of files")];
    };
    let message =
        format!("a process of this user may open {files} files; each connection needs one");
    let found = match files < FEW_FILES {
        true => {
            let advice = "raise the limit for the server: LimitNOFILE=65536 in its systemd unit, or ulimit -n 65536";
            Finding::warning(Check::System, message, advice)
        }
        false => Finding::ok(Check::System, message),
    };
    vec![found]
}
