//! Checks of the server, and of the network path to it.

use std::time::{Duration, UNIX_EPOCH};

use tonic::Code;

use super::{Check, Finding};
use crate::cli::connection::Connection;
use crate::cli::remote::Remote;
use crate::cli::text;
use crate::client::Privacy;

/// Clocks that differ by more are reported. `Date` has whole seconds.
const CLOCKS: Duration = Duration::from_secs(3);
/// If the first message of a stream takes longer, something delays it.
const FIRST: Duration = Duration::from_secs(3);
/// A response that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);

pub(super) async fn ready(remote: &Remote) -> Finding {
    match remote.client.health().await {
        Ok(health) if health.is_serving => {
            let took = text::duration(health.took);
            let via = health.via.map(|via| format!(", via {via}")).unwrap_or_default();
            if health.took > SLOW {
                let advice = "the machine, the network or a proxy is overloaded";
                let message = format!("takes new work, but responded only after {took}{via}");
                return Finding::warning(Check::Ready, message, advice);
            }
            Finding::ok(Check::Ready, format!("takes new work (responded in {took}{via})"))
        }
        Ok(_) => Finding::failed(
            Check::Ready,
            "the server responds, but takes no new work",
            "it is stopping, or its store takes no writes: see /readyz and the server's log",
        ),
        Err(error) => {
            let error = format!("{:#}", remote.failed(&error, "reach the server"));
            let advice =
                "start the server, or name it by --server; a proxy must speak HTTP/2 to it";
            Finding::failed(Check::Ready, error, advice)
        }
    }
}

pub(super) async fn access(remote: &Remote) -> Finding {
    match remote.client.list_kinds().await {
        Ok(_) => Finding::ok(
            Check::Access,
            "the credentials permit reading, or the server requires none",
        ),
        Err(error) => {
            let advice = of_credentials(error.code()).unwrap_or("see the server's log");
            Finding::failed(Check::Access, error.message().to_owned(), advice)
        }
    }
}

/// What to change if credentials are the reason of a refusal.
const fn of_credentials(code: Code) -> Option<&'static str> {
    match code {
        Code::Unauthenticated => Some(
            "give valid credentials: --token, --token-file or --client-cert (docs/security.md)",
        ),
        Code::PermissionDenied => Some("use credentials with the role read"),
        _ => None,
    }
}

pub(super) async fn clock(remote: &Remote) -> Finding {
    let date = match remote.client.health().await {
        Ok(health) => health.date.and_then(|date| date_of(&date)),
        Err(_) => None,
    };
    let Some(theirs) = date else {
        return Finding::skipped(Check::Clock, "the response has no Date");
    };
    let ours = text::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A Date is cut to the second.
    let apart = ours.abs_diff(theirs + Duration::from_millis(500));
    let difference = text::duration(apart);
    if apart > CLOCKS {
        let advice = "run a time service (chrony, systemd-timesyncd) on every machine: times of operations, deadlines \
                      and tokens depend on the server's clock";
        return Finding::warning(
            Check::Clock,
            format!("the server's clock differs from this machine's by {difference}"),
            advice,
        );
    }
    Finding::ok(Check::Clock, "the server's clock agrees with this machine's to about a second")
}

/// `Sun, 29 Nov 2026 11:37:38 GMT`, from 1970.
fn date_of(date: &str) -> Option<Duration> {
    httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()
}

pub(super) async fn stream(remote: &Remote, patience: Duration) -> Finding {
    let probe = match remote.client.probe_stream(patience).await {
        Ok(probe) => probe,
        Err(error) if error.code() == Code::DeadlineExceeded => {
            let advice = "a proxy buffers the stream: switch buffering off (docs/proxies.md)";
            return Finding::failed(Check::Watch, "no message of a watch arrives", advice);
        }
        Err(error) => {
            let advice = of_credentials(error.code())
                .unwrap_or("a proxy may not forward HTTP/2 streams (docs/proxies.md)");
            return Finding::failed(Check::Watch, error.message().to_owned(), advice);
        }
    };
    let first = text::duration(probe.first_after);
    if let Some(after) = probe.ended_after {
        let after = text::duration(after);
        let advice = "a proxy may close silent streams: its timeout for reads must be longer than the server's \
                      --heartbeat-interval (docs/proxies.md)";
        let message = format!("a stream was closed after {after} without a message");
        return Finding::failed(Check::Watch, message, advice);
    }
    match probe.heartbeat_after {
        _ if probe.first_after > FIRST => {
            let advice = "a proxy delays the stream: switch buffering off (docs/proxies.md)";
            Finding::warning(Check::Watch, format!("the first message took {first}"), advice)
        }
        Some(after) => {
            let after = text::duration(after);
            Finding::ok(
                Check::Watch,
                format!("the stream arrives at once, and again after {after} of silence"),
            )
        }
        None => {
            let patience = text::duration(patience);
            let advice = "set the server's --heartbeat-interval to less than half of the proxies' idle timeout";
            Finding::warning(Check::Watch, format!("no heartbeat within {patience}"), advice)
        }
    }
}

/// Over TLS, this needs a response: until then nothing is known of the certificate.
pub(super) async fn encryption(
    connection: &Connection,
    remote: &Remote,
    is_reached: bool,
) -> Finding {
    match connection.builder().privacy() {
        Some(Privacy::Encrypted) if !is_reached => {
            Finding::skipped(Check::Tls, "the server does not respond")
        }
        Some(Privacy::Encrypted) => match remote.client.health().await {
            Ok(_) => Finding::ok(
                Check::Tls,
                "the connection is encrypted, and the server's certificate valid",
            ),
            Err(error) => {
                let advice = "name the port that speaks TLS (--tls-listen), and its authorities by --ca (docs/tls.md)";
                let error = format!("{:#}", remote.failed(&error, "connect over TLS"));
                Finding::failed(Check::Tls, error, advice)
            }
        },
        Some(Privacy::Exposed) => Finding::warning(
            Check::Tls,
            "plain HTTP to another machine: inputs, results and credentials can be read on the way",
            "start the server with --tls-listen, or behind a proxy that speaks TLS (docs/tls.md)",
        ),
        Some(Privacy::OnThisMachine) | None => {
            Finding::ok(Check::Tls, "the server is on this machine, so nothing leaves it")
        }
    }
}
