//! Backing services made ready for a lab: embedded ones are asked what they promise, servers that are there already get a place for this
//! run, and each is announced. Servers that are started for the lab are the environment's affair; they are announced here too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use lab_core::event::{BackingSeen, Grade, ImageSeen, Kind};
use lab_core::spec::{CacheEngine, CreateMode, QueueEngine, Role, Server, Spec, StoreEngine};

use super::{Endpoints, Owner, Probed, Prober, Share, Spot, crowded, write_secret};
use crate::hold::{Ground, Hold};
use crate::home::{make_private, random_hex};
use crate::ledger::{Ledger, Thing};
use crate::replicas::announce;
use crate::system::{Doing as _, blocking};
use crate::{EnvError, EventSink};

/// How long a server that is there already may take to answer.
const THERE: Duration = Duration::from_secs(10);
/// How long an embedded engine may take to open.
const EMBEDDED: Duration = Duration::from_secs(20);
/// Most of a run's id in the name of its place; servers take names of 60 signs and more.
const RUN_IN_NAME: usize = 40;

/// What services are told of servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The file with the address, as an argument: `@/lab/backing/store.postgres`.
    pub(crate) files: BTreeMap<Server, String>,
    /// Connections of one replica to a store.
    pub(crate) connections: BTreeMap<Server, u32>,
}

/// Where addresses are kept.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The folder of the files that services read, on this machine.
    pub(crate) files: PathBuf,
    /// The same as services see it.
    pub(crate) seen: PathBuf,
    /// Who reads them.
    pub(crate) owner: Owner,
    /// The folder of the files that name what was made at servers that were there before.
    pub(crate) own: PathBuf,
}

/// What makes backing services ready.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) prober: Prober,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) places: Places,
    pub(crate) events: EventSink,
    pub(crate) src: &'static str,
}

/// A server that was found, on its way to the services.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) server: Server,
    /// As services reach it, with its password.
    pub(crate) address: String,
    pub(crate) probed: Probed,
    pub(crate) image: Option<ImageSeen>,
}

impl Ready {
    /// Of a lab that is held; it announces to `events` as `src`.
    pub(crate) fn new(ground: &Ground, hold: &Hold, places: Places, (events, src): (&EventSink, &'static str)) -> Self {
        let prober = Prober {
            exe: ground.exe.clone(),
            owner: hold.owner.clone(),
            lab: hold.lab().name().to_owned(),
            run: ground.run_id.clone(),
        };
        Self { prober, ledger: Arc::clone(&hold.ledger), places, events: events.clone(), src }
    }

    /// Makes the folders. Intent first.
    ///
    /// # Errors
    /// They cannot be made.
    pub(crate) async fn prepare(&self) -> Result<(), EnvError> {
        let (ledger, run, places) = (Arc::clone(&self.ledger), self.prober.run.clone(), self.places.clone());
        blocking(move || {
            for folder in [&places.own, &places.files] {
                ledger.intend(&run, Thing::Dir, &folder.display().to_string())?;
                make_private(folder)?;
            }
            if let Some((user, group)) = places.owner {
                let given = std::os::unix::fs::chown(&places.files, Some(user), Some(group));
                given.doing(|| format!("give {} to its readers", places.files.display()))?;
            }
            Ok(())
        })
        .await
    }

    /// Asks the engines that live in the services what they promise, and announces them.
    ///
    /// # Errors
    /// One does not open.
    pub(crate) async fn embedded(&self, spec: &Spec) -> Result<(), EnvError> {
        let asked = try_join_all(embedded(spec).into_iter().map(|(role, engine)| async move {
            let name = format!("{}.{engine}", role.name());
            // Not where the services' own is: whoever makes that file must own it.
            let address = match engine {
                "sqlite" => format!("sqlite:{}", self.places.own.join(format!("{name}.probe")).display()),
                "none" => engine.to_owned(),
                engine => format!("{engine}:"),
            };
            let probed = self.prober.probe(&name, role, &address, EMBEDDED).await?;
            Ok::<_, EnvError>((name, probed))
        }));
        for (name, probed) in asked.await? {
            let seen = BackingSeen {
                name,
                server: probed.server,
                address: String::new(),
                image: None,
                connections: None,
                promises: probed.promises,
            };
            announce(&self.events, self.src, Kind::Backing(Box::new(seen))).await;
        }
        Ok(())
    }

    /// Gives this run a place of its own at each server that is there already and that the spec needs. Addresses are as they were given.
    ///
    /// # Errors
    /// A server does not answer or refuses.
    pub(crate) async fn given(&self, spec: &Spec, endpoints: &Endpoints) -> Result<Vec<Found>, EnvError> {
        let needed = spec.servers().into_iter().filter_map(|server| Some((server, endpoints.get(server)?)));
        let all = needed.map(|(server, address)| async move {
            let name = server.name();
            let address = self.own(server, address).await?;
            let probed = self.prober.probe(&name, server.role(), &address, THERE).await?;
            Ok(Found { server, address, probed, image: None })
        });
        try_join_all(all).await
    }

    async fn own(&self, server: Server, address: &str) -> Result<String, EnvError> {
        let (name, file) = (server.name(), self.places.own.join(server.name()));
        let (ledger, run, intended) = (Arc::clone(&self.ledger), self.prober.run.clone(), file.display().to_string());
        blocking(move || ledger.intend(&run, Thing::Place, &intended)).await?;
        let place = place_name(&self.prober.run, &random_hex(2)?);
        self.prober.own(&name, server.role(), address, &place, &file).await?;
        let read = tokio::fs::read_to_string(&file).await;
        Ok(read.doing(|| format!("read {}", file.display()))?.trim().to_owned())
    }

    /// Removes this run's places at servers that stay, all at once. What is left stands in the ledger, for the sweep.
    pub(crate) async fn leave(&self) {
        let places = self.ledger.owned().into_iter().filter(|thing| thing.kind == Thing::Place);
        let all = places.map(|thing| async move {
            let file = Path::new(&thing.name);
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(server) = name.parse::<Server>() else { return };
            match self.prober.disown(name, server.role(), file).await {
                Ok(()) => self.ledger.removed(thing.id),
                Err(error) => tracing::debug!(%error, "the sweep tries again"),
            }
        });
        join_all(all).await;
    }

    /// Announces servers, writes their addresses down for services, and shares out their connections.
    ///
    /// # Errors
    /// A file cannot be written; a store has too few connections for the replicas.
    pub(crate) async fn tell(&self, spec: &Spec, found: Vec<Found>) -> Result<Addresses, EnvError> {
        let mut addresses = Addresses::default();
        for Found { server, address, probed, image } in found {
            let name = server.name();
            let (path, seen) = (self.places.files.join(&name), self.places.seen.join(&name));
            let (text, owner) = (address.clone(), self.places.owner);
            blocking(move || write_secret(&path, &text, owner)).await?;
            addresses.files.insert(server, format!("@{}", seen.display()));
            if server.role() == Role::Store {
                addresses.connections.insert(server, Share::of(server, spec, probed.connections).each);
            }
            let crowd = crowded(server, spec, probed.connections).filter(|_| server.role() == Role::Store);
            self.announce(server, &address, probed, image).await;
            let Some(crowd) = crowd else { continue };
            let text = format!("{}; {}", crowd.problem, crowd.remedy);
            if crowd.fatal {
                let source = std::io::Error::other(text);
                return Err(EnvError::Api {
                    who: name,
                    what: "have room for all replicas".to_owned(),
                    source: source.into(),
                });
            }
            announce(&self.events, self.src, Kind::Warning { text }).await;
        }
        Ok(addresses)
    }

    async fn announce(&self, server: Server, address: &str, probed: Probed, image: Option<ImageSeen>) {
        let grade = probed.promises.fidelity;
        let note = match grade {
            Grade::Real => probed.server.clone(),
            Grade::Compatible | Grade::Embedded if probed.server.starts_with("a stand-in ") => probed.server.clone(),
            Grade::Compatible | Grade::Embedded => format!("stood in for by {}", probed.server),
        };
        let subject = format!("{} {}", server.role().name(), server.engine());
        let seen = BackingSeen {
            name: server.name(),
            server: probed.server,
            address: seen(&probed.address, address),
            image,
            connections: probed.connections,
            promises: probed.promises,
        };
        announce(&self.events, self.src, Kind::Backing(Box::new(seen))).await;
        announce(&self.events, self.src, Kind::Fidelity { subject, grade, note }).await;
    }
}

/// An address without its password, at the place where services reach it. `shown` has no password, and the host of whoever probed.
pub(crate) fn seen(shown: &str, address: &str) -> String {
    match (Spot::of(shown), Spot::of(address)) {
        (Some(spot), Some(there)) => spot.moved(shown, there.hosts),
        _ => shown.to_owned(),
    }
}

/// The engines of a spec that are no servers, each once.
pub(crate) fn embedded(spec: &Spec) -> Vec<(Role, &'static str)> {
    let (users, messages) = (spec.services.user_service.as_ref(), spec.services.message_service.as_ref());
    let store = |store: StoreEngine| Server::of_store(store).is_none().then(|| (Role::Store, store.name()));
    let queue = |queue: QueueEngine| Server::of_queue(queue).is_none().then(|| (Role::Queue, queue.name()));
    let cache = |cache: CacheEngine| {
        (Server::of_cache(cache).is_none() && cache != CacheEngine::None).then(|| (Role::Cache, cache.name()))
    };
    let users = users.into_iter().flat_map(|users| {
        let queued = (users.create == CreateMode::Queued).then(|| queue(users.queue)).flatten();
        [store(users.store), cache(users.cache), queued]
    });
    let messages =
        messages.into_iter().flat_map(|messages| [store(messages.store), cache(messages.cache), queue(messages.queue)]);
    let mut all: Vec<_> = users.chain(messages).flatten().collect();
    all.sort();
    all.dedup();
    all
}

/// The name of a run's place: at most 50 of `a-z 0-9 _`, another each time.
fn place_name(run: &str, fresh: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let run: Vec<char> = run.chars().map(clean).collect();
    let end: String = run[run.len().saturating_sub(RUN_IN_NAME)..].iter().collect();
    format!("lab_{end}_{fresh}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_in_services_is_asked_once() {
        let text = "question: q\nservices:\n  user-service: { store: sqlite, queue: sqlite }\n  \
                    message-service: { store: sqlite, queue: sqlite, cache: memory }\n";
        let spec = lab_core::spec::parse("t.yaml", text, &[], &|_| Err(String::new())).unwrap().spec;
        assert_eq!(embedded(&spec), [(Role::Store, "sqlite"), (Role::Queue, "sqlite"), (Role::Cache, "memory")]);
    }

    #[test]
    fn a_place_is_named_after_its_run_and_takes_any() {
        assert_eq!(place_name("2026-11-24-1530-users-k3f", "0a1b"), "lab_2026_11_24_1530_users_k3f_0a1b");
        let long = place_name(&"Ünlucky.".repeat(20), "0a1b");
        assert!(long.len() <= 50 && long.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{long}");
    }

    #[test]
    fn what_is_shown_has_the_services_host_and_no_password() {
        let shown = seen("postgres://lab:…@127.0.0.1:40001/lab", "postgres://lab:hush@postgres:5432/lab");
        assert_eq!(shown, "postgres://lab:…@postgres:5432/lab");
        assert_eq!(seen("sqs:aws:eu-west-1/x", "sqs:aws:eu-west-1/x"), "sqs:aws:eu-west-1/x");
    }
}
