//! Listeners, the server's host names, and the sites whose pages may call.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::DEFAULT_PORT;
use crate::operation::Kind;

/// Where to listen, and what the address looks like from outside.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Address")]
pub struct Listen {
    /// Address to listen on; port 0 is any free port, which the first line of output names
    #[arg(long = "listen", value_name = "HOST:PORT", env = "LONGRUN_LISTEN", value_parser = address, default_value_t = Listen::default().addr)]
    pub addr: SocketAddr,
    /// Listen at --tls-listen and --listen-unix only
    #[arg(long, env = "LONGRUN_NO_PLAIN")]
    pub no_plain: bool,
    /// Unix socket to listen on as well, for this user only (mode 0600); replaces the socket of a dead server
    #[arg(long = "listen-unix", value_name = "PATH", env = "LONGRUN_LISTEN_UNIX", value_parser = socket_path)]
    pub unix: Option<PathBuf>,
    /// Listen on other than loopback addresses although callers need no credentials
    #[arg(long, env = "LONGRUN_INSECURE")]
    pub insecure: bool,
    /// URL under which clients reach this server, for links in responses; by default the host of each request
    #[arg(long, value_name = "URL", env = "LONGRUN_PUBLIC_URL", value_parser = public_url)]
    pub public_url: Option<String>,
    /// Host name that a server on a loopback address accepts over HTTP/1, beside localhost, addresses and the host of
    /// --public-url; * for any; repeatable (the variable: separated by commas)
    #[arg(long = "allowed-host", value_name = "HOST", env = "LONGRUN_ALLOWED_HOSTS", value_delimiter = ',', value_parser = host)]
    pub allowed_hosts: Vec<String>,
}

/// The sites whose pages may call.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Browsers")]
pub struct Browsers {
    /// Site whose pages may use the HTTP interface and gRPC-Web, e.g. `https://app.example.com`, * for all; repeatable
    /// (the variable: separated by commas)
    #[arg(long = "cors-origin", value_name = "ORIGIN", env = "LONGRUN_CORS_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<String>,
    /// Whether people get pages in a browser, at / and under /ui/; by default they do where all addresses are loopback ones
    /// and no relay or dialect of the configuration file is there
    #[arg(long, value_name = "WHETHER", env = "LONGRUN_PAGES", value_enum)]
    pub pages: Option<ShowPages>,
    /// JSON Schema of the inputs of a kind: the page that starts an operation has a form with a field for each property;
    /// read at the start, at most 1 MiB; repeatable (the variable: separated by commas)
    #[arg(long = "input-schema", value_name = "KIND=FILE", env = "LONGRUN_INPUT_SCHEMAS", value_delimiter = ',', value_parser = input_schema)]
    pub input_schemas: Vec<SchemaFile>,
}

/// The file with the schema of a kind's inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFile {
    /// The kind.
    pub kind: Kind,
    /// The file.
    pub path: PathBuf,
}

fn input_schema(text: &str) -> Result<SchemaFile, String> {
    let rule = "must be a kind and a file, e.g. report.build=schemas/report.json";
    let (kind, path) = text.split_once('=').ok_or(rule)?;
    let kind = Kind::parse(kind.trim()).map_err(|wrong| format!("{rule}; the kind {wrong}"))?;
    match path.trim() {
        "" => Err(rule.to_owned()),
        path => Ok(SchemaFile { kind, path: path.into() }),
    }
}

/// Whether there are pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShowPages {
    /// There are.
    On,
    /// There are none.
    Off,
}

impl Default for Listen {
    fn default() -> Self {
        let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT);
        Self {
            addr,
            no_plain: false,
            unix: None,
            insecure: false,
            public_url: None,
            allowed_hosts: Vec::new(),
        }
    }
}

/// Parses an address; `localhost` is 127.0.0.1, so that binding needs no name service.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| "must be an IP address and a port, e.g. 127.0.0.1:7420".to_owned())
}

/// Parses the path of a Unix socket, whose length the system limits.
fn socket_path(text: &str) -> Result<PathBuf, String> {
    // Linux has 108 bytes including the final zero, other systems 104.
    const MAX_BYTES: usize = 103;
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if path.is_empty() || path.len() > MAX_BYTES || path.contains('\0') {
        return Err(format!("must be a path of at most {MAX_BYTES} bytes, e.g. /run/longrun.sock"));
    }
    Ok(Path::new(path).to_owned())
}

/// Parses a URL of this server; removes a trailing slash.
fn public_url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text
        .parse()
        .map_err(|error| format!("must be a URL such as https://jobs.example.com ({error})"))?;
    let plain = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
    if plain && uri.host().is_some_and(|host| !host.is_empty()) {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("must be a URL such as https://jobs.example.com".to_owned())
    }
}

/// Parses a host without a port, or `*`.
fn host(text: &str) -> Result<String, String> {
    let authority = text.parse::<http::uri::Authority>().ok();
    if text == "*" || authority.is_some_and(|authority| authority.host() == text) {
        Ok(text.to_owned())
    } else {
        Err("must be a host such as jobs.example.com, without a port, or *".to_owned())
    }
}

/// Parses an origin as browsers write it, or `*`.
fn origin(text: &str) -> Result<String, String> {
    let origin = text.trim().trim_end_matches('/').to_ascii_lowercase();
    let uri = origin.parse::<http::Uri>().ok();
    let is_origin = uri.and_then(|uri| {
        // Only these two parts: no path, no query, no user.
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        Some(!authority.as_str().contains('@') && origin == format!("{scheme}://{authority}"))
    });
    if origin == "*" || is_origin == Some(true) {
        Ok(origin)
    } else {
        Err("must be an origin such as https://app.example.com, or *".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    #[test]
    fn localhost_needs_no_name_service() {
        assert_eq!(parse(&["--listen", "localhost:0"]).listen.addr.to_string(), "127.0.0.1:0");
    }

    #[test]
    fn origins_are_taken_as_browsers_write_them() {
        let flags =
            ["--cors-origin", "https://App.example.com/", "--cors-origin", "http://[::1]:80,*"];
        let expected = ["https://app.example.com", "http://[::1]:80", "*"];
        assert_eq!(parse(&flags).browsers.cors_origins, expected);
        for bad in ["app.example.com", "https://a/b", "https://a?b", "https://u@a", "", "https://"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_and_hosts_are_read() {
        assert!(public_url("https://jobs.example.com/").is_ok_and(|url| !url.ends_with('/')));
        assert!(public_url("jobs.example.com").is_err());
        assert!(host("jobs.example.com").is_ok() && host("*").is_ok());
        assert!(host("a:1").is_err() && host("u@a").is_err() && host("").is_err());
    }
}
