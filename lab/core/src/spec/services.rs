//! Reads `services`: each of them, its engines, limits and work.

use std::collections::BTreeMap;

use super::autoscale::{Followable, MAX_REPLICAS, autoscale};
use super::node::{Node, Value};
use super::reader::{Map, Reading, Scalar, Wrong, duration, one_of, whole32};
use super::reference::{self, Field};
use super::{
    CacheEngine, CreateMode, LoadGenerator, MessageService, QueueEngine, Resources, Services, StoreEngine, Target,
    UnknownName, UserService, Workload,
};
use crate::unit::{Bytes, Millicores, Span};

const LONGEST_WORK: Span = Span::from_secs(10);

/// Reads `services`; `target` is what the load calls.
pub(super) fn services(r: &mut Reading<'_>, node: &Node, target: Option<Target>) -> Services {
    r.map(node, "`services`", reference::SERVICES);
    // A name with nothing behind it is a service with every default.
    let named = |name: &str| node.entry(name).map(|entry| &entry.node);
    let mut services = Services {
        user_service: named("user-service").map(|node| user_service(r, node, target)),
        message_service: named("message-service").map(|node| message_service(r, node, target)),
        load_generator: LoadGenerator::default(),
    };
    if let Some(node) = named("load-generator") {
        let map = r.map(node, "`load-generator`", reference::LOAD_GENERATOR);
        let follow = |resources| Followable { workload: "load-generator", resources, queue: false, target: false };
        services.load_generator.common = workload(r, &map, follow);
    }
    services
}

fn user_service(r: &mut Reading<'_>, node: &Node, target: Option<Target>) -> UserService {
    const MODES: &[(&str, CreateMode)] = &[("direct", CreateMode::Direct), ("queued", CreateMode::Queued)];
    let map = r.map(node, "`user-service`", reference::USER_SERVICE);
    let create = map.read(r, "create", &one_of(MODES)).unwrap_or(CreateMode::Direct);
    let follow = |resources| Followable {
        workload: "user-service",
        resources,
        queue: create == CreateMode::Queued,
        target: target == Some(Target::UserService),
    };
    UserService {
        store: engine(r, &map, "store", StoreEngine::Sqlite),
        cache: engine(r, &map, "cache", CacheEngine::None),
        cache_ttl: cache_ttl(r, &map),
        queue: engine(r, &map, "queue", QueueEngine::Sqlite),
        create,
        work: work(r, &map, reference::USER_WORK),
        common: workload(r, &map, follow),
    }
}

fn message_service(r: &mut Reading<'_>, node: &Node, target: Option<Target>) -> MessageService {
    let map = r.map(node, "`message-service`", reference::MESSAGE_SERVICE);
    let follow = |resources| Followable {
        workload: "message-service",
        resources,
        queue: true,
        target: target == Some(Target::MessageService),
    };
    MessageService {
        store: engine(r, &map, "store", StoreEngine::Sqlite),
        cache: engine(r, &map, "cache", CacheEngine::None),
        cache_ttl: cache_ttl(r, &map),
        queue: engine(r, &map, "queue", QueueEngine::Sqlite),
        consumers: map.read(r, "consumers", &whole32(1..=64)).unwrap_or(1),
        work: work(r, &map, reference::MESSAGE_WORK),
        common: workload(r, &map, follow),
    }
}

fn engine<T>(r: &mut Reading<'_>, map: &Map<'_>, key: &str, default: T) -> T
where
    T: std::str::FromStr<Err = UnknownName>,
{
    let read = |text: &str| text.parse::<T>().map_err(|error| Wrong(error.message, Some(error.help)));
    map.read(r, key, &read as Scalar<'_, T>).unwrap_or(default)
}

fn cache_ttl(r: &mut Reading<'_>, map: &Map<'_>) -> Span {
    let longest = Span::from_secs(24 * 3600);
    map.read(r, "cache-ttl", &duration(Span::from_millis(1)..=longest)).unwrap_or(Span::from_secs(60))
}

fn work(r: &mut Reading<'_>, map: &Map<'_>, operations: &'static [Field]) -> BTreeMap<String, Span> {
    let Some(node) = map.get("work") else { return BTreeMap::new() };
    let map = r.map(node, "`work`", operations);
    let burnt = operations.iter().filter_map(|operation| {
        let span = map.read(r, operation.name, &duration(Span::ZERO..=LONGEST_WORK))?;
        Some((operation.name.to_owned(), span))
    });
    burnt.collect()
}

fn workload(r: &mut Reading<'_>, map: &Map<'_>, follow: impl Fn(Resources) -> Followable) -> Workload {
    let resources = map.get("resources").map(|node| limits(r, node)).unwrap_or_default();
    let autoscale = map.get("autoscale").and_then(|node| autoscale(r, node, &follow(resources)));
    let least = autoscale.as_ref().map_or(1, |autoscale| autoscale.min.max(1));
    let replicas = map.read(r, "replicas", &replicas).unwrap_or(least);
    if let Some(autoscale) = &autoscale
        && !(autoscale.min..=autoscale.max).contains(&replicas)
        && autoscale.min <= autoscale.max
    {
        let message = format!("`replicas` {replicas} is outside `min` {} to `max` {}", autoscale.min, autoscale.max);
        r.error(&map.at("replicas"), message);
    }
    Workload { replicas, resources, autoscale }
}

fn replicas(text: &str) -> Result<u32, Wrong> {
    whole32(0..=MAX_REPLICAS)(text).and_then(|replicas| match replicas {
        0 => Err(Wrong(
            "0 replicas do nothing, and an autoscaler leaves a workload of size 0 alone".to_owned(),
            Some("begin with at least 1; `autoscale.min: 0` may go down to 0 later".to_owned()),
        )),
        some => Ok(some),
    })
}

fn limits(r: &mut Reading<'_>, node: &Node) -> Resources {
    let map = r.map(node, "`resources`", reference::RESOURCES);
    let cpu = |text: &str| -> Result<Millicores, Wrong> {
        let cpu: Millicores = super::reader::parsed(text)?;
        let fits = (10..=64_000).contains(&cpu.0);
        if fits { Ok(cpu) } else { Err(Wrong(format!("{cpu} is outside 10m to 64000m"), None)) }
    };
    let memory = |text: &str| -> Result<Bytes, Wrong> {
        let memory: Bytes = super::reader::parsed(text)?;
        let fits = (16 << 20..=64 << 30).contains(&memory.0);
        if fits { Ok(memory) } else { Err(Wrong(format!("{memory} is outside 16Mi to 64Gi"), None)) }
    };
    Resources { cpu: map.read(r, "cpu", &cpu), memory: map.read(r, "memory", &memory) }
}

/// True when the store of a service lives in one replica only, yet there may be more.
pub(super) fn splits_store(store: StoreEngine, common: &Workload) -> bool {
    let most = common.autoscale.as_ref().map_or(common.replicas, |autoscale| autoscale.max.max(common.replicas));
    store == StoreEngine::Memory && most > 1
}

/// The node of a service, even when nothing stands behind its name.
pub(super) fn node_of<'n>(root: &'n Node, service: &str) -> Option<&'n Node> {
    let entry = root.get("services")?.entry(service)?;
    Some(match entry.node.value {
        Value::Null => root.get("services")?,
        _ => &entry.node,
    })
}
