//! The pages, through the program as people run it: what each role sees, that nothing in them is executed, and what a
//! browser makes of them.

mod batches;
mod browser;
mod changes;
mod forms;
mod markup;
#[path = "../receiver/mod.rs"]
mod receiver;
mod signed_in;
mod standing;
mod states;
mod support;
mod webhooks;
