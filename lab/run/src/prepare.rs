//! Rows created before the first phase, so that reads find something. Not load: nothing of it is measured.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use lab_core::control::Endpoint;
use lab_core::spec::{Spec, Target};

use crate::error::RunError;
use crate::http;

/// Requests under way at once: enough to share commits, too few to be a load.
const AT_ONCE: usize = 8;
/// One row, limits included.
const PER_ROW: Duration = Duration::from_secs(10);

/// Creates the spec's rows through the first endpoint.
///
/// # Errors
/// A row was refused or did not come.
pub async fn rows(spec: &Spec, endpoints: &[Endpoint]) -> Result<(), RunError> {
    let Some(load) = spec.load.as_ref().filter(|load| load.prepare > 0 && load.target == Target::UserService) else {
        return Ok(());
    };
    let failed = |problem: String| RunError::Prepare { service: load.target.name(), problem };
    let endpoint = endpoints.first().ok_or_else(|| failed("no replica is ready".to_owned()))?;
    let url = format!("http://{}/create", endpoint.address);
    let client = http::client(PER_ROW).map_err(|e| failed(e.to_string()))?;
    let created = stream::iter(1..=load.prepare).map(|n| create(&client, &url, n)).buffer_unordered(AT_ONCE);
    let mut created = std::pin::pin!(created);
    while let Some(result) = created.next().await {
        result.map_err(failed)?;
    }
    Ok(())
}

async fn create(client: &reqwest::Client, url: &str, n: u64) -> Result<(), String> {
    let row = serde_json::json!({ "name": format!("prepared {n}"), "created_at": "2024-01-23" });
    let request = client.post(url).header("Idempotency-Key", format!("prepare-{n}")).json(&row);
    let answer = request.send().await.map_err(|e| e.to_string())?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("row {n} was answered {status}: {}", answer.text().await.unwrap_or_default()))
}
