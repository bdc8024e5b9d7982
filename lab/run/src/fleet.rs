//! The generators that share one schedule: their clocks, their shares, their samples. Who joins, leaves or is lost is settled here;
//! when that happens is `drive`'s affair.

mod reader;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use lab_core::control::{LoadChange, LoadPlan, Share};
use lab_core::unit::{RunTime, Span};
use lab_env::{EnvError, GeneratorAddress, GeneratorClient};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::RunClock;
use crate::error::{RunError, causes, chain};

use self::reader::Reader;
pub use self::reader::Report;

/// Changes of one load; each is told to every newcomer, which takes about a millisecond.
const MOST_CHANGES: usize = 500;
/// Round trips of which the shortest gives the clock's offset.
const OFFSET_TRIES: u32 = 5;

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
    /// True since it was seen to be no longer ready.
    unlisted: bool,
    /// Tells it to finish, and when that comes.
    release: Option<(AbortHandle, RunTime)>,
    /// How often it joined; its samples are counted anew each time.
    joined: u32,
    /// Ends its reader.
    stop: CancellationToken,
}

/// What a loss means for the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: it had no plan, had finished, or its loss is known.
    None,
    /// Samples are missing, but its share is with others already.
    Samples,
    /// Samples are missing, and nobody has its share.
    Share,
}

/// What came of a look at who is ready.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// True when the schedule must be dealt anew.
    pub changed: bool,
    /// Newcomers that could not be taken in, told once each; they are tried again with the next look.
    pub problems: Vec<String>,
}

/// What came of a deal.
#[derive(Debug, Default)]
pub struct Dealt {
    /// The names by index; empty when nobody is left.
    pub generators: Vec<String>,
    /// Who could not be told, why, and what is lost with it.
    pub lost: Vec<(String, String, Loss)>,
}

/// What came of a change of the load.
#[derive(Debug, Default)]
pub struct Changed {
    /// Why it was not made; nobody has it then.
    pub refused: Option<String>,
    /// Who did not take it while others did, why, and what is lost with it.
    pub lost: Vec<(String, String, Loss)>,
}

impl Member {
    /// Whether it was away, with nothing left to report from before.
    fn may_join_again(&self) -> bool {
        self.unlisted && matches!(self.standing, Standing::Done | Standing::Lost)
    }

    /// Whether it drives, or might go on to.
    fn drives(&self, now: RunTime) -> bool {
        let released = self.release.as_ref().is_some_and(|(_, when)| *when <= now);
        self.has_plan && !released && matches!(self.standing, Standing::Sharing | Standing::Leaving)
    }

    /// It is ready again before it was told to finish, so it goes on with its plan. True when it needs a share.
    fn stays(&mut self, now: RunTime) -> bool {
        if self.standing != Standing::Leaving || self.release.as_ref().is_some_and(|(_, when)| *when <= now) {
            return false;
        }
        if let Some((release, _)) = self.release.take() {
            release.abort();
        }
        (self.standing, self.unlisted) = (Standing::Sharing, false);
        true
    }
}

/// The generators of one trial.
#[derive(Debug)]
pub struct Fleet {
    clock: RunClock,
    plan: LoadPlan,
    start: RunTime,
    members: Vec<Member>,
    reports: mpsc::Sender<Report>,
    /// What was changed so far, in order. The numbering of requests depends on all of it.
    changes: Vec<LoadChange>,
    /// Newcomers of which it is known that they could not be taken in.
    refused: BTreeSet<String>,
    stop: CancellationToken,
}

impl Fleet {
    /// A fleet without members, for a plan that begins now unless `start_at` says when.
    pub fn new(clock: RunClock, plan: LoadPlan, reports: mpsc::Sender<Report>) -> Self {
        let (start, stop) = (clock.now(), CancellationToken::new());
        Self { clock, plan, start, members: Vec::new(), reports, changes: Vec::new(), refused: BTreeSet::new(), stop }
    }

    /// Sets when plan time 0 is. Before the first deal only.
    pub fn start_at(&mut self, start: RunTime) {
        self.start = start;
    }

    /// Takes note of the generators that are ready now.
    pub async fn update(&mut self, ready: &[GeneratorAddress]) -> Updated {
        let mut updated = Updated { changed: self.leave(ready), problems: Vec::new() };
        for address in ready {
            let known = self.members.iter().position(|m| m.name == address.replica);
            if known.is_some_and(|index| !self.members[index].may_join_again()) {
                updated.changed |= known.is_some_and(|index| self.members[index].stays(self.clock.now()));
                continue;
            }
            match self.join(address, known.map_or(1, |index| self.members[index].joined + 1)).await {
                Ok(member) => {
                    updated.changed = true;
                    self.refused.remove(&member.name);
                    match known {
                        Some(index) => std::mem::replace(&mut self.members[index], member).stop.cancel(),
                        None => self.members.push(member),
                    }
                }
                Err(error) => {
                    if self.refused.insert(address.replica.clone()) {
                        updated.problems.push(format!("a new generator was not taken in yet: {}", chain(&error)));
                    }
                }
            }
        }
        updated
    }

    /// Who is not ready any more leaves; true when a share became free.
    fn leave(&mut self, ready: &[GeneratorAddress]) -> bool {
        let mut changed = false;
        for member in &mut self.members {
            if ready.iter().any(|r| r.replica == member.name) {
                continue;
            }
            member.unlisted = true;
            if member.standing == Standing::Sharing {
                // Without a plan it has nothing to finish or to report.
                member.standing = if member.has_plan { Standing::Leaving } else { Standing::Done };
                changed = true;
            }
        }
        changed
    }

    async fn join(&self, address: &GeneratorAddress, joined: u32) -> Result<Member, RunError> {
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
        Ok(Member {
            name: address.replica.clone(),
            client,
            offset,
            standing: Standing::Sharing,
            has_plan: false,
            unlisted: false,
            release: None,
            joined,
            stop: self.stop.child_token(),
        })
    }

    /// Deals the schedule among the sharing members from a plan time on. Who cannot be told is lost, and the rest is dealt again.
    pub async fn deal(&mut self, from: Span) -> Dealt {
        let mut dealt = Dealt::default();
        loop {
            let sharing: Vec<usize> =
                (0..self.members.len()).filter(|i| self.members[*i].standing == Standing::Sharing).collect();
            let count = u32::try_from(sharing.len()).unwrap_or(u32::MAX);
            let tells = (0u32..).zip(&sharing).map(|(index, member)| {
                let (member, fleet) = (&self.members[*member], &*self);
                async move { fleet.tell(member, Share { index, count }, from).await }
            });
            let told = join_all(tells).await;
            let before = dealt.lost.len();
            for (index, told) in sharing.iter().zip(told) {
                match told {
                    Ok(()) => self.follow(*index),
                    Err(error) => {
                        let name = self.members[*index].name.clone();
                        let loss = self.lose(&name);
                        dealt.lost.push((name, causes(&error), loss));
                    }
                }
            }
            if dealt.lost.len() == before {
                self.release_leaving(from);
                dealt.generators = sharing.iter().map(|i| self.members[*i].name.clone()).collect();
                return dealt;
            }
        }
    }

    async fn tell(&self, member: &Member, share: Share, from: Span) -> Result<(), EnvError> {
        if member.has_plan {
            let change = LoadChange { from_ns: Some(from.0), share: Some(share), ..LoadChange::default() };
            return member.client.change(&change).await;
        }
        let start = i128::from(self.start.0) - member.offset;
        let id = match member.joined {
            1 => self.plan.id.clone(),
            again => format!("{}.{again}", self.plan.id),
        };
        let plan = LoadPlan {
            id,
            start_at_ns: Some(u64::try_from(start.max(0)).unwrap_or(u64::MAX)),
            share,
            joins_at_ns: from.0,
            ..self.plan.clone()
        };
        member.client.put_load(&plan).await?;
        for change in &self.changes {
            if let Err(error) = member.client.change(change).await {
                // With another numbering than the others' it must not send.
                member.client.delete().await.ok();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Changes the load on all that drive it, from the plan time in the change on. Who does not take it while others do would number
    /// its requests differently, and is lost.
    pub async fn change(&mut self, change: &LoadChange) -> Changed {
        let refused = |why: &str| Changed { refused: Some(why.to_owned()), lost: Vec::new() };
        if self.changes.len() >= MOST_CHANGES {
            return refused("the load of this trial was changed too often already");
        }
        let now = self.clock.now();
        let driving: Vec<&Member> = self.members.iter().filter(|m| m.drives(now)).collect();
        let told = join_all(driving.iter().map(|member| member.client.change(change))).await;
        let taken = told.iter().any(Result::is_ok);
        let failed = driving.iter().zip(told).filter_map(|(m, told)| Some((m.name.clone(), told.err()?)));
        let failed: Vec<(String, EnvError)> = failed.collect();
        if taken {
            self.changes.push(change.clone());
        }
        let mut changed = Changed::default();
        for (name, error) in failed {
            // What all refuse is as it was. Who did not answer may have it or not.
            if taken || !is_answer(&error) {
                self.stop_one(&name);
                let loss = self.lose(&name);
                changed.lost.push((name, causes(&error), loss));
            }
            changed.refused.get_or_insert_with(|| causes(&error));
        }
        if taken {
            changed.refused = None;
        } else if changed.refused.is_none() {
            return refused("no load-generator is driving load now");
        }
        changed
    }

    /// Tells a generator to stop, without waiting: it may not answer.
    fn stop_one(&self, name: &str) {
        let Some(member) = self.members.iter().find(|m| m.name == name) else { return };
        let client = Arc::clone(&member.client);
        tokio::spawn(async move {
            if let Err(error) = client.delete().await {
                tracing::debug!(generator = client.replica(), %error, "a generator that is left out was not stopped");
            }
        });
    }

    /// Reads the samples of a member that has the plan.
    fn follow(&mut self, index: usize) {
        let member = &mut self.members[index];
        if std::mem::replace(&mut member.has_plan, true) {
            return;
        }
        let reader = Reader {
            generator: member.name.clone(),
            client: Arc::clone(&member.client),
            reports: self.reports.clone(),
            stop: member.stop.clone(),
        };
        tokio::spawn(reader.run());
    }

    /// Tells leaving members that they own nothing from `from` on, and to finish once that time has come.
    fn release_leaving(&mut self, from: Span) {
        let owns_nothing = Share { index: 1, count: 1 };
        let when = self.start.plus(from);
        for member in self.members.iter_mut().filter(|m| m.standing == Standing::Leaving && m.release.is_none()) {
            let change = LoadChange { from_ns: Some(from.0), share: Some(owns_nothing), ..LoadChange::default() };
            let (client, clock) = (Arc::clone(&member.client), self.clock);
            let release = tokio::spawn(async move {
                // A leaving generator that does not answer is noticed by its reader.
                if client.change(&change).await.is_ok() {
                    clock.sleep_until(when).await;
                    if let Err(error) = client.delete().await {
                        tracing::debug!(generator = client.replica(), %error, "a leaving generator was not told to finish");
                    }
                }
            });
            member.release = Some((release.abort_handle(), when));
        }
    }

    /// Takes note of a lost generator.
    pub fn lose(&mut self, generator: &str) -> Loss {
        let Some(member) = self.members.iter_mut().find(|m| m.name == generator) else { return Loss::None };
        match member.standing {
            Standing::Done | Standing::Lost => return Loss::None,
            Standing::Sharing | Standing::Leaving => {}
        }
        let was = std::mem::replace(&mut member.standing, Standing::Lost);
        match (member.has_plan, was) {
            (false, _) => Loss::None,
            (true, Standing::Sharing) => Loss::Share,
            (true, _) => Loss::Samples,
        }
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

    /// True when somebody has a share, or gets one with the next deal.
    pub fn is_sharing(&self) -> bool {
        self.members.iter().any(|m| m.standing == Standing::Sharing)
    }

    /// Calls everybody who has a plan, without waiting: a call keeps the lease, and who does not answer is noticed by its reader.
    pub fn keep_leases(&self) {
        for member in self.members.iter().filter(|m| matches!(m.standing, Standing::Sharing | Standing::Leaving)) {
            let client = Arc::clone(&member.client);
            tokio::spawn(async move { client.status().await.is_ok() });
        }
    }

    /// Tells everybody to stop sending and to finish what is in flight.
    pub async fn stop_load(&self) {
        let alive = self.members.iter().filter(|m| matches!(m.standing, Standing::Sharing | Standing::Leaving));
        let stops = alive.map(|member| async {
            if let Err(error) = member.client.delete().await {
                tracing::warn!(generator = member.name, %error, "cannot stop its load");
            }
        });
        join_all(stops).await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whether the generator said no, rather than nothing.
fn is_answer(error: &EnvError) -> bool {
    matches!(error, EnvError::Api { source, .. } if !source.is::<reqwest::Error>())
}

#[cfg(test)]
pub(crate) mod tests;
