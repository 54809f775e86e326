//! `longrun store`: stores copied and backed up by the program, looked at before and behind it, and served.

#[path = "../generate/mod.rs"]
mod generate;
#[path = "../postgres_support/mod.rs"]
#[expect(dead_code, reason = "only other tests stop the server")]
mod postgres_support;
#[path = "../receiver/mod.rs"]
mod receiver;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "only other tests stop programs by signals")]
mod support;

mod backup;
mod copy;
mod refusals;
mod served;
mod stored;
mod webhooks;
