//! The lane of events: what happened, a letter a column; and the few of them that a rule through all lanes is drawn for.

use lab_core::model::{Life, Workload};
use lab_core::unit::{RunTime, Span};
use ratatui::buffer::Buffer;

use super::{Lane, Place, draw};
use crate::canvas;
use crate::layout::Tier;
use crate::look::Role;
use crate::scene::{Scene, Side};

/// A replica that was killed by hand is gone within so long.
const KILLED: Span = Span::from_secs(30);
/// At most one rule for so many columns.
const APART: usize = 6;
/// Letters whose rules go first when there are too many.
const FIRST_TO_GO: [char; 6] = ['A', 'R', 'M', 'D', 'L', 'F'];

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Events;

impl Lane for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn question(&self) -> &'static str {
        "What happened? L load changed, M metric beyond its target, D desired changed, P replica started, R ready, K died, F fault, \
         A note, S still; a number: so many in one column"
    }

    fn rows(&self, _tier: Tier) -> (u16, u16) {
        (1, 1)
    }

    fn applies(&self, _side: &Side<'_>) -> bool {
        true
    }

    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        draw::name(scene, place, self.name(), buf);
        self.ghost(scene, place, buf);
        for (column, letters) in columns(&scene.shown, scene.workload) {
            let kind = one_kind(&letters);
            let glyph = kind.unwrap_or(match letters.len() {
                n @ 2..=9 => char::from_digit(n as u32, 10).unwrap_or('+'),
                _ => '+',
            });
            let role = kind.or_else(|| letters.contains(&'K').then_some('K')).map_or(Role::Title, role);
            canvas::mark(buf, place.plot, column, 0, glyph, scene.look.style(role));
        }
        self.value(scene, place, buf);
    }

    fn numbers(&self, _side: &Side<'_>) -> Vec<Option<f64>> {
        Vec::new()
    }

    fn tell(&self, number: f64) -> String {
        lab_core::words::digits(number)
    }
}

impl Events {
    /// The ghost's events in small letters, without those that both have by the plan.
    fn ghost(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let Some(side) = &scene.ghost else { return };
        for mark in marks(side).iter().filter(|mark| !matches!(mark.letter, 'L' | 'A')) {
            if let Some(column) = side.axis.column_of(mark.at) {
                let (letter, style) = (mark.letter.to_ascii_lowercase(), scene.look.style(Role::Ghost));
                canvas::mark(buf, place.plot, column, 0, letter, style);
            }
        }
    }

    /// What happened in the cursor's column, else what happened last before the instant.
    fn value(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let known = Side { model: scene.model, trial: scene.trial, until: scene.now, ..scene.shown };
        let columns = columns(&known, scene.workload);
        let Some((column, letters)) = columns.last() else { return };
        let here = scene.cursor.is_none_or(|cursor| cursor == *column);
        let text = match one_kind(letters) {
            Some(letter) if letters.len() == 1 => format!("{letter} {}", word(letter)),
            Some(letter) => format!("{letter} {} {}", letters.len(), word(letter)),
            None => listed(letters),
        };
        let role = one_kind(letters).map_or(Role::Text, role);
        draw::value(scene, place, 0, &text, if here { role } else { Role::Dim }, buf);
    }
}

/// Something that happened to the trial, as a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: RunTime,
    /// `L` load step, `M` metric beyond its target, `D` desired changed, `P` a replica started, `R` ready, `K` died, `F` fault,
    /// `S` still, `A` note.
    pub letter: char,
}

/// What a rule through all lanes is drawn for, in order of time: load steps, metrics beyond their target, changes of the wanted
/// number, the replica whose readiness completes a scaling, deaths, faults and notes. Only what lies on the axis and is known; the
/// less important go when there would be more than one in six columns.
pub fn marks(side: &Side<'_>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = happened(side).into_iter().filter(Happening::rules).map(|h| h.mark).collect();
    let most = usize::from(side.axis.width) / APART;
    for letter in FIRST_TO_GO {
        let mut columns: Vec<u16> = marks.iter().filter_map(|m| side.axis.column_of(m.at)).collect();
        columns.dedup();
        if columns.len() <= most {
            break;
        }
        marks.retain(|m| m.letter != letter);
    }
    marks
}

/// A mark and what decides whether it is drawn.
struct Happening<'a> {
    mark: Mark,
    /// The workload that it is about.
    workload: &'a str,
    /// A scaling was completed by it.
    completes: bool,
}

impl Happening<'_> {
    fn rules(&self) -> bool {
        match self.mark.letter {
            'R' => self.completes,
            letter => !matches!(letter, 'P' | 'S'),
        }
    }

    /// Replicas come and go in every workload; those of the shown one are of interest.
    fn letters(&self, workload: &str) -> bool {
        self.rules() || self.mark.letter == 'S' || self.workload == workload
    }
}

/// Letters by column, in order of time.
fn columns(side: &Side<'_>, workload: &str) -> Vec<(u16, Vec<char>)> {
    let mut columns: Vec<(u16, Vec<char>)> = Vec::new();
    for mark in happened(side).into_iter().filter(|h| h.letters(workload)).map(|h| h.mark) {
        let Some(column) = side.axis.column_of(mark.at) else { continue };
        match columns.last_mut() {
            Some((last, letters)) if *last == column => letters.push(mark.letter),
            _ => columns.push((column, vec![mark.letter])),
        }
    }
    columns
}

/// Everything that is known to have happened in what the axis shows, in order of time.
fn happened<'a>(side: &Side<'a>) -> Vec<Happening<'a>> {
    let mut all = Vec::new();
    let mut say = |at, letter| all.push(Happening { mark: Mark { at, letter }, workload: "", completes: false });
    load_steps(side).into_iter().for_each(|at| say(at, 'L'));
    told(side).into_iter().for_each(|(at, letter)| say(at, letter));
    for fault in &side.trial.faults {
        let deaths = side.trial.workloads.values().filter_map(|w| died(w, &fault.replica));
        // What was killed and died of it is one event, not two.
        if !deaths.into_iter().any(|at| at >= fault.at && at.since(fault.at) <= KILLED) {
            say(fault.at, 'F');
        }
    }
    let tolerance = side.model.spec(side.trial).map_or(0.1, |spec| spec.autoscaler.tolerance);
    for (name, workload) in &side.trial.workloads {
        all.extend(of_workload(name, workload, tolerance));
    }
    all.retain(|h| h.mark.at <= side.until && side.axis.column_of(h.mark.at).is_some());
    all.sort_by_key(|h| h.mark.at);
    all
}

/// When the offered load changed: it began, a phase began, somebody changed it. The first phase begins with the load, and a skip
/// begins the next phase: each is one step.
fn load_steps(side: &Side<'_>) -> Vec<RunTime> {
    let phases = side.trial.phases.values().filter_map(|phase| phase.started);
    let by_hand = side.trial.changes.iter().filter(|(_, change, _)| change.share.is_none()).map(|(at, ..)| *at);
    let mut steps: Vec<RunTime> = side.trial.load_started.into_iter().chain(phases).chain(by_hand).collect();
    steps.sort_unstable();
    steps.dedup_by(|later, earlier| later.since(*earlier) < Span::from_millis(500));
    steps
}

/// Notes and stills of the trial.
fn told(side: &Side<'_>) -> Vec<(RunTime, char)> {
    let index = side.model.trials.iter().position(|trial| std::ptr::eq(trial, side.trial));
    let until = index.and_then(|i| side.model.trials.get(i + 1)).map_or(RunTime(u64::MAX), |next| next.started);
    let notes = side.model.notes.iter().map(|note| (note.at, 'A'));
    let stills = side.model.stills.iter().map(|still| (still.at, 'S'));
    notes.chain(stills).filter(|(at, _)| side.trial.started <= *at && *at < until).collect()
}

/// When a replica died by itself.
fn died(workload: &Workload, replica: &str) -> Option<RunTime> {
    workload.replicas.get(replica).filter(|r| r.died).and_then(|r| r.stopped)
}

fn of_workload<'a>(name: &'a str, workload: &'a Workload, tolerance: f64) -> Vec<Happening<'a>> {
    let say = |at, letter| Happening { mark: Mark { at, letter }, workload: name, completes: false };
    let beyond = metric_beyond(workload, tolerance).into_iter().map(|at| say(at, 'M'));
    let chosen =
        workload.scalings.iter().filter(|s| s.to != s.from && matches!(s.cause.as_str(), "autoscaler" | "user"));
    let desired = chosen.map(|s| say(s.at, 'D'));
    let started = workload.moments.iter().filter(|m| m.what == Life::Started).map(|m| say(m.at, 'P'));
    let deaths = workload.replicas.keys().filter_map(|replica| died(workload, replica)).map(|at| say(at, 'K'));
    let ready = readiness(workload).into_iter().map(|(at, completes)| Happening { completes, ..say(at, 'R') });
    beyond.chain(desired).chain(started).chain(deaths).chain(ready).collect()
}

/// When the samples were taken by which the autoscaler saw a metric go beyond target and tolerance. Where it got no number, what it
/// saw before still stands.
fn metric_beyond(workload: &Workload, tolerance: f64) -> Vec<RunTime> {
    let (mut found, mut was) = (Vec::new(), false);
    for decision in &workload.decisions {
        let usable = || decision.seen.iter().filter_map(|seen| Some((seen, seen.value?)));
        let beyond = usable().find(|(seen, value)| *value > seen.target * (1.0 + tolerance));
        if let (Some((seen, _)), false) = (beyond, was) {
            found.push(RunTime(decision.at.0.saturating_sub(seen.age.unwrap_or_default().0)));
        }
        if usable().next().is_some() {
            was = beyond.is_some();
        }
    }
    found
}

/// When replicas became ready, and whether that completed a scaling: as many were ready as had been called for. What was there from
/// the beginning was not scaled.
fn readiness(workload: &Workload) -> Vec<(RunTime, bool)> {
    let mut ready: Vec<RunTime> = workload.moments.iter().filter(|m| m.what == Life::Ready).map(|m| m.at).collect();
    ready.sort_unstable();
    let mut calls = workload.scalings.iter().filter(|s| s.to > s.from && s.cause != "deploy").map(|s| s.at).peekable();
    let mut waiting = false;
    let level =
        |series: &lab_core::series::Series<lab_core::series::Last<u32>>, at| series.before(at).map(|s| s.value.0);
    let complete = |at| level(&workload.ready, at) >= level(&workload.desired, at);
    ready
        .into_iter()
        .map(|at| {
            while calls.next_if(|call| *call <= at).is_some() {
                waiting = true;
            }
            let completes = waiting && complete(at);
            waiting &= !completes;
            (at, completes)
        })
        .collect()
}

/// The letter, when all are the same.
fn one_kind(letters: &[char]) -> Option<char> {
    letters.first().copied().filter(|first| letters.iter().all(|letter| letter == first))
}

/// Letters in the order of their first, with their number where there are several: `D P3 R3`.
fn listed(letters: &[char]) -> String {
    let mut seen: Vec<(char, usize)> = Vec::new();
    for letter in letters {
        match seen.iter_mut().find(|(known, _)| known == letter) {
            Some((_, times)) => *times += 1,
            None => seen.push((*letter, 1)),
        }
    }
    let told =
        seen.iter().map(|(letter, times)| if *times > 1 { format!("{letter}{times}") } else { letter.to_string() });
    told.collect::<Vec<_>>().join(" ")
}

fn word(letter: char) -> &'static str {
    match letter {
        'L' => "load",
        'M' => "metric",
        'D' => "desired",
        'P' => "started",
        'R' => "ready",
        'K' => "died",
        'F' => "fault",
        'A' => "note",
        'S' => "still",
        _ => "",
    }
}

fn role(letter: char) -> Role {
    match letter {
        'L' => Role::Offered,
        'M' => Role::Seen,
        'D' => Role::Desired,
        'P' => Role::Created,
        'R' => Role::Done,
        'K' => Role::Bad,
        'F' => Role::Open,
        _ => Role::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Axis;
    use crate::lane::draw::tests::{drawn, events};
    use crate::look::Look;
    use lab_core::event::{Event, Kind};
    use lab_core::model::Model;

    /// Something more, after the events of the run.
    fn with(mut events: Vec<Event>, seconds: u64, kind: Kind) -> Vec<Event> {
        let zero = Model::of(&events).trials[0].load_started.expect("load");
        let n = events.len() as u64 + 1;
        let at = zero.plus(Span::from_secs(seconds));
        events.push(Event { n, t: at, late: Span::ZERO, src: "user".to_owned(), clock: None, kind });
        events
    }

    fn fault(replica: &str, what: &str) -> Kind {
        let (workload, by) = ("user-service".to_owned(), "user".to_owned());
        Kind::Fault { workload, replica: replica.to_owned(), what: what.to_owned(), by }
    }

    fn death(replica: &str) -> Kind {
        let (workload, exit) = ("user-service".to_owned(), "signal 9".to_owned());
        Kind::ReplicaStopped { workload, replica: replica.to_owned(), exit, expected: false }
    }

    fn plot(events: &[Event]) -> String {
        drawn(&Events, events, false, (40, 1), Look::default())[0][1].clone()
    }

    fn rules(events: &[Event], width: u16) -> String {
        let model = Model::of(events);
        let trial = &model.trials[0];
        let axis = Axis { zero: crate::axis::zero(trial), column: Span::from_secs(1), first: -2, width };
        let side = Side { model: &model, trial, workload: "user-service", axis, cells: &[], until: model.latest };
        marks(&side).iter().map(|mark| mark.letter).collect()
    }

    #[test]
    fn load_steps_are_counted_once() {
        let letters = plot(&events());
        assert_eq!(letters.chars().nth(2), Some('L'), "load and its first phase begin together: {letters}");
        assert_eq!(letters.chars().nth(5), Some('L'), "{letters}");
    }

    #[test]
    fn what_was_killed_by_hand_dies_once_and_a_kill_that_failed_is_a_fault() {
        let killed = with(with(events(), 14, fault("user-service-1", "killed")), 16, death("user-service-1"));
        let letters = plot(&killed);
        assert_eq!((letters.chars().nth(16), letters.chars().nth(18)), (Some(' '), Some('K')), "{letters}");
        let letters = plot(&with(events(), 14, fault("user-service-1", "killed")));
        assert_eq!(letters.chars().nth(16), Some('F'), "{letters}");
    }

    #[test]
    fn several_of_a_kind_are_its_letter_and_several_kinds_their_number() {
        let note = |text: &str| Kind::Note { text: text.to_owned() };
        let mut events = with(with(events(), 20, note("a")), 20, note("b"));
        let row = &drawn(&Events, &events, false, (40, 1), Look::default())[0];
        assert_eq!((row[1].chars().nth(22), row[2].as_str()), (Some('A'), "A 2 note"));
        events = with(events, 20, fault("user-service-1", "slowed"));
        let row = &drawn(&Events, &events, false, (40, 1), Look::default())[0];
        assert_eq!((row[1].chars().nth(22), row[2].as_str()), (Some('3'), "A2 F"));
    }

    #[test]
    fn rules_leave_out_starts_and_go_when_there_are_too_many() {
        let all = rules(&events(), 120);
        assert!(all.starts_with("LL") && all.contains("MD") && !all.contains('P'), "{all}");
        assert!(all.matches('R').count() <= all.matches('D').count(), "at most one a scaling: {all}");
        let few = rules(&events(), 14);
        assert_eq!(few, "LL");
    }

    #[test]
    fn a_metric_is_beyond_its_target_once_until_it_falls_back() {
        let model = Model::of(&events());
        let mut workload = model.trials[0].workloads["user-service"].clone();
        let decision = workload.decisions[0].clone();
        let values = [Some(70.0), Some(90.0), None, Some(95.0), Some(76.0), Some(78.0)];
        workload.decisions = (1u64..)
            .zip(values)
            .map(|(second, value)| {
                let mut decision = decision.clone();
                decision.at = RunTime(second * 10_000_000_000);
                decision.seen[0].value = value;
                decision.seen[0].age = Some(Span::from_secs(1));
                decision
            })
            .collect();
        let seconds: Vec<u64> = metric_beyond(&workload, 0.1).iter().map(|t| t.0 / 1_000_000_000).collect();
        assert_eq!(seconds, [19, 59]);
    }
}
