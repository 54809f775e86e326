//! The program.
use clap::Parser;
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: longrun::config::ServeConfig,
}
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    tracing_subscriber::fmt().init();
    let server = longrun::server::Server::bind(cli.config).await?;
    eprintln!("listening on {}", server.local_addr());
    let stop = tokio_util::sync::CancellationToken::new();
    let s2 = stop.clone();
    tokio::task::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        s2.cancel();
    });
    println!("{:?}", server.run(stop).await?);
    Ok(())
}
