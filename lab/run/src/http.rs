//! The one way in which a run speaks HTTP to its services.

use std::time::Duration;

/// A client whose requests take at most `deadline`.
///
/// # Errors
/// The system's resources for HTTP cannot be had.
pub fn client(deadline: Duration) -> reqwest::Result<reqwest::Client> {
    // A proxy of the user's environment cannot reach the services, and what it answered would pass for theirs.
    reqwest::Client::builder().no_proxy().timeout(deadline).build()
}
