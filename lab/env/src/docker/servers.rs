//! The backing servers of a lab as containers: started at once from their recipes, told to the services, hit by faults. What each is
//! started with stands in `backing::recipe`; that it answers is found by its own driver.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use lab_core::event::{ImageSeen, Kind};
use lab_core::fault::{FaultTarget, Injury, Planned};
use lab_core::spec::{Role, Server, Spec};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::call::{Asked as _, QUICK, ask};
use super::container::{Container, ContainerPlan};
use super::engine::Engine;
use super::pull;
use crate::backing::recipe::{Needs, Recipe, Started, address, recipe, started};
use crate::backing::{Addresses, Endpoints, Found, Ready, Spot, write_open};
use crate::home::random_hex;
use crate::proxy::Proxy;
use crate::system::{Doing as _, blocking};
use crate::{Beside, EnvError, Seen};

/// How long a server may take from its start until it answers, on a busy machine.
const ANSWERS: Duration = Duration::from_secs(120);
/// How long a killed server may take to be gone.
const GONE: Duration = Duration::from_secs(10);
/// Ports that were free and are taken when they are published: so many tries.
const TRIES: usize = 5;
/// Length of a password, bytes.
const PASSWORD: usize = 16;

/// The servers of a lab that is up. Dropped: what passes to them ends; containers are for the sweep.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    running: Vec<Running>,
    /// In front of servers that were there already.
    passed: BTreeMap<Server, Proxy>,
    given: Vec<Server>,
}

#[derive(Debug)]
struct Running {
    server: Server,
    container: Mutex<Container>,
    proxy: Option<Proxy>,
    beside: Beside,
}

impl Servers {
    /// Starts what the spec needs and nobody gave, gives this run a place at what is there already, asks embedded engines, all at once;
    /// announces each and gives what services are told.
    ///
    /// # Errors
    /// One cannot be had, or does not answer. What was made stands in the ledger.
    pub(crate) async fn start(
        engine: &Engine,
        ready: &Ready,
        spec: &Spec,
        endpoints: &Endpoints,
    ) -> Result<(Self, Addresses), EnvError> {
        ready.prepare().await?;
        let gateway = gateway(engine).await?;
        let starting = Starting { engine, ready, spec, gateway };
        let missing = spec.servers().into_iter().filter(|server| endpoints.get(*server).is_none());
        let started = try_join_all(missing.map(|server| starting.start(server)));
        let ((), given, started) = tokio::try_join!(ready.embedded(spec), ready.given(spec, endpoints), started)?;
        let mut servers = Self::default();
        let mut all = Vec::new();
        for mut found in given {
            servers.given.push(found.server);
            if let Some((address, proxy)) = starting.passed(&found).await? {
                found.address = address;
                servers.passed.insert(found.server, proxy);
            }
            all.push(found);
        }
        for (running, found) in started {
            servers.running.push(running);
            all.push(found);
        }
        all.sort_by_key(|found| found.server);
        let addresses = ready.tell(spec, all).await?;
        Ok((servers, addresses))
    }

    /// Where those that were started answer on this machine.
    pub(crate) fn beside(&self) -> impl Iterator<Item = Beside> {
        self.running.iter().map(|running| running.beside.clone())
    }

    /// Hits every server of a role; gives their names.
    ///
    /// # Errors
    /// There is none, it was there already and is not ours to hit, or Docker did not do it.
    pub(crate) async fn fault(&self, role: Role, injury: Injury) -> Result<Vec<String>, EnvError> {
        let mut hit = Vec::new();
        for running in self.running.iter().filter(|running| running.server.role() == role) {
            running.hit(injury).await?;
            hit.push(running.server.name());
        }
        for server in self.given.iter().filter(|server| server.role() == role) {
            match (injury, self.passed.get(server)) {
                (Injury::Slow(by), Some(proxy)) => proxy.slow(by.to_duration()),
                _ => return Err(refused(*server, injury, "it was there already, and is not ours to hit")),
            }
            hit.push(server.name());
        }
        if hit.is_empty() {
            let who = format!("a {} of its own", role.name());
            let source = io::Error::other(format!("no service of this lab uses a {} that is a server", role.name()));
            return Err(EnvError::Api { who, what: "get hit".to_owned(), source: source.into() });
        }
        Ok(hit)
    }
}

impl Running {
    async fn hit(&self, injury: Injury) -> Result<(), EnvError> {
        let mut container = self.container.lock().await;
        match injury {
            Injury::Kill => {
                container.kill().await?;
                // A server that stays would be no killed one; one that had ended is started all the same.
                let ended = timeout(GONE, container.wait()).await;
                ended.map_err(|_| refused(self.server, injury, "it did not end"))?;
                container.restart().await
            }
            Injury::Pause => container.pause().await.map(drop),
            Injury::Resume => container.unpause().await.map(drop),
            Injury::Disconnect => container.disconnect().await,
            Injury::Connect => container.connect().await,
            Injury::Slow(by) => match &self.proxy {
                Some(proxy) => {
                    proxy.slow(by.to_duration());
                    Ok(())
                }
                None => Err(refused(
                    self.server,
                    injury,
                    "nothing stands in front of it, as the spec has no slow fault of it",
                )),
            },
        }
    }
}

fn refused(server: Server, injury: Injury, why: &'static str) -> EnvError {
    let source = io::Error::other(why);
    EnvError::Api { who: server.name(), what: format!("get {}", injury.done()), source: source.into() }
}

/// What every start needs.
struct Starting<'a> {
    engine: &'a Engine,
    ready: &'a Ready,
    spec: &'a Spec,
    gateway: IpAddr,
}

impl Starting<'_> {
    /// Image, volume, container; then until it answers.
    async fn start(&self, server: Server) -> Result<(Running, Found), EnvError> {
        let recipe = recipe(server);
        let (image, is_root) = self.image(recipe).await?;
        let password = random_hex(PASSWORD)?;
        let mut volumes = Vec::new();
        if let Some(data) = recipe.data {
            let volume = self.engine.make_volume(&format!("{}-data", server.engine()), &server.name()).await?;
            volumes.push((volume, data.to_owned()));
        }
        let plan = ContainerPlan {
            thing: server.engine().to_owned(),
            role: server.name(),
            image: image.name.clone(),
            hostname: Some(server.engine().to_owned()),
            aliases: vec![server.engine().to_owned()],
            volumes,
            memory: Some(recipe.memory),
            // An image that begins as root needs some to become another user.
            cap_drop_all: !is_root,
            ..ContainerPlan::default()
        };
        let made = self.run(server, recipe, plan, &password).await?;
        let machine = address(server, &made.machine, &password);
        let name = server.name();
        let probe = self.ready.prober.probe(&name, server.role(), &machine, ANSWERS);
        let probed = tokio::select! {
            probed = probe => probed,
            exit = made.container.wait() => {
                Err(EnvError::Crashed { replica: server.name(), exit, tail: self.last_words(server) })
            }
        }?;
        let (engine, fidelity) = (probed.server.clone(), probed.promises.fidelity);
        let beside = Beside { name, engine, fidelity, address: made.machine };
        let found = Found { server, address: address(server, &made.services, &password), probed, image: Some(image) };
        Ok((Running { server, container: Mutex::new(made.container), proxy: made.proxy, beside }, found))
    }

    /// The image, and whether it begins as root.
    async fn image(&self, recipe: Recipe) -> Result<(ImageSeen, bool), EnvError> {
        let named = std::env::var(recipe.variable).ok().filter(|image| !image.is_empty());
        let image = named.unwrap_or_else(|| recipe.image.to_owned());
        let docker = self.engine.docker();
        let (events, src) = (self.ready.events.clone(), self.ready.src.to_owned());
        let tell = move |text: String| {
            // How far it is: the next sentence says it anew.
            drop(events.try_send(Seen { src: src.clone(), at: Some(Instant::now()), kind: Kind::Warning { text } }));
        };
        let seen = pull::ensure(docker, &image, recipe.variable, tell).await?;
        let found = ask(QUICK, docker.inspect_image(&image)).await.asked(|| format!("say what image {image} is"))?;
        let user = found.config.and_then(|config| config.user).unwrap_or_default();
        let user = user.split(':').next().unwrap_or_default();
        Ok((seen, matches!(user, "" | "0" | "root")))
    }

    /// Starts the container. Its ports on this machine are chosen before, so that they are the same after a restart.
    async fn run(&self, server: Server, recipe: Recipe, plan: ContainerPlan, password: &str) -> Result<Made, EnvError> {
        let keeps = may_be_killed(self.spec, server.role());
        let mut tries = 0;
        loop {
            tries += 1;
            let port = free_port()?;
            let own_port = recipe.host_port.map(|_| free_port()).transpose()?;
            let proxy = self.in_front(server, &format!("127.0.0.1:{port}")).await?;
            let services = match &proxy {
                Some(proxy) => proxy.address().to_string(),
                None => format!("{}:{}", server.engine(), recipe.port),
            };
            let machine = format!("127.0.0.1:{}", own_port.unwrap_or(port));
            let Started { env, args, file } =
                started(server, Needs { password, services: &services, machine: &machine, keeps });
            let mut plan = ContainerPlan { env, args, ..plan.clone() };
            plan.publish = vec![(recipe.port, Some(port))];
            plan.publish.extend(recipe.host_port.zip(own_port).map(|(inside, outside)| (inside, Some(outside))));
            if let Some((text, seen)) = file {
                let path = self.ready.places.own.join(format!("{server}.conf"));
                let written = path.clone();
                blocking(move || write_open(&written, &text)).await?;
                plan.binds = vec![(path, seen.to_owned(), true)];
            }
            match self.engine.start(plan).await {
                Ok(container) => return Ok(Made { container, proxy, services, machine }),
                Err(error) if tries < TRIES && is_taken(&error) => {
                    tracing::debug!(%error, %server, "a free port was taken; another one");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A proxy in front of a server that a fault of the spec slows.
    async fn in_front(&self, server: Server, to: &str) -> Result<Option<Proxy>, EnvError> {
        if !is_slowed(self.spec, server.role()) {
            return Ok(None);
        }
        let listening = Proxy::start(self.gateway, to.to_owned()).await;
        listening.map(Some).doing(|| format!("listen on {} for {server}", self.gateway))
    }

    /// Where containers reach a server that was there already, when that is another place than where this machine does.
    async fn passed(&self, found: &Found) -> Result<Option<(String, Proxy)>, EnvError> {
        let Some(spot) = Spot::of(&found.address) else { return Ok(None) };
        let slowed = is_slowed(self.spec, found.server.role());
        if !spot.is_loopback() && !slowed {
            return Ok(None);
        }
        let why = if slowed { "be slowed" } else { "be reached from containers at a loopback address" };
        let refused = |why: &'static str, how: &'static str| EnvError::Api {
            who: found.server.name(),
            what: why.to_owned(),
            source: io::Error::other(how).into(),
        };
        // It sends its clients on to the address that it advertises.
        if found.server == Server::Kafka {
            return Err(refused(
                why,
                "Kafka sends its clients to its advertised listeners; name one that containers reach",
            ));
        }
        let Some((host, port)) = spot.single(recipe(found.server).port) else {
            return Err(refused(why, "it has several hosts; name one"));
        };
        let to = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let listening = Proxy::start(self.gateway, to).await;
        let proxy = listening.doing(|| format!("listen on {} for {}", self.gateway, found.server))?;
        Ok(Some((spot.moved(&found.address, &proxy.address().to_string()), proxy)))
    }

    /// The end of a server's log.
    fn last_words(&self, server: Server) -> String {
        const LINES: usize = 5;
        let log = std::fs::read_to_string(self.engine.log(server.engine())).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join(" | ")
    }
}

/// A container that runs, and how it is reached: `host:port` by services and by this machine.
struct Made {
    container: Container,
    proxy: Option<Proxy>,
    services: String,
    machine: String,
}

async fn gateway(engine: &Engine) -> Result<IpAddr, EnvError> {
    let said = engine.gateway().await?;
    let read = said.parse().map_err(|_| io::Error::other(format!("`{said}` is no address")));
    read.doing(|| "read the gateway of the lab's network".to_owned())
}

/// True when a phase of the spec slows servers of this role.
fn is_slowed(spec: &Spec, role: Role) -> bool {
    has(spec, Planned::Slow(FaultTarget::Role(role)))
}

/// True when a phase of the spec kills servers of this role, or there is no plan and anything may come.
fn may_be_killed(spec: &Spec, role: Role) -> bool {
    spec.load.is_none() || has(spec, Planned::Kill(FaultTarget::Role(role)))
}

fn has(spec: &Spec, planned: Planned) -> bool {
    let phases = spec.load.iter().flat_map(|load| &load.phases);
    phases.flat_map(|phase| &phase.faults).any(|fault| fault.what == planned)
}

fn free_port() -> Result<u16, EnvError> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| Ok(listener.local_addr()?.port()));
    port.doing(|| "find a free port".to_owned())
}

fn is_taken(error: &EnvError) -> bool {
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    said.contains("port is already allocated") || said.contains("address already in use")
}
