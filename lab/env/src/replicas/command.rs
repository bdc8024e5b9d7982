//! What a replica is started with: the arguments of `serve SERVICE`, from the spec. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use lab_core::spec::{CacheEngine, CreateMode, QueueEngine, Server, Spec, StoreEngine};
use lab_core::unit::{Bytes, Millicores, Span};

use crate::EnvError;
use crate::backing::Addresses;

pub(super) const USER_SERVICE: &str = "user-service";
pub(super) const MESSAGE_SERVICE: &str = "message-service";
pub(crate) const LOAD_GENERATOR: &str = "load-generator";

/// What replicas are pointed to, as they see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Where they listen.
    pub(crate) listen: SocketAddr,
    /// Directory of the SQLite files.
    pub(crate) data: PathBuf,
    /// The control API's token.
    pub(crate) token: PathBuf,
    /// The load begun by `GET /start`.
    pub(crate) default_load: PathBuf,
    /// What services are told of servers.
    pub(crate) addresses: Addresses,
}

/// What every replica of a workload is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// The workload.
    pub(crate) workload: String,
    /// Arguments, all but the replica's name.
    pub(crate) args: Vec<String>,
    /// CPU limit; None: unlimited.
    pub(crate) cpu: Option<Millicores>,
    /// Memory limit; None: unlimited.
    pub(crate) memory: Option<Bytes>,
}

impl Template {
    /// The template of one workload of the spec, on a machine of so many cores.
    ///
    /// # Errors
    /// `NoSuchWorkload`: the spec does not have it. `NoServer`: it needs a server that has no address.
    pub(crate) fn of(spec: &Spec, workload: &str, places: &Places, cores: u32) -> Result<Self, EnvError> {
        let common = spec.services.workload(workload).ok_or_else(|| EnvError::NoSuchWorkload(workload.to_owned()))?;
        let mut args = vec!["serve".to_owned(), workload.to_owned()];
        add(&mut args, "--listen", places.listen);
        add(&mut args, "--threads", threads(common.resources.cpu, cores));
        match workload {
            USER_SERVICE => user_service(&mut args, spec, places)?,
            MESSAGE_SERVICE => message_service(&mut args, spec, places)?,
            _ => {
                add(&mut args, "--token-file", places.token.display());
                add(&mut args, "--default-load", places.default_load.display());
            }
        }
        let resources = common.resources;
        Ok(Self { workload: workload.to_owned(), args, cpu: resources.cpu, memory: resources.memory })
    }

    /// The whole command line of one replica.
    pub(crate) fn args_of<'a>(&'a self, replica: &'a str) -> impl Iterator<Item = &'a str> {
        self.args.iter().map(String::as_str).chain(["--name", replica])
    }
}

/// One worker thread for each core that a replica may fill.
fn threads(limit: Option<Millicores>, cores: u32) -> u64 {
    limit.map_or(u64::from(cores), |limit| limit.0.div_ceil(1000)).max(1)
}

fn add(args: &mut Vec<String>, flag: &str, value: impl ToString) {
    args.push(flag.to_owned());
    args.push(value.to_string());
}

fn user_service(args: &mut Vec<String>, spec: &Spec, places: &Places) -> Result<(), EnvError> {
    let Some(service) = &spec.services.user_service else { return Ok(()) };
    store(args, service.store, USER_SERVICE, places)?;
    cache(args, service.cache, service.cache_ttl, places)?;
    match service.create {
        CreateMode::Direct => add(args, "--create", "direct"),
        CreateMode::Queued => {
            add(args, "--create", "queued");
            add(args, "--queue", places.queue(service.queue, USER_SERVICE)?);
        }
    }
    work(args, &service.work);
    Ok(())
}

fn message_service(args: &mut Vec<String>, spec: &Spec, places: &Places) -> Result<(), EnvError> {
    let Some(service) = &spec.services.message_service else { return Ok(()) };
    store(args, service.store, MESSAGE_SERVICE, places)?;
    cache(args, service.cache, service.cache_ttl, places)?;
    add(args, "--queue", places.queue(service.queue, MESSAGE_SERVICE)?);
    add(args, "--consumers", service.consumers);
    work(args, &service.work);
    Ok(())
}

fn store(args: &mut Vec<String>, engine: StoreEngine, workload: &str, places: &Places) -> Result<(), EnvError> {
    add(args, "--store", places.store(engine, workload)?);
    if let Some(connections) = Server::of_store(engine).and_then(|server| places.addresses.connections.get(&server)) {
        add(args, "--store-connections", connections);
    }
    Ok(())
}

impl Places {
    fn store(&self, engine: StoreEngine, workload: &str) -> Result<String, EnvError> {
        match engine {
            StoreEngine::Memory => Ok("memory:".to_owned()),
            StoreEngine::Sqlite => Ok(self.sqlite(workload)),
            StoreEngine::Postgres | StoreEngine::Mysql | StoreEngine::Mongodb | StoreEngine::Dynamodb => {
                self.server(Server::of_store(engine), &engine)
            }
        }
    }

    /// A file beside the store's, so that the queue's writes do not wait for the store's.
    fn queue(&self, engine: QueueEngine, workload: &str) -> Result<String, EnvError> {
        match engine {
            QueueEngine::Sqlite => Ok(self.sqlite(&format!("{workload}-queue"))),
            QueueEngine::Rabbitmq | QueueEngine::Kafka | QueueEngine::Sqs => {
                self.server(Server::of_queue(engine), &engine)
            }
        }
    }

    fn sqlite(&self, file: &str) -> String {
        format!("sqlite:{}", self.data.join(format!("{file}.db")).display())
    }

    fn server(&self, server: Option<Server>, engine: &dyn fmt::Display) -> Result<String, EnvError> {
        let address = server.and_then(|server| self.addresses.files.get(&server)).cloned();
        let name = || server.map_or_else(|| engine.to_string(), |server| server.name().to_owned());
        address.ok_or_else(|| EnvError::NoServer(name()))
    }
}

fn cache(args: &mut Vec<String>, engine: CacheEngine, ttl: Span, places: &Places) -> Result<(), EnvError> {
    let address = match engine {
        CacheEngine::None => "none".to_owned(),
        CacheEngine::Memory => "memory:".to_owned(),
        CacheEngine::Redis => places.server(Server::of_cache(engine), &engine)?,
    };
    add(args, "--cache", address);
    if engine != CacheEngine::None {
        add(args, "--cache-ttl", ttl);
    }
    Ok(())
}

fn work(args: &mut Vec<String>, work: &BTreeMap<String, Span>) {
    if !work.is_empty() {
        let parts: Vec<String> = work.iter().map(|(operation, time)| format!("{operation}={time}")).collect();
        add(args, "--work", parts.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "question: What is it started with?\nenvironment: local\nservices:\n  \
        user-service: { store: sqlite, cache: memory, cache-ttl: 5s, create: queued, work: { create: 2ms, get: 200us }, resources: { cpu: 1500m } }\n  \
        message-service: { store: memory, queue: sqlite, consumers: 3 }\n";

    fn template(yaml: &str, workload: &str, addresses: &[(Server, &str)]) -> Result<Template, EnvError> {
        let experiment = lab_core::spec::parse("x.yaml", yaml, &[], &|_| Err(String::new())).unwrap();
        let places = Places {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: "/d".into(),
            token: "/t".into(),
            default_load: "/l".into(),
            addresses: Addresses {
                files: addresses.iter().map(|(server, address)| (*server, (*address).to_owned())).collect(),
                connections: [(Server::Postgres, 7)].into(),
            },
        };
        Template::of(&experiment.spec, workload, &places, 4)
    }

    fn line(workload: &str) -> String {
        let template = template(YAML, workload, &[]).unwrap();
        template.args_of(&format!("{workload}-7")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_setting_becomes_a_flag() {
        assert_eq!(
            line(USER_SERVICE),
            "serve user-service --listen 127.0.0.1:0 --threads 2 --store sqlite:/d/user-service.db --cache memory: \
             --cache-ttl 5s --create queued --queue sqlite:/d/user-service-queue.db --work create=2ms,get=200us \
             --name user-service-7"
        );
        assert_eq!(
            line(MESSAGE_SERVICE).replace(" --cache none", ""),
            "serve message-service --listen 127.0.0.1:0 --threads 4 --store memory: \
             --queue sqlite:/d/message-service-queue.db --consumers 3 --name message-service-7"
        );
        assert_eq!(
            line(LOAD_GENERATOR),
            "serve load-generator --listen 127.0.0.1:0 --threads 4 --token-file /t --default-load /l --name load-generator-7"
        );
    }
    #[test]
    fn servers_are_told_by_their_address_files() {
        let yaml = "question: Where is it?\nenvironment: docker\nservices: { user-service: { store: postgres, cache: redis } }\n";
        let missing = template(yaml, USER_SERVICE, &[(Server::Postgres, "@/lab/backing/store.postgres")]).unwrap_err();
        assert!(matches!(&missing, EnvError::NoServer(name) if name == "cache.redis"), "{missing}");
        let both = [(Server::Postgres, "@/lab/backing/store.postgres"), (Server::Redis, "@/lab/backing/cache.redis")];
        let args = template(yaml, USER_SERVICE, &both).unwrap().args.join(" ");
        assert!(
            args.contains("--store @/lab/backing/store.postgres --store-connections 7 --cache @/lab/backing/cache.redis --cache-ttl"),
            "{args}"
        );
    }
}
