//! The control API of one load-generator, as a client. Every call has a deadline; samples come as a stream that mends itself.

mod samples;

use std::error::Error;
use std::time::Duration;

use futures_util::Stream;
use lab_core::control::{LoadChange, LoadPlan, Refusal, Sample, Status, Targets};
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::{EnvError, GeneratorAddress};

/// Deadline of a call that only looks or changes a number.
const CALL: Duration = Duration::from_secs(2);
/// Deadline of a call that carries a plan: a recorded trace can be megabytes.
const PLAN: Duration = Duration::from_secs(10);

/// A generator that can be told what to do.
#[derive(Debug, Clone)]
pub struct GeneratorClient {
    replica: String,
    url: String,
    token: SecretString,
    http: Client,
}

/// The generator said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it answered {status}: {error}")]
struct Refused {
    status: u16,
    error: String,
}

impl GeneratorClient {
    /// A client for one generator; nothing is sent yet.
    ///
    /// # Errors
    /// The system's resources for HTTP cannot be had.
    pub fn new(address: &GeneratorAddress) -> Result<Self, EnvError> {
        let replica = address.replica.clone();
        // A proxy of the user's environment must never see control calls or their token.
        let http = Client::builder().no_proxy().connect_timeout(CALL).tcp_nodelay(true).build();
        let http = http.map_err(|error| failed(&replica, "get a client", error))?;
        Ok(Self { replica, url: address.url.clone(), token: address.token.clone(), http })
    }

    /// The generator's replica.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// `GET /load`: what it does, and its clock. Any call renews the generator's lease.
    ///
    /// # Errors
    /// It did not answer within 2 s, or not with a status.
    pub async fn status(&self) -> Result<Status, EnvError> {
        let response = self.send("tell its status", CALL, self.request(Method::GET, "/load")).await?;
        response.json().await.map_err(|error| failed(&self.replica, "tell its status", error))
    }

    /// `PUT /load`: gives it a plan.
    ///
    /// # Errors
    /// It refused, or did not answer within 10 s.
    pub async fn put_load(&self, plan: &LoadPlan) -> Result<(), EnvError> {
        self.tell("take its plan", PLAN, Method::PUT, "/load", plan).await
    }

    /// `PATCH /load`: changes what it sends.
    ///
    /// # Errors
    /// It refused, or did not answer within 2 s.
    pub async fn change(&self, change: &LoadChange) -> Result<(), EnvError> {
        self.tell("change its load", CALL, Method::PATCH, "/load", change).await
    }

    /// `DELETE /load`: nothing more becomes due; what is in flight is finished.
    ///
    /// # Errors
    /// It refused, or did not answer within 2 s.
    pub async fn delete(&self) -> Result<(), EnvError> {
        self.send("stop its load", CALL, self.request(Method::DELETE, "/load")).await.map(drop)
    }

    /// `PUT /targets`: the only addresses it may call.
    ///
    /// # Errors
    /// It refused, or did not answer within 2 s.
    pub async fn put_targets(&self, targets: &Targets) -> Result<(), EnvError> {
        self.tell("take its targets", CALL, Method::PUT, "/targets", targets).await
    }

    /// `GET /load/samples?from=`: every sample of the plan numbered `from` or higher, in order, none twice. A broken connection is
    /// made anew from the first sample that is missing; an error is the last item and says that this failed for 10 s.
    /// Ends after the sample that is marked last.
    pub fn samples(&self, from: u64) -> impl Stream<Item = Result<Sample, EnvError>> + Send + use<> {
        samples::stream(self.clone(), from)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(self.token.expose_secret())
    }

    async fn tell(
        &self,
        what: &'static str,
        deadline: Duration,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(), EnvError> {
        self.send(what, deadline, self.request(method, path).json(body)).await.map(drop)
    }

    async fn send(&self, what: &str, deadline: Duration, request: RequestBuilder) -> Result<Response, EnvError> {
        let answer = request.timeout(deadline).send().await;
        let response = answer.map_err(|error| failed(&self.replica, what, error.without_url()))?;
        accepted(response).await.map_err(|error| failed(&self.replica, what, error))
    }
}

/// The answer itself, or the refusal in it.
async fn accepted(response: Response) -> Result<Response, Refused> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let error =
        response.json::<Refusal>().await.map_or_else(|_| "it gave no reason".to_owned(), |refusal| refusal.error);
    Err(Refused { status: status.as_u16(), error })
}

fn failed(who: &str, what: &str, source: impl Error + Send + Sync + 'static) -> EnvError {
    EnvError::Api { who: who.to_owned(), what: what.to_owned(), source: Box::new(source) }
}
