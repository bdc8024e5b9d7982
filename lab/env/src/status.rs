//! Which labs are up on this machine, from their locks. What runs in them their supervisors tell.

use crate::EnvError;
use crate::home::Home;
use crate::lease::{self, Role};
use crate::ledger::Ledger;

/// A lab that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// The run.
    pub run: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// The process that holds it.
    pub supervisor_pid: u32,
    /// Things that it made and has not removed.
    pub things: usize,
}

/// Every lab whose lock is held by somebody who has it up, by name.
///
/// # Errors
/// The home cannot be read.
pub fn status(home: &Home) -> Result<Vec<LabStatus>, EnvError> {
    let mut up = Vec::new();
    for lab in home.labs()? {
        let Some(holder) = lease::holder(&lab).filter(|holder| holder.role == Role::Lab) else { continue };
        up.push(LabStatus {
            name: lab.name().to_owned(),
            run: holder.run,
            since: holder.since,
            supervisor_pid: holder.process.pid,
            things: Ledger::peek(&lab.ledger())?.len(),
        });
    }
    Ok(up)
}
