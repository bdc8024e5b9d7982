//! Faults put into a run on purpose: what is hit, and how.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spec::Role;
use crate::unit::Span;

/// What is done to what is hit, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injury {
    /// SIGKILL. A server is started again at once at its old address; a replica is replaced as any that dies.
    Kill,
    /// It stands still: connections stay, nothing is answered.
    Pause,
    /// It goes on.
    Resume,
    /// Nobody reaches it.
    Disconnect,
    /// It is reachable again.
    Connect,
    /// Everything to it and from it takes so much longer; zero ends that.
    Slow(Span),
}

impl Injury {
    /// What the thing is afterwards: completes "store.postgres is …".
    pub fn done(self) -> String {
        match self {
            Self::Kill => "killed".to_owned(),
            Self::Pause => "paused".to_owned(),
            Self::Resume => "resumed".to_owned(),
            Self::Disconnect => "disconnected".to_owned(),
            Self::Connect => "connected again".to_owned(),
            Self::Slow(Span::ZERO) => "as fast as before".to_owned(),
            Self::Slow(by) => format!("slowed by {by}"),
        }
    }
}

/// What is hit. Written `queue` (whichever engine the variant has; also `queue.broker`), or `user-service` (one replica of it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultTarget {
    /// The servers that have this role in the variant.
    Role(Role),
    /// The newest ready replica of this workload.
    Workload(&'static str),
}

/// Workloads that can be hit.
const WORKLOADS: [&str; 3] = ["user-service", "message-service", "load-generator"];

impl fmt::Display for FaultTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => f.write_str(role.name()),
            Self::Workload(name) => f.write_str(name),
        }
    }
}

impl FromStr for FaultTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let role = Role::ALL.into_iter().find(|role| role.name() == text);
        let role = role.or((text == "queue.broker").then_some(Role::Queue));
        let workload = WORKLOADS.into_iter().find(|name| *name == text);
        role.map(Self::Role).or(workload.map(Self::Workload)).ok_or_else(|| {
            format!("`{}` cannot be hit; what can: store, queue, cache, {}", text.escape_debug(), WORKLOADS.join(", "))
        })
    }
}

impl Serialize for FaultTarget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FaultTarget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A fault of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// What is done to what.
    #[serde(flatten)]
    pub what: Planned,
    /// From the phase's first instant.
    pub at: Span,
    /// Again and again until the phase ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// How long it lasts; None for a kill.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<Span>,
    /// Of a slow one: by how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Span>,
}

/// What a phase's fault does to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planned {
    /// See [`Injury::Kill`].
    Kill(FaultTarget),
    /// See [`Injury::Pause`].
    Pause(FaultTarget),
    /// See [`Injury::Disconnect`].
    Disconnect(FaultTarget),
    /// See [`Injury::Slow`].
    Slow(FaultTarget),
}

impl PlannedFault {
    /// What is hit.
    pub fn target(&self) -> FaultTarget {
        match self.what {
            Planned::Kill(target) | Planned::Pause(target) | Planned::Disconnect(target) | Planned::Slow(target) => {
                target
            }
        }
    }

    /// What is done, and what undoes it when it has a length.
    pub fn injuries(&self) -> (Injury, Option<Injury>) {
        match self.what {
            Planned::Kill(_) => (Injury::Kill, None),
            Planned::Pause(_) => (Injury::Pause, Some(Injury::Resume)),
            Planned::Disconnect(_) => (Injury::Disconnect, Some(Injury::Connect)),
            Planned::Slow(_) => (Injury::Slow(self.by.unwrap_or_default()), Some(Injury::Slow(Span::ZERO))),
        }
    }

    /// When it is done, from the start of its phase, which lasts `phase`.
    pub fn times(&self, phase: Span) -> impl Iterator<Item = Span> {
        let (first, every) = (self.at, self.every.filter(|every| every.0 > 0));
        let step = move |at: &Span| every.and_then(|every| at.0.checked_add(every.0)).map(Span);
        std::iter::successors(Some(first), step).take_while(move |at| *at < phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let text = r#"{"slow":"store","at":"10s","every":"20s","for":"5s","by":"200ms"}"#;
        let fault: PlannedFault = serde_json::from_str(text).expect("a fault");
        assert_eq!(fault.target(), FaultTarget::Role(Role::Store));
        assert_eq!(fault.injuries(), (Injury::Slow(Span::from_millis(200)), Some(Injury::Slow(Span::ZERO))));
        let again = serde_json::to_string(&fault).expect("text");
        assert_eq!(serde_json::from_str::<PlannedFault>(&again).expect("a fault"), fault, "{again}");
        let times: Vec<u64> = fault.times(Span::from_secs(60)).map(|at| at.as_millis()).collect();
        assert_eq!(times, [10_000, 30_000, 50_000]);
        assert_eq!("queue.broker".parse(), Ok(FaultTarget::Role(Role::Queue)));
        assert!("kafka".parse::<FaultTarget>().expect_err("no target").contains("queue"));
    }
}
