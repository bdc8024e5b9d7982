//! Reads `load`: target, mix, phases and their shapes, traces included.

use std::collections::{BTreeMap, BTreeSet};

use super::autoscale::MAX_REPLICAS;
use super::node::Node;
use super::reader::{Map, Reading, Wrong, duration, flag, one_of, parsed, whole, whole32, word};
use super::{Arrivals, Load, Phase, Shape, Target, reference};
use crate::fault::{FaultTarget, Planned, PlannedFault};
use crate::unit::{Percent, Rate, Span};

/// More than one machine's generators can offer.
const MAX_RATE: f64 = 1_000_000.0;
/// Arrivals of one trace.
const MAX_ARRIVALS: usize = 2_000_000;
const DAY: Span = Span::from_secs(24 * 3600);
const TARGETS: &[(&str, Target)] =
    &[("user-service", Target::UserService), ("message-service", Target::MessageService)];

/// The target alone, without a word about what is wrong: services must know it before `load` is read.
pub(super) fn target(node: Option<&Node>) -> Option<Target> {
    let text = node?.get("target")?.text();
    TARGETS.iter().find(|(name, _)| *name == text).map(|(_, target)| *target)
}

/// Reads `load`. None when there is no target.
pub(super) fn load(r: &mut Reading<'_>, node: &Node) -> Option<Load> {
    const ARRIVALS: &[(&str, Arrivals)] = &[("poisson", Arrivals::Poisson), ("constant", Arrivals::Constant)];
    let map = r.map(node, "`load`", reference::LOAD);
    if map.wrong {
        return None;
    }
    let target = map.require(r, "target", "`load`", &one_of(TARGETS));
    let mix = map.get("mix").map(|node| mix(r, node, target));
    let arrivals = map.read(r, "arrivals", &one_of(ARRIVALS)).unwrap_or_default();
    let connections = map.read(r, "connections", &whole32(1..=10_000)).unwrap_or(64);
    let limit = duration(Span::from_millis(1)..=Span::from_secs(600));
    let timeout = map.read(r, "timeout", &limit).unwrap_or(Span::from_secs(5));
    let prepare = map.read(r, "prepare", &whole(0..=1_000_000)).unwrap_or(100);
    let phases = phases(r, &map);
    let target = target?;
    let mix = mix.unwrap_or_else(|| target.default_mix());
    if prepare == 0 && mix.get("get").is_some_and(|share| share.0 > 0.0) {
        let help = "set it to 1 or more, or leave `get` out of the mix";
        r.error_with(&map.at("prepare"), "with `prepare: 0` a get finds nothing to read", help);
    }
    Some(Load { target, mix, arrivals, connections, timeout, prepare, phases })
}

fn mix(r: &mut Reading<'_>, node: &Node, target: Option<Target>) -> BTreeMap<String, Percent> {
    let map = r.map(node, "`mix`", reference::MIX);
    let (mut mix, mut sum, before) = (BTreeMap::new(), 0.0, r.found.len());
    for entry in node.entries() {
        if let Some(target) = target
            && !target.operations().contains(&entry.key.as_str())
            && reference::MIX.iter().any(|field| field.name == entry.key)
        {
            let message = format!("{} has no operation `{}`", target.name(), entry.key);
            r.error_with(&entry.at, message, format!("its operations: {}", target.operations().join(", ")));
        }
        let Some(share) = map.read(r, &entry.key, &parsed::<Percent>) else { continue };
        sum += share.0;
        if share.0 > 0.0 {
            mix.insert(entry.key.clone(), share);
        }
    }
    if r.found.len() == before && (sum - 1.0).abs() > 1e-6 {
        r.error(&node.at, format!("the shares of `mix` sum to {}, not to 100%", Percent(sum)));
    }
    mix
}

fn phases(r: &mut Reading<'_>, load: &Map<'_>) -> Vec<Phase> {
    let help = "for instance `- { name: steady, rate: 100/s, for: 60s }`";
    let Some(node) = load.get("phases") else {
        r.error_with(&load.at, "`load` needs `phases`", help);
        return Vec::new();
    };
    let before = r.found.len();
    let items = r.list(node, "`phases`");
    if items.is_empty() && r.found.len() == before {
        r.error_with(&node.at, "`phases` is empty", help);
    }
    let mut names = BTreeSet::new();
    let mut phases = Vec::new();
    for item in items {
        let Some(phase) = phase(r, item) else { continue };
        if !names.insert(phase.name.clone()) {
            let at = item.get("name").map_or(&item.at, |name| &name.at);
            r.error(at, format!("there is a phase `{}` already", phase.name));
        }
        phases.push(phase);
    }
    if !phases.is_empty() && phases.iter().all(|phase| !phase.measure) {
        r.error_with(&node.at, "no phase is measured", "leave `measure: false` out of at least one");
    }
    phases
}

fn phase(r: &mut Reading<'_>, node: &Node) -> Option<Phase> {
    let map = r.map(node, "a phase", reference::PHASE);
    if map.wrong {
        return None;
    }
    let name = map.require(r, "name", "a phase", &word);
    let length = map.require(r, "for", "a phase", &duration(Span::from_millis(100)..=DAY));
    let measure = map.read(r, "measure", &flag).unwrap_or(true);
    let pause = map.read(r, "pause", &flag).unwrap_or(false);
    let rate = match map.get("rate") {
        Some(node) if pause => {
            r.error_with(&node.at, "a phase has either a rate or `pause: true`", "take one of the two out");
            None
        }
        Some(node) => shape(r, node, length),
        None if pause => Some(Shape::Constant(Rate(0.0))),
        None => {
            r.error_with(&map.at, "a phase needs `rate`", "for instance `rate: 100/s`, or `pause: true`");
            None
        }
    };
    let replicas = map.get("replicas").map(|node| replicas(r, node)).unwrap_or_default();
    let faults = map.get("faults").map(|node| faults(r, node, length)).unwrap_or_default();
    Some(Phase { name: name?, rate: rate?, length: length?, measure, replicas, faults })
}

fn replicas(r: &mut Reading<'_>, node: &Node) -> BTreeMap<String, u32> {
    let map = r.map(node, "`replicas`", reference::REPLICAS_OF);
    let each = reference::REPLICAS_OF.iter().map(|field| field.name);
    each.filter_map(|name| Some((name.to_owned(), map.read(r, name, &whole32(1..=MAX_REPLICAS))?))).collect()
}

fn faults(r: &mut Reading<'_>, node: &Node, phase: Option<Span>) -> Vec<PlannedFault> {
    r.list(node, "`faults`").iter().filter_map(|item| fault(r, item, phase)).collect()
}

fn fault(r: &mut Reading<'_>, node: &Node, phase: Option<Span>) -> Option<PlannedFault> {
    type Make = fn(FaultTarget) -> Planned;
    const KINDS: [(&str, Make); 4] = [
        ("kill", Planned::Kill),
        ("pause", Planned::Pause),
        ("disconnect", Planned::Disconnect),
        ("slow", Planned::Slow),
    ];
    let map = r.map(node, "a fault", reference::FAULT);
    if map.wrong {
        return None;
    }
    let target = |text: &str| text.parse::<FaultTarget>().map_err(|message| Wrong(message, None));
    let given: Vec<_> = KINDS.into_iter().filter(|(name, _)| map.get(name).is_some()).collect();
    let [(name, make)] = given.as_slice() else {
        let help = "for instance `{ kill: queue, at: 10s }`";
        r.error_with(&map.at, "a fault has exactly one of `kill`, `pause`, `disconnect` and `slow`", help);
        return None;
    };
    let what = map.read(r, name, &target).map(make);
    let spans = duration(Span::ZERO..=DAY);
    let lasting = duration(Span::from_millis(1)..=DAY);
    let at = map.read(r, "at", &spans).unwrap_or(Span::ZERO);
    let (every, length) = (map.read(r, "every", &lasting), map.read(r, "for", &lasting));
    let by = map.read(r, "by", &lasting);
    if *name == "kill" && length.is_some() {
        r.error_with(&map.at("for"), "a kill has no length", "what is killed is started again at once; `pause` lasts");
    }
    if *name != "kill" && length.is_none() {
        r.error_with(&map.at, format!("`{name}` needs `for`"), "for instance `for: 10s`");
    }
    if (*name == "slow") != by.is_some() {
        r.error_with(
            &map.at,
            "`by` says how much slower `slow` makes it",
            "for instance `{ slow: store, by: 200ms, for: 10s }`",
        );
    }
    if phase.is_some_and(|phase| at >= phase) {
        r.error(&map.at("at"), format!("{at} is not within the phase"));
    }
    if let (Some(every), Some(length)) = (every, length)
        && length >= every
    {
        r.error(&map.at("every"), format!("it lasts {length} and would begin again after {every}"));
    }
    Some(PlannedFault { what: what?, at, every, length, by })
}

fn rate(text: &str) -> Result<Rate, Wrong> {
    let rate: Rate = parsed(text)?;
    if rate.0 <= MAX_RATE { Ok(rate) } else { Err(Wrong(format!("{rate} is above {MAX_RATE}/s"), None)) }
}

fn shape(r: &mut Reading<'_>, node: &Node, length: Option<Span>) -> Option<Shape> {
    if node.entries().is_empty() {
        return r.scalar(node, "`rate`", &rate).map(Shape::Constant);
    }
    let map = r.map(node, "`rate`", reference::SHAPE);
    let given = |key: &str| map.get(key).is_some();
    match (given("from") || given("to"), given("trace")) {
        (true, false) => {
            let from = map.require(r, "from", "a ramp", &rate);
            let to = map.require(r, "to", "a ramp", &rate);
            Some(Shape::Ramp { from: from?, to: to? })
        }
        (false, true) => trace(r, &map, length),
        _ => {
            r.error(&node.at, "`rate` is `100/s`, `{ from: 100/s, to: 400/s }` or `{ trace: arrivals.csv }`");
            None
        }
    }
}

fn trace(r: &mut Reading<'_>, map: &Map<'_>, length: Option<Span>) -> Option<Shape> {
    let at = map.at("trace");
    let file = map.read(r, "trace", &|text: &str| Ok(text.to_owned()))?;
    let offsets = match map.get("offsets") {
        Some(node) => {
            let items = r.list(node, "`offsets`");
            items.iter().map(|item| r.scalar(item, "an offset", &parsed::<Span>)).collect::<Option<Vec<_>>>()?
        }
        None => match (r.load_file)(&file).and_then(|text| arrivals(&text)) {
            Ok(offsets) => offsets,
            Err(why) => {
                r.error_with(
                    &at,
                    format!("trace `{}`: {why}", file.escape_debug()),
                    "a trace holds the offset of one arrival a line, in seconds, ascending: `0.250`",
                );
                return None;
            }
        },
    };
    if let Some(problem) = out_of_order(&offsets, length) {
        r.error(&at, format!("trace `{}`: {problem}", file.escape_debug()));
        return None;
    }
    Some(Shape::Trace { file, offsets })
}

fn out_of_order(offsets: &[Span], length: Option<Span>) -> Option<String> {
    if offsets.is_empty() {
        return Some("there is no arrival in it".to_owned());
    }
    if offsets.len() > MAX_ARRIVALS {
        return Some(format!("{} arrivals are more than {MAX_ARRIVALS}", offsets.len()));
    }
    if let Some(index) = offsets.windows(2).position(|pair| pair[1] < pair[0]) {
        return Some(format!("arrival {} is before arrival {}", index + 2, index + 1));
    }
    let (last, length) = (*offsets.last()?, length?);
    (last > length).then(|| format!("it goes on to {last}, but the phase lasts {length}"))
}

/// Offsets from a trace file: one a line, the first column of a CSV; blank lines, `#` comments and a heading are passed over.
fn arrivals(text: &str) -> Result<Vec<Span>, String> {
    let mut offsets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let cell = line.split([',', ';', '\t']).next().unwrap_or_default().trim().trim_matches('"');
        if cell.is_empty() || cell.starts_with('#') {
            continue;
        }
        // A bare number is seconds; a number with a unit is read as it stands.
        let bare = cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let offset = if bare { format!("{cell}s").parse::<Span>() } else { cell.parse() };
        match offset {
            Ok(offset) => offsets.push(offset),
            Err(_) if index == 0 => {}
            Err(_) => return Err(format!("line {}: `{}` is not an offset", index + 1, cell.escape_debug())),
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_forgiving_about_form_and_strict_about_content() {
        let read = |text: &str| arrivals(text).map(|offsets| offsets.iter().map(|o| o.as_millis()).collect::<Vec<_>>());
        assert_eq!(read("seconds,who\n0.25,a\n# later\n\n1,b\n1500ms\n1m"), Ok(vec![250, 1000, 1500, 60_000]));
        assert_eq!(read("0\n1\nsoon\n"), Err("line 3: `soon` is not an offset".to_owned()));
        let spans = [1, 3, 2].map(Span::from_secs);
        assert_eq!(out_of_order(&spans, None), Some("arrival 3 is before arrival 2".to_owned()));
        let late = out_of_order(&spans[..2], Some(Span::from_secs(2)));
        assert_eq!(late, Some("it goes on to 3s, but the phase lasts 2s".to_owned()));
    }
}
