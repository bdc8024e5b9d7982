//! The way to a service of AWS, or to a server that stands in for one: what an address says, the configuration of a client, and its errors.
//! No service is known here.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_sqs::error::SdkError;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use lab_core::event::Grade;

use crate::Error;
use crate::address::shown;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(500);

/// For an emulator whose address names none.
const ANY_REGION: &str = "us-east-1";

/// What an address must be for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// What it begins with: `dynamodb`.
    pub(crate) scheme: &'static str,
    /// `store` or `queue`.
    pub(crate) role: &'static str,
    /// Accepted spellings.
    pub(crate) accepted: &'static str,
}

/// An address, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it may be shown.
    shown: String,
    region: String,
    /// `http://HOST:PORT` of an emulator; None for AWS.
    endpoint: Option<String>,
    prefix: String,
}

/// How a client uses the network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Longest wait for an answer.
    pub(crate) deadline: Duration,
    /// Whether the client ends each call after the deadline; otherwise whoever calls does.
    pub(crate) ends_calls: bool,
    /// Most connections that are kept while nothing uses them.
    pub(crate) idle: usize,
}

impl Place {
    /// Reads `SCHEME://HOST:PORT/PREFIX?region=REGION` (the query may be missing) or `SCHEME:aws:REGION/PREFIX`.
    pub(crate) fn read(address: &str, wanted: Wanted) -> Result<Self, Error> {
        let unread = || Error::Address { address: shown(address), role: wanted.role, accepted: wanted.accepted };
        let rest = address.strip_prefix(wanted.scheme).and_then(|rest| rest.strip_prefix(':')).ok_or_else(unread)?;
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
        // DynamoDB takes names of up to 255 signs, and the tables' own names come behind the prefix.
        if !word(region) || !word(prefix) || prefix.len() > 200 {
            return Err(unread());
        }
        Ok(Self { shown: shown(address), region: region.to_owned(), endpoint, prefix: prefix.to_owned() })
    }

    pub(crate) fn address(&self) -> &str {
        &self.shown
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn is_aws(&self) -> bool {
        self.endpoint.is_none()
    }

    pub(crate) fn fidelity(&self) -> Grade {
        if self.is_aws() { Grade::Real } else { Grade::Compatible }
    }

    /// How long tables and queues may take until they can be used.
    pub(crate) fn ready_within(&self) -> Duration {
        Duration::from_secs(if self.is_aws() { 60 } else { 10 })
    }

    /// For a client that connects when it is first used. It never asks again by itself: that is for whoever calls the store or queue.
    pub(crate) async fn config(&self, limits: Limits) -> SdkConfig {
        let region = Region::new(self.region.clone());
        let mut timeouts = TimeoutConfig::builder().connect_timeout(CONNECT.min(limits.deadline));
        timeouts.set_operation_timeout(limits.ends_calls.then_some(limits.deadline));
        let http = aws_smithy_http_client::Builder::new().pool_max_idle_per_host(limits.idle);
        let config = match &self.endpoint {
            Some(endpoint) => SdkConfig::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .endpoint_url(endpoint)
                // An emulator takes any, but wants some.
                .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                    "lab", "lab", None, None, "emulator",
                )))
                .region(region)
                .http_client(http.build_http()),
            None => {
                let http: SharedHttpClient = http.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
                let shared = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region).http_client(http);
                shared.load().await.into_builder()
            }
        };
        config.retry_config(RetryConfig::disabled()).timeout_config(timeouts.build()).build()
    }

    /// For `map_err`: what the service or the way to it said.
    pub(crate) fn failed<E: StdError + Send + Sync + 'static>(
        &self,
        operation: &'static str,
    ) -> impl Fn(SdkError<E, HttpResponse>) -> Error {
        let unreachable = self.unreachable(operation);
        move |error| match error {
            SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ConstructionFailure(_) => {
                unreachable(Arc::new(error))
            }
            error => Error::engine(operation, error),
        }
    }

    /// That the service is away or does not know us.
    pub(crate) fn unreachable(&self, operation: &'static str) -> impl Fn(Arc<dyn StdError + Send + Sync>) -> Error {
        let address = self.shown.clone();
        let remedy = "start the service there, or correct the address; AWS itself wants credentials in the environment";
        move |source| Error::Unreachable { operation, address: address.clone(), remedy, source }
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Wanted};

    const WANTED: Wanted = Wanted { scheme: "dynamodb", role: "store", accepted: "others" };

    fn read(address: &str) -> Place {
        Place::read(address, WANTED).unwrap()
    }

    #[test]
    fn addresses_are_read() {
        let place = read("dynamodb://127.0.0.1:8000/run-7?region=eu-west-1");
        assert_eq!(place.endpoint.as_deref(), Some("http://127.0.0.1:8000"));
        assert_eq!((place.region.as_str(), place.prefix()), ("eu-west-1", "run-7"));
        assert!(!place.is_aws());
        assert_eq!(read("dynamodb://db:8000/lab").region, "us-east-1");
        let place = read("dynamodb:aws:eu-west-1/run-7");
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
            "sqs:aws:eu-west-1/lab",
        ] {
            let refused = Place::read(address, WANTED).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
