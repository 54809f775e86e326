//! stub
use super::{Exit, output::Output};
#[derive(clap::Args, Debug)]
pub(super) struct Args {}
pub(super) fn announce(_: &Output) -> anyhow::Result<()> {
    Ok(())
}
pub(super) async fn run(_: Args, _: &Output) -> anyhow::Result<Exit> {
    Ok(Exit::Ok)
}
