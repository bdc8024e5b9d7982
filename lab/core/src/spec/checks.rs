//! What must fit together across a whole spec, once each part has been read.

use super::node::{At, Node, Value};
use super::reader::Reading;
use super::services::{node_of, splits_store};
use super::{CreateMode, Load, Services, Spec, StoreEngine, Target, Workload};
use crate::expect::{Expectation, Measure, latency_limit};
use crate::fault::FaultTarget;
use crate::nearest::nearest;

/// Notes everything that does not fit.
pub(super) fn together(r: &mut Reading<'_>, root: &Node, spec: &Spec) {
    if let Some(load) = &spec.load {
        faults_hit_something(r, root, spec, load);
        phases_scale_what_is_there(r, root, spec, load);
        target_is_deployed(r, root, &spec.services, load.target);
    }
    if let Some(service) = &spec.services.user_service {
        one_store(r, root, "user-service", service.store, &service.common);
    }
    if let Some(service) = &spec.services.message_service {
        one_store(r, root, "message-service", service.store, &service.common);
    }
}

fn target_is_deployed(r: &mut Reading<'_>, root: &Node, services: &Services, target: Target) {
    if services.workload(target.name()).is_some() {
        return;
    }
    let at = root.get("load").and_then(|load| load.get("target")).map_or(&root.at, |node| &node.at);
    let message = format!("`load.target` is {}, which is not deployed", target.name());
    r.error_with(at, message, format!("add `{}: {{}}` to `services`", target.name()));
}

fn faults_hit_something(r: &mut Reading<'_>, root: &Node, spec: &Spec, load: &Load) {
    let servers = spec.servers();
    for fault in load.phases.iter().flat_map(|phase| &phase.faults) {
        let (hit, help) = match fault.target() {
            FaultTarget::Role(role) => (
                servers.iter().any(|server| server.role() == role),
                "it has to be a server of its own: an embedded engine lives and dies with the service",
            ),
            FaultTarget::Workload(name) => (spec.services.workload(name).is_some(), "deploy it, or hit something else"),
        };
        if !hit {
            let at = root.get("load").and_then(|load| load.entry("phases")).map_or(&root.at, |entry| &entry.at);
            r.error_with(at, format!("a fault hits `{}`, and there is none", fault.target()), help);
        }
    }
}

/// What a phase scales has no autoscaler that would scale it back, and never more replicas than connections were reckoned for.
fn phases_scale_what_is_there(r: &mut Reading<'_>, root: &Node, spec: &Spec, load: &Load) {
    for (phase, (name, replicas)) in
        load.phases.iter().flat_map(|phase| phase.replicas.iter().map(move |of| (phase, of)))
    {
        let (what, help) = match spec.services.workload(name) {
            None => ("which is not deployed".to_owned(), format!("add `{name}: {{}}` to `services`")),
            Some(Workload { autoscale: Some(_), .. }) => {
                ("which its autoscaler does".to_owned(), "take `autoscale` out, or leave this to it".to_owned())
            }
            Some(common) if *replicas > common.replicas => (
                format!("to {replicas}, more than its `replicas` {}", common.replicas),
                format!(
                    "set `services.{name}.replicas` to the most it ever has, and the first phase to what it begins with"
                ),
            ),
            Some(_) => continue,
        };
        let at = root.get("load").and_then(|load| load.entry("phases")).map_or(&root.at, |entry| &entry.at);
        r.error_with(at, format!("phase `{}` scales {name}, {what}", phase.name), help);
    }
}

fn one_store(r: &mut Reading<'_>, root: &Node, name: &str, store: StoreEngine, common: &Workload) {
    if !splits_store(store, common) {
        return;
    }
    let node = node_of(root, name);
    let at = node.map_or(&root.at, |node| node.get("store").map_or(&node.at, |store| &store.at));
    r.error_with(
        at,
        format!("{name} may have several replicas, and each would have a `memory` store of its own"),
        "take `store: sqlite`, or keep it at one replica",
    );
}

/// Notes expectations that nothing in the spec can decide. `expect` holds each with the place it was read from.
pub(super) fn expectations(
    r: &mut Reading<'_>,
    expect: &[(Expectation, At)],
    load: Option<&Load>,
    services: &Services,
) {
    let Some(load) = load else {
        if let Some((_, at)) = expect.first() {
            r.error(at, "without `load` nothing can be expected");
        }
        return;
    };
    let all: Vec<Expectation> = expect.iter().map(|(expectation, _)| expectation.clone()).collect();
    for (expectation, at) in expect {
        phase_is_there(r, expectation, at, load);
        if expectation.measure == Measure::Recovery
            && latency_limit(&all, expectation.phase.as_deref().unwrap_or_default()).is_none()
        {
            let help = "expect one as well, e.g. `p99 < 250ms`";
            r.error_with(at, "recovery is the return below a limit on latency, and none is expected", help);
        }
        if expectation.measure == Measure::Backlog && !has_queue(services) {
            let help = "message-service has one, and user-service with `create: queued`";
            r.error_with(at, "there is no queue that could have a backlog", help);
        }
    }
}

fn has_queue(services: &Services) -> bool {
    let queued = services.user_service.as_ref().is_some_and(|service| service.create == CreateMode::Queued);
    services.message_service.is_some() || queued
}

fn phase_is_there(r: &mut Reading<'_>, expectation: &Expectation, at: &At, load: &Load) {
    let Some(name) = &expectation.phase else { return };
    let names = || load.phases.iter().map(|phase| phase.name.as_str());
    match load.phases.iter().find(|phase| phase.name == *name) {
        // Phases that could not be read are named already.
        None if load.phases.is_empty() => {}
        None => {
            let near = nearest(name, names()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let help = format!("phases: {}", names().collect::<Vec<_>>().join(", "));
            r.error_with(at, format!("there is no phase `{name}`{near}"), help);
        }
        Some(phase) if !phase.measure => {
            let help = "take `measure: false` out of it, or name another phase";
            r.error_with(at, format!("phase `{name}` is not measured"), help);
        }
        Some(_) => {}
    }
}

/// Where the bound on time is written, or what it bounds.
pub(super) fn wall_place(root: &Node) -> At {
    let wall = root.get("budget").and_then(|budget| budget.get("wall"));
    let phases = || root.get("load").and_then(|load| load.entry("phases")).map(|entry| entry.at.clone());
    wall.map(|node| node.at.clone()).or_else(phases).unwrap_or_else(|| match &root.value {
        Value::Map(entries) => entries.first().map_or(&root.at, |entry| &entry.at).clone(),
        _ => root.at.clone(),
    })
}
