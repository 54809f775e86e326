//! The guarantees in the real world: the program as it is shipped, on storage that fills up, becomes
//! read-only, is locked by others, was damaged, or is taken away; with workers that are stopped and come back, that
//! join and leave by the thousand; with clients that read nothing; out of file descriptors; over connections that are cut at every stage.
//!
//! For each: what the client sees, and that nothing acknowledged is lost. `tests/crash` kills the server
//! under load, `tests/simulation` plays what no real machine can be made to do (clocks that jump, commits of unknown
//! outcome).
//!
//! Two tests mount file systems of their own. Where that is not allowed they fail and say what is missing;
//! `LONGRUN_TORTURE_WITHOUT=mounts` does without them, `LONGRUN_TORTURE_WITHOUT=loops` without the one that needs
//! root and a loop device.
//!
//! | variable | means | default |
//! | --- | --- | --- |
//! | `LONGRUN_TORTURE_WORKERS` | how many workers join and leave | 1000 |
//! | `LONGRUN_TORTURE_UNREAD` | how many clients read nothing | 1000 |
//! | `LONGRUN_TORTURE_CUTS` | after how many numbers of bytes connections are cut, each way | 24 |
//!
//! At length: `LONGRUN_TORTURE_WORKERS=20000 LONGRUN_TORTURE_CUTS=2000 cargo test --release --test torture`.

mod apart;
mod crowd;
mod damage;
mod full_disk;
mod locked;
mod names;
mod program;
mod proxy;
mod read_only;
mod removed;
mod sockets;
mod stopped_worker;
