//! The flags of metrics-adapter.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use kit::{ServeArgs, ServeError};
use lab_core::unit::Span;

use crate::catalogue::Source;

const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6443);
const PERIOD: Span = Span::from_secs(1);
const WINDOW: Span = Span::from_secs(15);
/// Scrapes that a window must hold, or its beginning and end would be guesses.
const SCRAPES: u64 = 3;

/// Flags of metrics-adapter.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Flags that all services have. What they listen on is plain HTTP with the probes and /metrics.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Address on which the API server reaches external.metrics.k8s.io, over TLS
    #[arg(long, default_value_t = API, value_name = "ADDRESS")]
    pub api_listen: SocketAddr,
    /// The namespace whose metrics these are; no other's are answered
    #[arg(long, value_name = "NAME")]
    pub namespace: String,
    /// Directory with the certificate that the API server checks: tls.crt and tls.key
    #[arg(long, value_name = "PATH")]
    pub tls_dir: PathBuf,
    /// Directory with who may call: requestheader-client-ca-file and requestheader-allowed-names, as the ConfigMap
    /// extension-apiserver-authentication of kube-system has them
    #[arg(long, value_name = "PATH")]
    pub front_proxy_dir: PathBuf,
    /// Where user-service's replicas are: a name with one address for each; may be repeated
    #[arg(long = "user-service", value_name = "HOST:PORT", default_value = "user-service-pods:8080")]
    pub user_service: Vec<String>,
    /// Where message-service's replicas are
    #[arg(long = "message-service", value_name = "HOST:PORT", default_value = "message-service-pods:8080")]
    pub message_service: Vec<String>,
    /// Where the load-generator's replicas are
    #[arg(long = "load-generator", value_name = "HOST:PORT", default_value = "load-generator-pods:8080")]
    pub load_generator: Vec<String>,
    /// Time between two scrapes of a replica
    #[arg(long, default_value_t = PERIOD, value_name = "TIME")]
    pub period: Span,
    /// Time over which a percentile is taken; nothing older than two of these is answered
    #[arg(long, default_value_t = WINDOW, value_name = "TIME")]
    pub window: Span,
}

impl Config {
    /// Refuses flags that do not fit together.
    pub(crate) fn check(&self) -> Result<(), ServeError> {
        if self.period == Span::ZERO || self.window.0 / SCRAPES < self.period.0 {
            let message = format!(
                "a --window of {} must hold {SCRAPES} scrapes and --period is {}; widen the one or shorten the other",
                self.window, self.period
            );
            return Err(ServeError::Config(message));
        }
        Ok(())
    }

    /// The names under which a service's replicas are found.
    pub(crate) fn hosts(&self, source: Source) -> &[String] {
        match source {
            Source::UserService => &self.user_service,
            Source::MessageService => &self.message_service,
            Source::LoadGenerator => &self.load_generator,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        config: Config,
    }

    fn parsed(more: &str) -> Config {
        let line = format!("serve --namespace lab --tls-dir /tls --front-proxy-dir /front{more}");
        Command::try_parse_from(line.split(' ')).expect("valid flags").config
    }

    #[test]
    fn a_target_that_is_given_replaces_the_default() {
        let config = parsed(" --user-service a:1 --user-service b:2");
        assert_eq!(config.hosts(Source::UserService), ["a:1", "b:2"]);
        assert_eq!(config.hosts(Source::LoadGenerator), ["load-generator-pods:8080"]);
    }

    #[test]
    fn a_window_holds_scrapes() {
        assert!(parsed("").check().is_ok());
        assert!(parsed(" --window 3s").check().is_ok());
        assert!(parsed(" --window 2s").check().is_err_and(|error| error.to_string().contains("--period is 1s")));
        assert!(parsed(" --period 0s").check().is_err());
    }
}
