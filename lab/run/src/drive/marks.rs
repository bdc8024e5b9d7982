//! The instants at which the phases of a load begin and end, as they are planned and as they become when phases are skipped.

use lab_core::control::LoadPlan;
use lab_core::event::Kind;
use lab_core::unit::{RunTime, Span};

/// A phase on the run's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    name: String,
    from: RunTime,
    to: RunTime,
}

/// The boundaries of the phases. One that has passed never moves.
#[derive(Debug)]
pub(super) struct Marks {
    phases: Vec<Stretch>,
    /// The next boundary to tell of: where the phase of this index begins, or after the last one where that ends.
    next: usize,
}

impl Marks {
    pub(super) fn of(plan: &LoadPlan, start: RunTime) -> Self {
        let mut from = start;
        let phases = plan.phases.iter().map(|phase| {
            let stretch = Stretch { name: phase.name.clone(), from, to: from.plus(phase.length) };
            from = stretch.to;
            stretch
        });
        Self { phases: phases.collect(), next: 0 }
    }

    /// When the last phase ends.
    pub(super) fn end(&self) -> RunTime {
        self.phases.last().map_or(RunTime(0), |phase| phase.to)
    }

    /// When there is something to tell next.
    pub(super) fn next(&self) -> Option<RunTime> {
        let end = Some(self.end()).filter(|_| self.next == self.phases.len());
        self.phases.get(self.next).map(|phase| phase.from).or(end)
    }

    /// What is told at the next boundary.
    pub(super) fn take(&mut self) -> Vec<Kind> {
        let Some(at) = self.next() else { return Vec::new() };
        let phase = |index: usize| {
            let name = self.phases.get(index).map(|phase| phase.name.clone())?;
            Some((u32::try_from(index).unwrap_or(u32::MAX), name))
        };
        let ended = self.next.checked_sub(1).and_then(phase).map(|(index, name)| Kind::PhaseEnded { index, name, at });
        let started = phase(self.next).map(|(index, name)| Kind::PhaseStarted { index, name, at });
        let told = ended.into_iter().chain(started).collect();
        self.next += 1;
        told
    }

    /// Why the phase that is present `now` cannot be ended at `at`, which is a moment later; None when it can.
    pub(super) fn cannot_skip(&self, now: RunTime, at: RunTime) -> Option<String> {
        let present = self.phases.iter().find(|phase| now < phase.to)?;
        let left = present.to.since(now);
        (present.to <= at).then(|| format!("phase {} ends by itself in {left}", present.name))
    }

    /// Ends the phase at `at` there; the later ones come forward.
    pub(super) fn skip(&mut self, at: RunTime) {
        let Some(index) = self.phases.iter().position(|phase| at < phase.to) else { return };
        let gone = self.phases[index].to.since(at);
        self.phases[index].to = at;
        for phase in &mut self.phases[index + 1..] {
            (phase.from, phase.to) = (earlier(phase.from, gone), earlier(phase.to, gone));
        }
    }
}

fn earlier(time: RunTime, by: Span) -> RunTime {
    RunTime(time.0.saturating_sub(by.0))
}

#[cfg(test)]
mod tests {
    use lab_core::control::PlanPhase;
    use lab_core::spec::{Shape, Target};
    use lab_core::templates;
    use lab_core::unit::Rate;

    use super::*;

    const S: u64 = 1_000_000_000;

    fn marks() -> Marks {
        let phase = |name: &str, seconds| PlanPhase {
            name: name.to_owned(),
            rate: Shape::Constant(Rate(1.0)),
            length: Span::from_secs(seconds),
        };
        let plan = templates::default_plan(Target::UserService, "p");
        let phases = vec![phase("a", 10), phase("b", 20), phase("c", 30)];
        Marks::of(&LoadPlan { phases, ..plan }, RunTime(5 * S))
    }

    /// What is told, as `+a` and `-a` with the second.
    fn told(marks: &mut Marks) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        while marks.next().is_some() {
            told.extend(marks.take().into_iter().map(|kind| match kind {
                Kind::PhaseStarted { name, at, .. } => (format!("+{name}"), at.0 / S),
                Kind::PhaseEnded { name, at, .. } => (format!("-{name}"), at.0 / S),
                other => (format!("{other:?}"), 0),
            }));
        }
        told
    }

    fn list(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        expected.iter().map(|(what, at)| ((*what).to_owned(), *at)).collect()
    }

    #[test]
    fn each_boundary_is_told_once() {
        let expected = [("+a", 5), ("-a", 15), ("+b", 15), ("-b", 35), ("+c", 35), ("-c", 65)];
        let mut marks = marks();
        assert_eq!(told(&mut marks), list(&expected));
        assert!(marks.take().is_empty());
    }

    #[test]
    fn a_skip_moves_what_comes_after_it() {
        let mut marks = marks();
        marks.take();
        marks.take();
        marks.skip(RunTime(20 * S));
        assert_eq!(marks.end(), RunTime(50 * S));
        assert_eq!(told(&mut marks), list(&[("-b", 20), ("+c", 20), ("-c", 50)]));
    }

    #[test]
    fn a_skip_of_the_last_phase_ends_the_load() {
        let mut marks = marks();
        marks.skip(RunTime(40 * S));
        assert_eq!(marks.end(), RunTime(40 * S));
        marks.skip(RunTime(40 * S));
        assert_eq!(marks.end(), RunTime(40 * S), "there is nothing left to skip");
    }

    #[test]
    fn a_phase_that_is_about_to_end_is_not_skipped() {
        let marks = marks();
        assert_eq!(marks.cannot_skip(RunTime(4 * S), RunTime(6 * S)), None);
        let why = marks.cannot_skip(RunTime(14 * S), RunTime(15 * S)).expect("a reason");
        assert_eq!(why, "phase a ends by itself in 1s");
        assert_eq!(marks.cannot_skip(RunTime(15 * S), RunTime(16 * S)), None);
    }
}
