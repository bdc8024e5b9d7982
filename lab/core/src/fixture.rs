//! Runs that never happened: a seeded simulation of generators, replicas, metrics pipeline and the real autoscaling engine, as events.
//! For tests of whatever reads journals; equal seeds give equal runs.

mod backing;
mod generator;
mod replicas;
mod trial;

use std::collections::BTreeMap;

use crate::event::{BackingSeen, Event, Grade, HostInfo, Kind, Outcome, RunInfo, TrialInfo, VariantInfo};
use crate::expect::Expectation;
use crate::spec::{
    Arrivals, Autoscale, AutoscalerSettings, Budget, CacheEngine, CreateMode, EnvironmentKind, Load, LoadGenerator,
    Metric, Phase, QueueEngine, Resources, Services, Shape, Spec, StoreEngine, Target, UserService, Workload,
};
use crate::unit::{Millicores, Percent, Rate, RunTime, Span};

/// One variant of a made-up run.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its label, `cpu=70%`.
    pub label: String,
    /// CPU target of the autoscaler.
    pub target: Percent,
    /// Time one request takes a replica that does nothing else.
    pub work: Span,
    /// Its queue.
    pub queue: QueueEngine,
    /// Its cache; one that is there grows its counters.
    pub cache: CacheEngine,
    /// The backing services that its trials find.
    pub backing: Vec<BackingSeen>,
}

impl Variant {
    /// One on SQLite, as journals have it that do not tell of backing services.
    pub fn new(label: &str, target: f64, work: Span) -> Self {
        let (queue, cache) = (QueueEngine::Sqlite, CacheEngine::None);
        Self { label: label.to_owned(), target: Percent(target), work, queue, cache, backing: Vec::new() }
    }
}

/// A made-up run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Seed of everything.
    pub seed: u64,
    /// Its variants; the first is what others are compared with.
    pub variants: Vec<Variant>,
    /// How often each runs.
    pub blocks: u32,
    /// Phases as (name, requests a second, seconds, measured).
    pub phases: Vec<(&'static str, f64, u64, bool)>,
    /// What is expected.
    pub expect: Vec<&'static str>,
    /// Load generators.
    pub generators: u32,
    /// An autoscaler follows the CPU; else there is one replica.
    pub scaled: bool,
    /// Pauses of the queue's server as (seconds since load began, seconds): all requests fail until it goes on.
    pub pauses: Vec<(u64, u64)>,
}

impl Scenario {
    /// One trial: a fourfold step that takes a service from 1 to 4 replicas, and back to 1 when it ends.
    pub fn autoscale(seed: u64) -> Self {
        Self {
            seed,
            variants: vec![Variant::new("autoscale-users", 0.7, Span(5_400_000))],
            blocks: 1,
            phases: vec![("warm-up", 100.0, 20, false), ("step", 400.0, 80, true), ("cool-down", 50.0, 80, true)],
            expect: vec![
                "p99(step) < 250ms",
                "errors < 0.1%",
                "recovery(step) < 60s",
                "replicas(step) <= 4",
                "backlog < 1000",
                "lost = 0",
            ],
            generators: 2,
            scaled: true,
            pauses: Vec::new(),
        }
    }

    /// Three variants in `blocks` blocks of short trials; the second differs from the first, the third does not.
    pub fn matrix(seed: u64, blocks: u32) -> Self {
        Self {
            seed,
            variants: vec![
                Variant::new("cpu=70%", 0.7, Span(2_000_000)),
                Variant::new("cpu=80%", 0.8, Span(2_900_000)),
                Variant::new("cpu=90%", 0.9, Span(2_000_000)),
            ],
            blocks,
            phases: vec![("warm-up", 100.0, 3, false), ("hold", 150.0, 15, true)],
            expect: vec!["p99(hold) < 500ms", "errors < 1%"],
            generators: 1,
            scaled: true,
            pauses: Vec::new(),
        }
    }

    /// Kafka against an emulated SQS over four rates, the highest above what one replica can do; with SQS a request takes longer.
    pub fn queues(seed: u64, blocks: u32) -> Self {
        let variant = |label: &str, work: u64, queue: QueueEngine| Variant {
            queue,
            backing: vec![backing::sqlite(), backing::queue(queue)],
            ..Variant::new(label, 1.0, Span(work))
        };
        let (kafka, sqs) = (QueueEngine::Kafka, QueueEngine::Sqs);
        Self {
            seed,
            variants: vec![variant("queue=kafka", 4_200_000, kafka), variant("queue=sqs", 6_400_000, sqs)],
            blocks,
            phases: vec![
                ("warm-up", 60.0, 3, false),
                ("low", 75.0, 15, true),
                ("middle", 120.0, 10, true),
                ("high", 180.0, 10, true),
                ("most", 300.0, 10, true),
            ],
            expect: vec!["p99 < 150ms", "errors < 1%"],
            scaled: false,
            ..Self::matrix(seed, blocks)
        }
    }

    /// One trial on Kafka, whose broker is paused for 5 seconds in the middle.
    pub fn crash(seed: u64) -> Self {
        let mut scenario = Self::queues(seed, 1);
        scenario.variants.truncate(1);
        let phases = vec![("warm-up", 60.0, 3, false), ("pause", 100.0, 30, true)];
        Self { phases, expect: vec!["errors < 30%"], pauses: vec![(13, 5)], ..scenario }
    }

    /// No cache, one in memory and Redis, in front of the same store.
    pub fn caches(seed: u64) -> Self {
        let variant = |cache: CacheEngine| Variant {
            cache,
            backing: std::iter::once(backing::sqlite()).chain(backing::cache(cache)).collect(),
            ..Variant::new(&format!("cache={}", cache.name()), 1.0, Span(2_000_000))
        };
        Self {
            variants: CacheEngine::ALL.iter().map(|cache| variant(*cache)).collect(),
            scaled: false,
            ..Self::matrix(seed, 1)
        }
    }

    /// All events of the run, numbered from 1 in order of time.
    pub fn events(&self) -> Vec<Event> {
        let mut script = Script::default();
        let order = self.order();
        let variants: Vec<_> = (0..self.variants.len()).map(|v| self.variant(v)).collect();
        let info = RunInfo {
            run: "2026-11-24-1530-autoscale-users-k3f".to_owned(),
            version: "0.1.0".to_owned(),
            started_at: "2026-11-24T15:30:00Z".to_owned(),
            spec: self.spec(0),
            variants,
            order: order.clone(),
            host: HostInfo {
                platform: "linux x86_64".to_owned(),
                kernel: "6.8.0".to_owned(),
                cpu: "Example CPU @ 2.60GHz".to_owned(),
                cores: 2,
                memory_bytes: 8 << 30,
            },
        };
        script.say(0, "run", Kind::RunStarted(Box::new(info)));
        let mut now = 20_000_000;
        for trial in order {
            now = self.trial(&mut script, now, trial) + 200_000_000;
        }
        script.say(now, "run", Kind::RunEnded { outcome: Outcome::Completed });
        script.events()
    }

    fn trial(&self, script: &mut Script, start: u64, info: TrialInfo) -> u64 {
        script.say(start, "run", Kind::TrialStarted(info));
        for (subject, grade, note) in [
            ("store sqlite", Grade::Embedded, "one file on this machine, shared by all replicas"),
            (
                "autoscaler",
                Grade::Compatible,
                "the algorithm of Kubernetes 1.37 in this process, on CPU read from /proc",
            ),
            ("cpu-limit", Grade::Compatible, "stop and continue in slices of 10 ms instead of a CFS quota"),
        ] {
            let (subject, note) = (subject.to_owned(), note.to_owned());
            script.say(start + 1_000_000, "env.local", Kind::Fidelity { subject, grade, note });
        }
        let variant = &self.variants[info.variant as usize];
        for seen in &variant.backing {
            script.say(start + 1_500_000, "env.local", Kind::Backing(Box::new(seen.clone())));
        }
        trial::Simulation::new(self, variant, info, start + 2_000_000).run(script)
    }

    /// Blocks, each with every variant once, in an order that rotates.
    fn order(&self) -> Vec<TrialInfo> {
        let n = self.variants.len() as u32;
        let places = (0..self.blocks).flat_map(|block| (0..n).map(move |i| (block, (i + block) % n)));
        places
            .enumerate()
            .map(|(trial, (block, variant))| TrialInfo {
                trial: trial as u32,
                variant,
                block,
                seed: self.seed + u64::from(block),
            })
            .collect()
    }

    fn variant(&self, index: usize) -> VariantInfo {
        let variant = &self.variants[index];
        let user = |setting: &str, value: &str| (format!("services.user-service.{setting}"), value.to_owned());
        let cell = match (self.scaled, variant.label.split_once('=')) {
            (false, Some((setting, value))) => user(setting, value),
            _ => user("autoscale.metrics.0.cpu", &variant.target.exact()),
        };
        let cell = BTreeMap::from([cell]);
        let cell = if self.variants.len() > 1 { cell } else { BTreeMap::new() };
        VariantInfo { label: variant.label.clone(), cell, spec: self.spec(index) }
    }

    fn spec(&self, index: usize) -> Spec {
        let variant = &self.variants[index];
        let resources = Resources { cpu: Some(Millicores(250)), memory: None };
        let autoscale = Autoscale { min: 1, max: 4, metrics: vec![Metric::Cpu(variant.target)], behavior: None };
        let common = Workload { replicas: 1, resources, autoscale: Some(autoscale).filter(|_| self.scaled) };
        let user_service = UserService {
            store: StoreEngine::Sqlite,
            cache: variant.cache,
            cache_ttl: Span::from_secs(60),
            queue: variant.queue,
            create: CreateMode::Queued,
            work: BTreeMap::from([("create".to_owned(), variant.work), ("get".to_owned(), variant.work)]),
            common,
        };
        let generators = LoadGenerator { common: Workload { replicas: self.generators, ..Workload::default() } };
        Spec {
            name: "autoscale-users".to_owned(),
            question: "Does CPU autoscaling keep p99 under 250 ms through a fourfold step?".to_owned(),
            environment: EnvironmentKind::Local,
            services: Services { user_service: Some(user_service), message_service: None, load_generator: generators },
            autoscaler: AutoscalerSettings {
                sync_period: Span::from_secs(5),
                metric_resolution: Span::from_secs(5),
                tolerance: 0.1,
                downscale_stabilization: Span::from_secs(40),
                cpu_initialization_period: Span::from_secs(10),
                initial_readiness_delay: Span::from_secs(5),
            },
            load: Some(self.load()),
            expect: self.expect.iter().filter_map(|text| text.parse::<Expectation>().ok()).collect(),
            repeats: self.blocks,
            seed: self.seed,
            budget: Budget { wall: Span::from_secs(1_200), usd: 2.0 },
        }
    }

    fn load(&self) -> Load {
        let phase = |&(name, rate, seconds, measure): &(&'static str, f64, u64, bool)| Phase {
            name: name.to_owned(),
            rate: Shape::Constant(Rate(rate)),
            length: Span::from_secs(seconds),
            measure,
            replicas: BTreeMap::new(),
            faults: Vec::new(),
        };
        Load {
            target: Target::UserService,
            mix: BTreeMap::from([("create".to_owned(), Percent(0.2)), ("get".to_owned(), Percent(0.8))]),
            arrivals: Arrivals::Poisson,
            connections: 32,
            timeout: Span::from_secs(30),
            prepare: 1_000,
            phases: self.phases.iter().map(phase).collect(),
        }
    }
}

/// What happens, in any order; numbered when it is told.
#[derive(Default)]
struct Script {
    said: Vec<(u64, &'static str, Kind)>,
}

impl Script {
    fn say(&mut self, at: u64, src: &'static str, kind: Kind) {
        self.said.push((at, src, kind));
    }

    fn events(mut self) -> Vec<Event> {
        self.said.sort_by_key(|(at, ..)| *at);
        let number = |(i, (at, src, kind)): (usize, (u64, &str, Kind))| Event {
            n: i as u64 + 1,
            t: RunTime(at),
            src: src.to_owned(),
            late: Span::ZERO,
            clock: None,
            kind,
        };
        self.said.into_iter().enumerate().map(number).collect()
    }
}
