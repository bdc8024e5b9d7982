//! Whether each expectation of the shown trial holds as far as that can be told by now, and whether its measurement can be trusted.

use std::cmp::Reverse;

use lab_core::judge::{self, Judged, Verdict};
use lab_core::unit::Span;
use lab_core::validity::{self, Check, Validity};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::strip::{self, Part};
use crate::look::Role;
use crate::scene::Scene;

/// A generator tells of a second once it is over, so that nothing need have come of it for so long after it began.
const FIRST_SAMPLE: Span = Span::from_secs(3);

/// What can be told of a trial at an instant. Made once a frame: it merges the trial's histograms.
#[derive(Debug)]
pub(super) struct Standing {
    /// Every expectation.
    judged: Vec<Judged>,
    /// Checks of the measurement; none before there can be one.
    checks: Vec<Check>,
    /// The trial has not come to its end, so what holds may still break.
    open: bool,
}

impl Standing {
    /// Of the scene's trial at its instant.
    pub(super) fn of(scene: &Scene<'_>) -> Self {
        let trial = scene.trial;
        let open = trial.ended.is_none();
        let checks = match open && awaited(scene) {
            true if trial.generators.is_empty() => Vec::new(),
            early => {
                validity::checks(scene.model, trial).into_iter().filter(|c| !early || c.name != "samples").collect()
            }
        };
        Self { judged: judge::trial(scene.model, trial), checks, open }
    }

    /// Over all expectations, as glyph and role; None when nothing is expected.
    pub(super) fn overall(&self, scene: &Scene<'_>) -> Option<(char, Role)> {
        (!self.judged.is_empty()).then(|| sign(scene, self.verdict()))
    }

    fn verdict(&self) -> Verdict {
        Verdict::all(self.judged.iter().map(|j| j.verdict))
    }

    /// `fail`, `cannot tell yet`.
    fn word(&self) -> String {
        let verdict = self.verdict();
        let yet = if self.open && verdict == Verdict::CannotTell { " yet" } else { "" };
        format!("{}{yet}", verdict.text())
    }

    /// The first check with the worst grade.
    fn worst(&self) -> Option<&Check> {
        let worst = validity::overall(&self.checks);
        self.checks.iter().find(|check| check.grade == worst)
    }
}

/// True while the first sample of a generator may still be on its way.
fn awaited(scene: &Scene<'_>) -> bool {
    let trial = scene.trial;
    let Some(zero) = trial.load_started else { return false };
    let fresh = trial.shares.iter().filter(|share| scene.now.since(zero.plus(Span(share.from_ns))) < FIRST_SAMPLE);
    fresh.flat_map(|share| &share.generators).any(|name| !trial.generators.contains_key(name))
}

fn sign(scene: &Scene<'_>, verdict: Verdict) -> (char, Role) {
    let glyphs = scene.look.glyphs();
    match verdict {
        Verdict::Pass => (glyphs.pass, Role::Good),
        Verdict::Fail => (glyphs.fail, Role::Bad),
        Verdict::CannotTell => (glyphs.open, Role::Open),
    }
}

/// Draws it.
pub fn draw(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    if !area.is_empty() {
        row(scene, &Standing::of(scene), area, buf);
    }
}

/// What of a row is left when there is little room.
#[derive(Debug, Clone, Copy)]
struct Left {
    /// What would decide what is open.
    reasons: bool,
    /// That a measurement can be trusted; that it cannot is always said.
    valid: bool,
    /// Expectations that go, the least important first.
    gone: usize,
    /// Why a measurement is in doubt.
    doubt: bool,
}

/// Draws what is known already. What does not fit goes in this order: what would decide the open ones, the word `valid`, passes, open
/// ones, the reason of a doubtful measurement, failures. How many went is said.
pub(super) fn row(scene: &Scene<'_>, standing: &Standing, area: Rect, buf: &mut Buffer) {
    let all = standing.judged.len();
    let failed = standing.judged.iter().filter(|j| j.verdict == Verdict::Fail).count();
    let most = Left { reasons: true, valid: true, gone: 0, doubt: true };
    let less = Left { reasons: false, ..most };
    let fewer = (0..=all - failed).map(|gone| Left { gone, valid: false, ..less });
    let fewest = (all - failed..=all).map(|gone| Left { gone, valid: false, doubt: false, ..less });
    for left in [most, less].into_iter().chain(fewer).chain(fewest) {
        let parts = parts(scene, standing, left);
        let last = left.gone == all && !left.doubt;
        if last || strip::width(scene.look, &parts) <= area.width {
            strip::draw(scene.look, area, parts, buf);
            return;
        }
    }
}

fn parts(scene: &Scene<'_>, standing: &Standing, left: Left) -> Vec<Part> {
    let mut parts = vec![Part::new("", "verdict", Role::Title, 1)];
    match standing.overall(scene) {
        Some((glyph, role)) => parts.push(Part::new(" ", format!("{glyph} {}", standing.word()), role, 0)),
        None => parts.push(Part::new(" ", "nothing is expected", Role::Dim, 0)),
    }
    let mut order: Vec<usize> = (0..standing.judged.len()).collect();
    let weight = |verdict| match verdict {
        Verdict::Pass => 0,
        Verdict::CannotTell => 1,
        Verdict::Fail => 2,
    };
    order.sort_by_key(|i| (weight(standing.judged[*i].verdict), Reverse(*i)));
    let gone = &order[..left.gone];
    let kept = standing.judged.iter().enumerate().filter(|(i, _)| !gone.contains(i));
    parts.extend(kept.map(|(_, judged)| expectation(scene, judged, left.reasons && !standing.open)));
    if left.gone > 0 {
        parts.push(Part::new("  ", format!("+ {} more", left.gone), Role::Dim, 2));
    }
    if left.reasons && standing.open && standing.judged.iter().any(|j| j.verdict == Verdict::CannotTell) {
        let text = format!("{} is told when the trial ends", scene.look.glyphs().open);
        parts.push(Part::new("  ", text, Role::Dim, 4));
    }
    parts.extend(trust(standing, left));
    parts
}

/// `p99(step) < 250ms ✗ 412 ms`
fn expectation(scene: &Scene<'_>, judged: &Judged, reason: bool) -> Part {
    let (glyph, role) = sign(scene, judged.verdict);
    let mut runs = vec![
        (format!("{} ", judged.expectation), Role::Text),
        (glyph.to_string(), role),
        (format!(" {}", judged.measured), Role::Text),
    ];
    if reason && judged.verdict == Verdict::CannotTell {
        runs.push((format!(" ({})", judged.why), Role::Dim));
    }
    Part { before: "  ", runs, goes: 5 }
}

/// Whether the measurement can be trusted; nothing before there is one.
fn trust(standing: &Standing, left: Left) -> Option<Part> {
    let worst = standing.worst()?;
    let word = worst.grade.text();
    let (text, role) = match worst.grade {
        Validity::Valid if !left.valid => return None,
        Validity::Valid if standing.open => (format!("{word} so far"), Role::Dim),
        Validity::Valid => (word.to_owned(), Role::Good),
        grade => {
            let role = if grade == Validity::Invalid { Role::Bad } else { Role::Open };
            (if left.doubt { format!("{word}: {}", worst.reason) } else { word.to_owned() }, role)
        }
    };
    Some(Part::new("  ", text, role, 3))
}
