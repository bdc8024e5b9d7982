//! Where the tables are: the service itself in a region, or a server that stands in for it. What the address says, and its client.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Config, Credentials, SharedHttpClient};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use lab_core::event::Grade;

use crate::Error;
use crate::address::shown;
use crate::store::{ACCEPTED, Settings};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(500);

/// For an emulator whose address names none.
const ANY_REGION: &str = "us-east-1";

/// An address, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As it may be shown.
    shown: String,
    region: String,
    /// `http://HOST:PORT` of an emulator; None for AWS.
    endpoint: Option<String>,
    prefix: String,
}

impl Place {
    /// Reads `dynamodb://HOST:PORT/PREFIX?region=REGION` (the query may be missing) or `dynamodb:aws:REGION/PREFIX`.
    pub(super) fn read(address: &str) -> Result<Self, Error> {
        let unread = || Error::Address { address: shown(address), role: "store", accepted: ACCEPTED };
        let rest = address.strip_prefix("dynamodb:").ok_or_else(unread)?;
        let (region, endpoint, prefix) = if let Some(rest) = rest.strip_prefix("aws:") {
            let (region, prefix) = rest.split_once('/').ok_or_else(unread)?;
            (region, None, prefix)
        } else {
            let rest = rest.strip_prefix("//").ok_or_else(unread)?;
            let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
            let (host, prefix) = rest.split_once('/').ok_or_else(unread)?;
            let region = match query {
                "" => ANY_REGION,
                query => query.strip_prefix("region=").ok_or_else(unread)?,
            };
            let valid = !host.is_empty() && !host.contains('@');
            (region, Some(valid.then(|| format!("http://{host}")).ok_or_else(unread)?), prefix)
        };
        let word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        // The service takes names of up to 255 signs, and the tables' own names come behind the prefix.
        if !word(region) || !word(prefix) || prefix.len() > 200 {
            return Err(unread());
        }
        Ok(Self { shown: shown(address), region: region.to_owned(), endpoint, prefix: prefix.to_owned() })
    }

    pub(super) fn address(&self) -> &str {
        &self.shown
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn is_aws(&self) -> bool {
        self.endpoint.is_none()
    }

    pub(super) fn fidelity(&self) -> Grade {
        if self.is_aws() { Grade::Real } else { Grade::Compatible }
    }

    /// How long the tables may take until they can be used.
    pub(super) fn ready_within(&self) -> Duration {
        Duration::from_secs(if self.is_aws() { 60 } else { 10 })
    }

    /// A client that connects when it is first used. It never asks again by itself: that is for whoever calls the store.
    pub(super) async fn client(&self, settings: &Settings) -> Client {
        let region = Region::new(self.region.clone());
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT.min(settings.deadline))
            .operation_timeout(settings.deadline)
            .build();
        let http = aws_smithy_http_client::Builder::new().pool_max_idle_per_host(settings.connections);
        let config = match &self.endpoint {
            Some(endpoint) => Config::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .endpoint_url(endpoint)
                // An emulator takes any, but wants some.
                .credentials_provider(Credentials::new("lab", "lab", None, None, "emulator"))
                .region(region)
                .http_client(http.build_http()),
            None => {
                let http: SharedHttpClient = http.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
                let shared = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region).http_client(http);
                Config::from(&shared.load().await).to_builder()
            }
        };
        Client::from_conf(config.retry_config(RetryConfig::disabled()).timeout_config(timeouts).build())
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn addresses_are_read() {
        let place = Place::read("dynamodb://127.0.0.1:8000/run-7?region=eu-west-1").unwrap();
        assert_eq!(place.endpoint.as_deref(), Some("http://127.0.0.1:8000"));
        assert_eq!((place.region.as_str(), place.prefix()), ("eu-west-1", "run-7"));
        assert!(!place.is_aws());
        assert_eq!(Place::read("dynamodb://db:8000/lab").unwrap().region, "us-east-1");
        let place = Place::read("dynamodb:aws:eu-west-1/run-7").unwrap();
        assert_eq!((place.endpoint.as_deref(), place.region.as_str(), place.prefix()), (None, "eu-west-1", "run-7"));
        assert!(place.is_aws());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in [
            "dynamodb:",
            "dynamodb://",
            "dynamodb://host:1",
            "dynamodb://host:1/",
            "dynamodb:///lab",
            "dynamodb://key:secret@host:1/lab",
            "dynamodb://host:1/a/b",
            "dynamodb://host:1/lab?zone=x",
            "dynamodb:aws:eu-west-1",
            "dynamodb:aws:/lab",
            "dynamodb:aws:eu west/lab",
        ] {
            let refused = Place::read(address).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
