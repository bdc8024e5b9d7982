//! The `out` of each kind of vector: a selection of what the engine knows, under the names of the format.

use serde::Serialize;

use crate::decision::{Active, Decision, Limit, Reason, Stabilization};
use crate::metric::{MetricError, Proposal};
use crate::pod::Groups;

#[derive(Serialize)]
pub(super) struct ProposalOut {
    replicas: Option<i32>,
    utilization: Option<i32>,
    usage: Option<i64>,
    groups: Option<Groups>,
    error: Option<MetricError>,
}

impl From<Proposal> for ProposalOut {
    fn from(proposal: Proposal) -> Self {
        let Proposal { replicas, utilization, usage, groups, error, .. } = proposal;
        Self { replicas, utilization, usage, groups, error }
    }
}

#[derive(Serialize)]
pub(super) struct Steps {
    pub steps: Vec<StepOut>,
}

#[derive(Serialize)]
pub(super) struct StepOut {
    replicas: i32,
    rescale: bool,
    reason: Option<Reason>,
    stabilized: Option<i32>,
    stabilization: Option<Stabilization>,
    limited: Option<bool>,
    limit: Option<Limit>,
    active: Option<Active>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposals: Option<Vec<Asked>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    winner: Option<usize>,
    why: String,
}

#[derive(Serialize)]
struct Asked {
    replicas: Option<i32>,
    error: Option<MetricError>,
}

impl From<Decision> for StepOut {
    fn from(decision: Decision) -> Self {
        let asked = |proposal: &Proposal| Asked { replicas: proposal.replicas, error: proposal.error };
        let proposals = (!decision.proposals.is_empty()).then(|| decision.proposals.iter().map(asked).collect());
        let (proposal, winner) = (decision.proposal, decision.winner);
        Self { proposals, proposal, winner, ..Self::without_proposals(decision) }
    }
}

impl StepOut {
    pub(super) fn without_proposals(decision: Decision) -> Self {
        Self {
            replicas: decision.desired,
            rescale: decision.rescale,
            reason: decision.reason,
            stabilized: decision.stabilized,
            stabilization: decision.stabilization,
            limited: decision.limited,
            limit: decision.limit,
            active: decision.active,
            proposals: None,
            proposal: None,
            winner: None,
            why: decision.why,
        }
    }
}
