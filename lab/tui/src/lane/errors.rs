//! The lane of errors: what share of the requests failed or was dropped?

use std::cmp::Ordering;

use lab_core::ledger::Ledger;
use lab_core::words;
use ratatui::buffer::Buffer;

use super::{Lane, Place, draw};
use crate::canvas;
use crate::layout::Tier;
use crate::look::Role;
use crate::scene::{Scene, Side};

/// The scale ends at no less, so that a single failure does not look like a disaster.
const LEAST_TOP: f64 = 0.01;
/// Eighths of a row that the smallest error takes: more than the line that stands for none.
const SMALLEST: f64 = 3.0;

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Errors;

impl Lane for Errors {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn question(&self) -> &'static str {
        "What share of the requests failed or was dropped? A low line is none, a hatched column is unknown"
    }

    fn rows(&self, tier: Tier) -> (u16, u16) {
        match tier {
            Tier::Line | Tier::Small => (1, 1),
            Tier::Normal | Tier::Full => (1, 2),
        }
    }

    fn applies(&self, _side: &Side<'_>) -> bool {
        true
    }

    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let (look, plot) = (scene.look, place.plot);
        let columns = self.numbers(&scene.shown);
        let theirs = scene.ghost.as_ref().map(|ghost| self.numbers(ghost)).unwrap_or_default();
        let top = top(columns.iter().chain(&theirs));
        draw::name(scene, place, self.name(), buf);
        draw::tick(scene, place, 0, &percent(top), Role::Dim, buf);
        draw::missing(&scene.shown).into_iter().for_each(|column| draw::gap(buf, plot, column, look));
        let least = SMALLEST / 8.0 / f64::from(plot.height.max(1));
        for (column, share) in (0u16..).zip(&columns) {
            let Some(share) = share else { continue };
            if *share > 0.0 {
                draw::bar(buf, plot, column, (share / top).max(least), look, Role::Bad);
            } else {
                let (line, dim) = (look.glyphs().bars[1], look.style(Role::Dim));
                canvas::mark(buf, plot, column, plot.height.saturating_sub(1), line, dim);
            }
        }
        draw::ghost(self, scene, place, |share| share / top, buf);
        self.values(scene, place, buf);
    }

    fn numbers(&self, side: &Side<'_>) -> Vec<Option<f64>> {
        side.cells.iter().map(|cell| cell.as_ref().map(|cell| share(&cell.counts))).collect()
    }

    fn tell(&self, number: f64) -> String {
        percent(number)
    }

    fn better(&self) -> Option<Ordering> {
        Some(Ordering::Less)
    }
}

impl Errors {
    /// The newest second, and the load so far.
    fn values(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let Some((cell, stale)) = draw::newest(scene) else { return };
        let now = share(&cell.counts);
        let role = match now {
            _ if stale => Role::Dim,
            share if share > 0.0 => Role::Bad,
            _ => Role::Text,
        };
        draw::value(scene, place, 0, &words::share(now), role, buf);
        let mut all = Ledger::default();
        scene.trial.phases.values().for_each(|phase| all += phase.ledger());
        let all = share(&all);
        let role = if all > 0.0 { Role::Bad } else { Role::Dim };
        draw::value(scene, place, 1, &format!("all {}", words::share(all)), role, buf);
    }
}

/// Failed and dropped requests over those that were offered. Answers may come in a later second than their request: then over those
/// that were settled, so that it is never more than all.
fn share(counts: &Ledger) -> f64 {
    let bad = counts.failed.saturating_add(counts.dropped);
    let settled = counts.completed.saturating_add(bad);
    if bad == 0 { 0.0 } else { bad as f64 / counts.offered.max(settled) as f64 }
}

/// The end of the scale.
fn top<'a>(shares: impl Iterator<Item = &'a Option<f64>>) -> f64 {
    let most = shares.flatten().copied().fold(0.0, f64::max);
    draw::nice_above(most.max(LEAST_TOP)).min(1.0)
}

fn percent(share: f64) -> String {
    words::share(share).replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::draw::tests;
    use crate::look::Look;

    #[test]
    fn a_share_is_never_more_than_all() {
        let ledger =
            |offered, completed, failed, dropped| Ledger { offered, completed, failed, dropped, ..Ledger::default() };
        assert_eq!(share(&ledger(0, 0, 0, 0)), 0.0);
        assert_eq!(share(&ledger(0, 0, 7, 0)), 1.0);
        assert_eq!(share(&ledger(100, 98, 1, 1)), 0.02);
        assert_eq!(share(&ledger(10, 10, 10, 0)), 0.5);
    }

    #[test]
    fn no_errors_an_error_and_no_data_look_different() {
        let events = tests::without(tests::events(), 5..=5, None);
        let rows = tests::drawn(&Errors, &events, false, (18, 1), Look::default());
        let [label, plot, value] = &rows[0];
        assert!(label.starts_with("errors") && label.ends_with("1%"), "{label}");
        assert!(plot.starts_with("  ▁▁▁▁╱▁"), "{plot}");
        assert!(value.ends_with(" %"), "{value}");
    }

    #[test]
    fn the_scale_has_a_floor_and_a_ceiling() {
        assert_eq!(top([None, Some(0.0), Some(0.001)].iter()), 0.01);
        assert_eq!(top([Some(0.033)].iter()), 0.04);
        assert_eq!(top([Some(0.9)].iter()), 1.0);
    }
}
