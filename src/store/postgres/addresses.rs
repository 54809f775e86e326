//! The addresses of a URL with several hosts, or with a name that has several addresses, one by one.
//!
//! The library tries them in turn and keeps only the last error. If a primary has no free connections and a standby
//! follows it, that error says that the database does not allow writes.

use std::net::IpAddr;

use tokio::net::lookup_host;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};

const PORT: u16 = 5_432;

/// One address of the server.
pub(super) struct Address {
    /// Host and port, for messages.
    pub(super) name: String,
    /// How to connect to it.
    pub(super) config: Config,
}

/// Refuses lists of different lengths, like the library.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let (hosts, pinned) = (config.get_hosts().len(), config.get_hostaddrs().len());
    let (most, ports) = (hosts.max(pinned), config.get_ports().len());
    if hosts > 0 && pinned > 0 && hosts != pinned {
        return Err(format!(
            "it has {hosts} hosts and {pinned} values of hostaddr: one for each host"
        ));
    }
    if ports > 1 && ports != most {
        return Err(format!("it has {most} hosts and {ports} ports: one for all, or one for each"));
    }
    Ok(())
}

/// The addresses in the order of the tries. Hosts whose names cannot be resolved become failures.
pub(super) async fn of(config: &Config, failures: &mut Vec<(String, String)>) -> Vec<Address> {
    let (hosts, pinned, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let mut found = Vec::new();
    for place in 0..hosts.len().max(pinned.len()) {
        let port = ports.get(place).or_else(|| ports.first()).copied().unwrap_or(PORT);
        let host = hosts.get(place);
        let ips: Vec<Option<IpAddr>> = match (host, pinned.get(place)) {
            (_, Some(ip)) => vec![Some(*ip)],
            (Some(Host::Tcp(name)), None) => match lookup_host((name.as_str(), port)).await {
                Ok(ips) => ips.map(|address| Some(address.ip())).collect(),
                Err(error) => {
                    failures.push((format!("{name}:{port}"), error.to_string()));
                    continue;
                }
            },
            _ => vec![None],
        };
        for ip in ips {
            let name = match (host, ip) {
                (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
                (Some(Host::Unix(path)), _) => path.display().to_string(),
                (None, ip) => format!("{}:{port}", ip.map(|ip| ip.to_string()).unwrap_or_default()),
            };
            found.push(Address { name, config: only(config, host, ip, port) });
        }
    }
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut found);
    }
    found
}

/// The errors of the addresses, for messages.
pub(super) fn words(failures: &[(String, String)]) -> String {
    match failures {
        [] => "it has no address".to_owned(),
        [(_, why)] => why.clone(),
        failures => {
            let each: Vec<_> =
                failures.iter().map(|(name, why)| format!("{name}: {why}")).collect();
            each.join("; ")
        }
    }
}

/// The same settings for one address.
fn only(config: &Config, host: Option<&Host>, ip: Option<IpAddr>, port: u16) -> Config {
    let mut one = Config::new();
    match host {
        Some(Host::Tcp(name)) => _ = one.host(name),
        Some(Host::Unix(path)) => _ = one.host_path(path),
        None => {}
    }
    if let Some(ip) = ip {
        one.hostaddr(ip);
    }
    one.port(port);
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(limit) = config.get_connect_timeout() {
        one.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*limit);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs());
    one
}
