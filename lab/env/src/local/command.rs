//! What a replica is started with: the arguments of `serve SERVICE`, from the spec. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lab_core::spec::{CacheEngine, CreateMode, QueueEngine, Server, Spec, StoreEngine};
use lab_core::unit::{Millicores, Span};

use crate::EnvError;

pub(super) const USER_SERVICE: &str = "user-service";
pub(super) const MESSAGE_SERVICE: &str = "message-service";
pub(super) const LOAD_GENERATOR: &str = "load-generator";

/// Files that replicas are pointed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// Directory of the SQLite files.
    pub(super) data: PathBuf,
    /// The control API's token.
    pub(super) token: PathBuf,
    /// The load begun by `GET /start`.
    pub(super) default_load: PathBuf,
}

/// What every replica of a workload is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// Arguments, all but the replica's name.
    pub(super) args: Vec<String>,
    /// CPU limit; None: unlimited.
    pub(super) cpu: Option<Millicores>,
}

impl Template {
    /// The template of one workload of the spec.
    ///
    /// # Errors
    /// `NoSuchWorkload`: the spec does not have it.
    pub(super) fn of(spec: &Spec, workload: &str, files: &Files, cores: u32) -> Result<Self, EnvError> {
        let common = spec.services.workload(workload).ok_or_else(|| EnvError::NoSuchWorkload(workload.to_owned()))?;
        let mut args = vec!["serve".to_owned(), workload.to_owned()];
        add(&mut args, "--listen", "127.0.0.1:0");
        add(&mut args, "--threads", threads(common.resources.cpu, cores));
        match workload {
            USER_SERVICE => user_service(&mut args, spec, &files.data),
            MESSAGE_SERVICE => message_service(&mut args, spec, &files.data),
            _ => {
                add(&mut args, "--token-file", files.token.display());
                add(&mut args, "--default-load", files.default_load.display());
            }
        }
        Ok(Self { args, cpu: common.resources.cpu })
    }

    /// The whole command line of one replica.
    pub(super) fn args_of<'a>(&'a self, replica: &'a str) -> impl Iterator<Item = &'a str> {
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

fn user_service(args: &mut Vec<String>, spec: &Spec, data: &Path) {
    let Some(service) = &spec.services.user_service else { return };
    add(args, "--store", store(service.store, data, USER_SERVICE));
    cache(args, service.cache, service.cache_ttl, data);
    match service.create {
        CreateMode::Direct => add(args, "--create", "direct"),
        CreateMode::Queued => {
            add(args, "--create", "queued");
            add(args, "--queue", queue(service.queue, data, USER_SERVICE));
        }
    }
    work(args, &service.work);
}

fn message_service(args: &mut Vec<String>, spec: &Spec, data: &Path) {
    let Some(service) = &spec.services.message_service else { return };
    add(args, "--store", store(service.store, data, MESSAGE_SERVICE));
    cache(args, service.cache, service.cache_ttl, data);
    add(args, "--queue", queue(service.queue, data, MESSAGE_SERVICE));
    add(args, "--consumers", service.consumers);
    work(args, &service.work);
}

fn store(engine: StoreEngine, data: &Path, workload: &str) -> String {
    match engine {
        StoreEngine::Memory => "memory:".to_owned(),
        StoreEngine::Sqlite => format!("sqlite:{}", data.join(format!("{workload}.db")).display()),
        StoreEngine::Postgres | StoreEngine::Mysql | StoreEngine::Mongodb | StoreEngine::Dynamodb => {
            server(Server::of_store(engine), data)
        }
    }
}

/// The file in which the address of a server stands: it may hold a password.
fn server(server: Option<Server>, data: &Path) -> String {
    let name = server.map(Server::name).unwrap_or_default();
    format!("@{}", data.with_file_name("backing").join(name).display())
}

/// A file beside the store's, so that the queue's writes do not wait for the store's.
fn queue(engine: QueueEngine, data: &Path, workload: &str) -> String {
    match engine {
        QueueEngine::Sqlite => format!("sqlite:{}", data.join(format!("{workload}-queue.db")).display()),
        QueueEngine::Rabbitmq | QueueEngine::Kafka | QueueEngine::Sqs => server(Server::of_queue(engine), data),
    }
}

fn cache(args: &mut Vec<String>, engine: CacheEngine, ttl: Span, data: &Path) {
    match engine {
        CacheEngine::None => add(args, "--cache", "none"),
        CacheEngine::Memory => {
            add(args, "--cache", "memory:");
            add(args, "--cache-ttl", ttl);
        }
        CacheEngine::Redis => {
            add(args, "--cache", server(Server::of_cache(engine), data));
            add(args, "--cache-ttl", ttl);
        }
    }
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

    fn line(workload: &str) -> String {
        let experiment = lab_core::spec::parse("x.yaml", YAML, &[], &|_| Err(String::new())).unwrap();
        let files = Files { data: "/d".into(), token: "/t".into(), default_load: "/l".into() };
        let template = Template::of(&experiment.spec, workload, &files, 4).unwrap();
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
}
