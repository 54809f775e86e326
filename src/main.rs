//! The program.
use clap::Parser;
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}
#[derive(clap::Subcommand)]
enum Command {
    Serve {
        #[command(flatten)]
        config: longrun::config::ServeConfig,
    },
}
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Command::Serve { config } = Cli::parse().command;
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let server = longrun::server::Server::bind(config).await?;
    println!("longrun listening on http://{}", server.local_addr());
    let stop = tokio_util::sync::CancellationToken::new();
    let s2 = stop.clone();
    tokio::task::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        s2.cancel();
    });
    println!("{:?}", server.run(stop).await?);
    Ok(())
}
