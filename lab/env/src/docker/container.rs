//! One container: started, followed, ended. What it is for is the caller's affair.

mod plan;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
};
use futures_util::TryStreamExt as _;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::plan::ContainerPlan;
use super::call::{Asked as _, QUICK, Refusal, SLOW, ask};
use super::engine::Engine;
use super::output;
use crate::EnvError;
use crate::ledger::Thing;

/// How long a killed container may take to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// How long the output of an ended container may take to be copied.
const READ: Duration = Duration::from_secs(2);
/// Between two tries to hear of a container's end when Docker broke the first off.
const AGAIN: Duration = Duration::from_millis(500);

/// A container that was started. Dropping it leaves it as it is.
#[derive(Debug)]
pub(crate) struct Container {
    /// Docker's id.
    pub(crate) id: String,
    /// Its name within the lab.
    pub(crate) thing: String,
    /// Its address on the lab's network.
    pub(crate) ip: IpAddr,
    /// Its published ports: inside, and on 127.0.0.1.
    pub(crate) published: BTreeMap<u16, u16>,
    engine: Engine,
    entry: u64,
    aliases: Vec<String>,
    stop_signal: String,
    output: Mutex<AbortOnDropHandle<()>>,
}

impl Engine {
    /// Makes and starts a container on the lab's network: intent, create, start, look. Its output goes to [`Engine::log`].
    ///
    /// # Errors
    /// Docker did not make or start it; then it is removed again, or stands in the ledger.
    pub(crate) async fn start(&self, plan: ContainerPlan) -> Result<Container, EnvError> {
        let name = self.name(&plan.thing);
        let entry = self.intend(Thing::Container, &name).await?;
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let made = ask(
            SLOW,
            self.docker().create_container(Some(options), plan.body(self.labels(&plan.role), self.network())),
        )
        .await;
        self.settle(entry, &made);
        let id = made.asked(|| format!("make container {name} of {}", plan.image))?.id;
        let started = match ask(SLOW, self.docker().start_container(&id, None)).await {
            Ok(()) => self.found(&id).await,
            Err(refusal) => Err(refusal.on(format!("start container {name} of {}", plan.image))),
        };
        let (ip, published) = match started {
            Ok(found) => found,
            Err(error) => {
                self.remove_container(&id, entry).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, name, "a container that did not start stays for `down`");
                });
                return Err(error);
            }
        };
        let following = output::follow(self.docker().clone(), id.clone(), self.log(&plan.thing), None);
        Ok(Container {
            id,
            thing: plan.thing,
            ip,
            published,
            engine: self.clone(),
            entry,
            aliases: plan.aliases,
            stop_signal: plan.stop_signal.unwrap_or_else(|| "SIGTERM".to_owned()),
            output: Mutex::new(AbortOnDropHandle::new(tokio::spawn(following))),
        })
    }

    /// Where a running container answers.
    async fn found(&self, id: &str) -> Result<(IpAddr, BTreeMap<u16, u16>), EnvError> {
        let looking = || format!("say where container {id} answers");
        let seen = ask(QUICK, self.docker().inspect_container(id, None)).await.asked(looking)?;
        address(&seen, self.network()).ok_or_else(|| {
            // One that ended at once has no address any more; its own last words tell why.
            let state = seen.state.as_ref();
            let code = state.and_then(|state| state.exit_code).unwrap_or_default();
            let error = state.and_then(|state| state.error.clone()).unwrap_or_default();
            let source =
                io::Error::other(format!("it has no address: it ended with {} {error}", describe(code, false)));
            EnvError::Docker { doing: looking(), source: source.into() }
        })
    }

    async fn remove_container(&self, id: &str, entry: u64) -> Result<(), EnvError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match ask(SLOW, self.docker().remove_container(id, Some(options))).await {
            Ok(()) => {}
            Err(refusal) if refusal.is_gone() => {}
            Err(refusal) => return Err(refusal.on(format!("remove container {id}"))),
        }
        self.ledger().removed(entry);
        Ok(())
    }
}

fn address(seen: &ContainerInspectResponse, network: &str) -> Option<(IpAddr, BTreeMap<u16, u16>)> {
    let settings = seen.network_settings.as_ref()?;
    let ip = settings.networks.as_ref()?.get(network)?.ip_address.as_ref()?.parse().ok()?;
    let ports = settings.ports.iter().flatten().filter_map(|(inside, bindings)| {
        let inside = inside.strip_suffix("/tcp")?.parse().ok()?;
        let outside = bindings.as_ref()?.iter().find_map(|binding| binding.host_port.as_ref()?.parse().ok())?;
        Some((inside, outside))
    });
    Some((ip, ports.collect()))
}

/// `exit 0`, `signal 9`, `out of memory (signal 9)`.
fn describe(code: i64, out_of_memory: bool) -> String {
    match code {
        137 if out_of_memory => "out of memory (signal 9)".to_owned(),
        129..=192 => format!("signal {}", code - 128),
        code => format!("exit {code}"),
    }
}

impl Container {
    /// Its end, as words: `exit 0`, `signal 9`. May be cancelled and called again; a Docker that does not answer is asked again, as
    /// there is no telling meanwhile.
    pub(crate) async fn wait(&self) -> String {
        loop {
            let mut ends = std::pin::pin!(self.engine.docker().wait_container(&self.id, None));
            let code = match ends.try_next().await {
                Ok(Some(end)) => Some(end.status_code),
                Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => Some(code),
                Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                    return "removed by somebody else".to_owned();
                }
                Ok(None) => None,
                Err(error) => {
                    tracing::debug!(%error, thing = self.thing, "asked again how it ended");
                    None
                }
            };
            if let Some(code) = code {
                return describe(code, code == 137 && self.was_out_of_memory().await);
            }
            sleep(AGAIN).await;
        }
    }

    async fn was_out_of_memory(&self) -> bool {
        let seen = ask(QUICK, self.engine.docker().inspect_container(&self.id, None)).await;
        seen.ok().and_then(|seen| seen.state).and_then(|state| state.oom_killed).unwrap_or(false)
    }

    /// Asks it to end, frozen or not, and kills it after the limit. Gives how it ended.
    pub(crate) async fn terminate(&self, limit: Duration) -> String {
        self.courtesy(self.signal(&self.stop_signal).await);
        self.courtesy(self.unpause().await);
        match timeout(limit, self.wait()).await {
            Ok(exit) => exit,
            Err(_) => self.end().await,
        }
    }

    /// Kills it and gives how it ended.
    pub(crate) async fn end(&self) -> String {
        self.courtesy(self.kill().await);
        timeout(KILLED, self.wait()).await.unwrap_or_else(|_| format!("not gone {KILLED:?} after signal 9"))
    }

    /// Waits until the output of one that ended is in its file.
    pub(crate) async fn read_to_end(&self) {
        let mut output = self.output.lock().await;
        if !output.is_finished() && timeout(READ, &mut *output).await.is_err() {
            tracing::debug!(thing = self.thing, "its last words may be missing");
        }
    }

    /// The connection that it was made over.
    pub(crate) fn docker(&self) -> &Docker {
        self.engine.docker()
    }

    /// An end is looked at by its exit; that a step on the way there was refused is only worth a line.
    fn courtesy(&self, step: Result<bool, EnvError>) {
        if let Err(error) = step {
            tracing::warn!(%error, source = ?std::error::Error::source(&error), thing = self.thing, "a step towards its end failed");
        }
    }

    /// SIGKILL. False: it did not run.
    ///
    /// # Errors
    /// Docker did not do it.
    pub(crate) async fn kill(&self) -> Result<bool, EnvError> {
        self.signal("SIGKILL").await
    }

    async fn signal(&self, signal: &str) -> Result<bool, EnvError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let sent = ask(QUICK, self.engine.docker().kill_container(&self.id, Some(options))).await;
        self.done(sent, || format!("send {signal} to"))
    }

    /// Freezes it: its connections stay, nothing answers. False: it did not run, or was frozen.
    ///
    /// # Errors
    /// Docker did not do it.
    pub(crate) async fn pause(&self) -> Result<bool, EnvError> {
        self.done(ask(QUICK, self.engine.docker().pause_container(&self.id)).await, || "pause".to_owned())
    }

    /// Undoes [`Container::pause`]. False: it was not frozen.
    ///
    /// # Errors
    /// Docker did not do it.
    pub(crate) async fn unpause(&self) -> Result<bool, EnvError> {
        let done = ask(QUICK, self.engine.docker().unpause_container(&self.id)).await;
        // Said of one that is not paused, by versions that have no status for it.
        let done = match done {
            Err(Refusal::Said { said, .. }) if said.contains("is not paused") || said.contains("not running") => {
                return Ok(false);
            }
            other => other,
        };
        self.done(done, || "unpause".to_owned())
    }

    /// Starts it again after its end, with the data it has; its address may be another.
    ///
    /// # Errors
    /// Docker did not start it.
    pub(crate) async fn restart(&mut self) -> Result<(), EnvError> {
        let since = i32::try_from(jiff::Timestamp::now().as_second()).ok();
        let started = ask(SLOW, self.engine.docker().start_container(&self.id, None)).await;
        self.done(started, || "start again".to_owned())?;
        (self.ip, self.published) = self.engine.found(&self.id).await?;
        let log = self.engine.log(&self.thing);
        let following = output::follow(self.engine.docker().clone(), self.id.clone(), log, since);
        *self.output.get_mut() = AbortOnDropHandle::new(tokio::spawn(following));
        Ok(())
    }

    /// Takes it off the lab's network: its connections die, nobody reaches it.
    ///
    /// # Errors
    /// Docker did not do it.
    pub(crate) async fn disconnect(&self) -> Result<(), EnvError> {
        let request = NetworkDisconnectRequest { container: self.id.clone(), force: Some(true) };
        let done = ask(QUICK, self.engine.docker().disconnect_network(self.engine.network(), request)).await;
        done.asked(|| format!("take {} off the network", self.thing))
    }

    /// Undoes [`Container::disconnect`]; its address may be another.
    ///
    /// # Errors
    /// Docker did not do it.
    pub(crate) async fn connect(&mut self) -> Result<(), EnvError> {
        let endpoint = EndpointSettings { aliases: Some(self.aliases.clone()), ..EndpointSettings::default() };
        let request = NetworkConnectRequest { container: self.id.clone(), endpoint_config: Some(endpoint) };
        let done = ask(QUICK, self.engine.docker().connect_network(self.engine.network(), request)).await;
        done.asked(|| format!("put {} back on the network", self.thing))?;
        (self.ip, self.published) = self.engine.found(&self.id).await?;
        Ok(())
    }

    /// Removes it with its anonymous volumes, running or not, and strikes it from the ledger. Removed before is fine.
    ///
    /// # Errors
    /// Docker did not do it; it stays in the ledger.
    pub(crate) async fn remove(&self) -> Result<(), EnvError> {
        self.engine.remove_container(&self.id, self.entry).await
    }

    /// False for what is already so, or cannot be any more.
    fn done(&self, asked: Result<(), Refusal>, what: impl FnOnce() -> String) -> Result<bool, EnvError> {
        match asked {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.is_done() || refusal.is_gone() => Ok(false),
            Err(refusal) => Err(refusal.on(format!("{} {}", what(), self.thing))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_the_words_of_processes() {
        let told =
            [(0, false), (1, false), (137, false), (137, true), (143, false)].map(|(code, oom)| describe(code, oom));
        assert_eq!(told, ["exit 0", "exit 1", "signal 9", "out of memory (signal 9)", "signal 15"]);
    }
}
