//! The generators that share one schedule: their clocks, their shares, their samples. Who joins, leaves or is lost is settled here;
//! when that happens is `drive`'s affair.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lab_core::control::{LoadChange, LoadPlan, Sample, Share};
use lab_core::unit::{RunTime, Span};
use lab_env::{EnvError, GeneratorAddress, GeneratorClient};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::RunClock;
use crate::error::RunError;

/// Without a sample for so long a generator is asked whether it lives.
const SILENCE: Duration = Duration::from_millis(2500);
/// Round trips of which the shortest gives the clock's offset.
const OFFSET_TRIES: u32 = 5;

/// What a generator's reader reports.
#[derive(Debug)]
pub enum Report {
    /// One second of it.
    Sample(Arc<Sample>),
    /// It was silent and did not answer, or its stream broke for good.
    Lost {
        /// The replica.
        generator: String,
        /// Why it is believed lost.
        reason: String,
    },
}

/// How a member stands to the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Has the plan and a share, or gets one with the next deal.
    Sharing,
    /// Gets no more; what it has is finished.
    Leaving,
    /// Its last sample came.
    Done,
    /// Gone; its share since the last sample is unknown.
    Lost,
}

#[derive(Debug)]
struct Member {
    name: String,
    client: Arc<GeneratorClient>,
    /// Run time − its clock, nanoseconds.
    offset: i128,
    standing: Standing,
    has_plan: bool,
}

/// The generators of one trial.
#[derive(Debug)]
pub struct Fleet {
    clock: RunClock,
    plan: LoadPlan,
    start: RunTime,
    members: Vec<Member>,
    reports: mpsc::Sender<Report>,
    stop: CancellationToken,
}

impl Fleet {
    /// A fleet without members for a plan whose time 0 is at `start`.
    pub fn new(clock: RunClock, plan: LoadPlan, start: RunTime, reports: mpsc::Sender<Report>) -> Self {
        Self { clock, plan, start, members: Vec::new(), reports, stop: CancellationToken::new() }
    }

    /// Takes note of the generators that are ready now. True when the schedule must be dealt anew.
    ///
    /// # Errors
    /// A new generator did not tell its clock; it is not taken in.
    pub async fn update(&mut self, ready: &[GeneratorAddress]) -> Result<bool, RunError> {
        let mut changed = false;
        for member in &mut self.members {
            if member.standing == Standing::Sharing && !ready.iter().any(|r| r.replica == member.name) {
                member.standing = Standing::Leaving;
                changed = true;
            }
        }
        for address in ready {
            if !self.members.iter().any(|m| m.name == address.replica) {
                let member = self.join(address).await?;
                self.members.push(member);
                changed = true;
            }
        }
        Ok(changed)
    }

    async fn join(&self, address: &GeneratorAddress) -> Result<Member, RunError> {
        let failed = |source: EnvError| RunError::Generator {
            generator: address.replica.clone(),
            what: "tell its clock",
            source: source.into(),
        };
        let client = Arc::new(GeneratorClient::new(address).map_err(failed)?);
        let mut best: Option<(Span, i128)> = None;
        for _ in 0..OFFSET_TRIES {
            let before = self.clock.now();
            let status = client.status().await.map_err(failed)?;
            let after = self.clock.now();
            let round_trip = after.since(before);
            let middle = i128::from(before.0) + i128::from(round_trip.0 / 2);
            if best.is_none_or(|(shortest, _)| round_trip < shortest) {
                best = Some((round_trip, middle - i128::from(status.now_ns)));
            }
        }
        let offset = best.map_or(0, |(_, offset)| offset);
        Ok(Member { name: address.replica.clone(), client, offset, standing: Standing::Sharing, has_plan: false })
    }

    /// Deals the schedule among the sharing members from a plan time on. Who cannot be told is lost, and the rest is dealt again.
    /// Returns the names by index; empty when nobody is left.
    pub async fn deal(&mut self, from: Span) -> Vec<String> {
        loop {
            let sharing: Vec<usize> =
                (0..self.members.len()).filter(|i| self.members[*i].standing == Standing::Sharing).collect();
            let count = u32::try_from(sharing.len()).unwrap_or(u32::MAX);
            let mut failures = Vec::new();
            for (index, member) in (0u32..).zip(&sharing) {
                if let Err(error) = self.tell(*member, Share { index, count }, from).await {
                    failures.push((*member, error));
                }
            }
            if failures.is_empty() {
                self.release_leaving(from).await;
                return sharing.iter().map(|i| self.members[*i].name.clone()).collect();
            }
            for (member, error) in failures {
                self.mark_lost(member, &error.to_string()).await;
            }
        }
    }

    async fn tell(&mut self, index: usize, share: Share, from: Span) -> Result<(), EnvError> {
        let member = &self.members[index];
        if member.has_plan {
            let change = LoadChange { from_ns: Some(from.0), share: Some(share), ..LoadChange::default() };
            return member.client.change(&change).await;
        }
        let start = i128::from(self.start.0) - member.offset;
        let plan = LoadPlan {
            start_at_ns: Some(u64::try_from(start.max(0)).unwrap_or(u64::MAX)),
            share,
            joins_at_ns: from.0,
            ..self.plan.clone()
        };
        member.client.put_load(&plan).await?;
        let reader = Reader {
            generator: member.name.clone(),
            client: Arc::clone(&member.client),
            reports: self.reports.clone(),
            stop: self.stop.clone(),
        };
        tokio::spawn(reader.run());
        self.members[index].has_plan = true;
        Ok(())
    }

    /// Tells leaving members that they own nothing from `from` on, and to finish once that time has come.
    async fn release_leaving(&mut self, from: Span) {
        let owns_nothing = Share { index: 1, count: 1 };
        for member in self.members.iter_mut().filter(|m| m.standing == Standing::Leaving && m.has_plan) {
            let change = LoadChange { from_ns: Some(from.0), share: Some(owns_nothing), ..LoadChange::default() };
            // A leaving generator that does not answer is noticed by its reader.
            if member.client.change(&change).await.is_ok() {
                let (client, clock, when) = (Arc::clone(&member.client), self.clock, self.start.plus(from));
                tokio::spawn(async move {
                    clock.sleep_until(when).await;
                    client.delete().await
                });
            }
        }
    }

    async fn mark_lost(&mut self, index: usize, reason: &str) {
        self.members[index].standing = Standing::Lost;
        let lost = Report::Lost { generator: self.members[index].name.clone(), reason: reason.to_owned() };
        // The receiver is the caller's own loop; when it is gone nobody needs to know.
        if self.reports.try_send(lost).is_err() {
            tracing::warn!(generator = self.members[index].name, "lost report not delivered");
        }
    }

    /// Takes note of a lost generator. True when it was sharing, so that its share must be dealt anew.
    pub fn lose(&mut self, generator: &str) -> bool {
        let Some(member) = self.members.iter_mut().find(|m| m.name == generator) else { return false };
        let was = std::mem::replace(&mut member.standing, Standing::Lost);
        was == Standing::Sharing
    }

    /// Takes note of a generator's last sample.
    pub fn done(&mut self, generator: &str) {
        if let Some(member) = self.members.iter_mut().find(|m| m.name == generator) {
            member.standing = Standing::Done;
        }
    }

    /// True when nobody has anything left to report.
    pub fn is_over(&self) -> bool {
        self.members.iter().all(|m| matches!(m.standing, Standing::Done | Standing::Lost))
    }

    /// True when nobody can send any more.
    pub fn is_dead(&self) -> bool {
        self.members.iter().all(|m| m.standing == Standing::Lost)
    }

    /// Tells everybody to stop sending and to finish what is in flight.
    pub async fn stop_load(&self) {
        let alive = self.members.iter().filter(|m| matches!(m.standing, Standing::Sharing | Standing::Leaving));
        let stops = alive.map(|member| async {
            if let Err(error) = member.client.delete().await {
                tracing::warn!(generator = member.name, %error, "cannot stop its load");
            }
        });
        futures_util::future::join_all(stops).await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Reads one generator's samples until the last, its loss, or the fleet's end.
struct Reader {
    generator: String,
    client: Arc<GeneratorClient>,
    reports: mpsc::Sender<Report>,
    stop: CancellationToken,
}

impl Reader {
    async fn run(self) {
        let stop = self.stop.clone();
        let reason = tokio::select! {
            () = stop.cancelled() => None,
            reason = self.read() => reason,
        };
        if let Some(reason) = reason {
            let lost = Report::Lost { generator: self.generator, reason };
            if self.reports.send(lost).await.is_err() {
                tracing::debug!("the fleet is gone before its reader");
            }
        }
    }

    /// None: the last sample came, or nobody listens any more.
    async fn read(&self) -> Option<String> {
        let mut samples = std::pin::pin!(self.client.samples(1));
        loop {
            match tokio::time::timeout(SILENCE, samples.next()).await {
                Ok(Some(Ok(sample))) => {
                    let last = sample.last;
                    if self.reports.send(Report::Sample(Arc::new(sample))).await.is_err() || last {
                        return None;
                    }
                }
                Ok(Some(Err(error))) => return Some(format!("its samples broke off: {error}")),
                Ok(None) => return Some("its samples ended before the last".to_owned()),
                // Asking also keeps the generator's lease.
                Err(_) => {
                    if let Err(error) = self.client.status().await {
                        return Some(format!("it is silent: {error}"));
                    }
                }
            }
        }
    }
}
