//! What was measured over time. How several values become one when time is zoomed out is part of a series' type, and a stretch in
//! which nothing is known stays a gap: nothing is interpolated, nothing is averaged that must not be.

use crate::distribution::Distribution;
use crate::unit::{RunTime, Span};

/// Points above which the older half of a series is thinned, so that a lab left up for days stays small.
const MOST_POINTS: usize = 16_384;

/// The rule by which two stretches of one series become one.
pub trait Merge: Clone {
    /// Takes in what came later.
    fn merge(&mut self, later: &Self);
}

/// A state: the later one counts. Replicas, gauges.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Last<T>(pub T);

/// A count of happenings: they add up. Errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(pub u64);

/// A level whose peak matters. Backlog.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Peak(pub f64);

/// Something per second: what happened over the time in which it happened. Throughput, CPU use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PerSecond {
    /// How much.
    pub amount: f64,
    /// In how long.
    pub over: Span,
}

impl PerSecond {
    /// The rate; None over no time.
    pub fn rate(&self) -> Option<f64> {
        (self.over.0 > 0).then(|| self.amount / self.over.as_secs_f64())
    }
}

impl<T: Clone> Merge for Last<T> {
    fn merge(&mut self, later: &Self) {
        self.0 = later.0.clone();
    }
}

impl Merge for Sum {
    fn merge(&mut self, later: &Self) {
        self.0 = self.0.saturating_add(later.0);
    }
}

impl Merge for Peak {
    fn merge(&mut self, later: &Self) {
        self.0 = self.0.max(later.0);
    }
}

impl Merge for PerSecond {
    fn merge(&mut self, later: &Self) {
        self.amount += later.amount;
        self.over = Span(self.over.0.saturating_add(later.over.0));
    }
}

impl Merge for Distribution {
    fn merge(&mut self, later: &Self) {
        Self::merge(self, later);
    }
}

/// What is known of one stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch<R> {
    /// Its first instant.
    pub from: RunTime,
    /// The instant after its last; equal to `from` for a reading of one instant.
    pub to: RunTime,
    /// What it was.
    pub value: R,
}

/// Stretches in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<R> {
    stretches: Vec<Stretch<R>>,
    /// Length of the longest stretch, which bounds how far back one can begin that reaches into a window.
    longest: Span,
}

impl<R> Default for Series<R> {
    fn default() -> Self {
        Self { stretches: Vec::new(), longest: Span::ZERO }
    }
}

impl<R: Merge> Series<R> {
    /// Adds a stretch, wherever in time it belongs.
    pub fn push(&mut self, from: RunTime, to: RunTime, value: R) {
        let at = self.stretches.partition_point(|s| s.from <= from);
        self.stretches.insert(at, Stretch { from, to: to.max(from), value });
        self.longest = self.longest.max(to.since(from));
        if self.stretches.len() > MOST_POINTS {
            self.thin();
        }
    }

    /// The value of the stretch that begins at `from`, for adding what was measured at the same time elsewhere. It is made when it is
    /// not there, and reaches to `to` at least.
    pub fn reaching(&mut self, from: RunTime, to: RunTime) -> &mut R
    where
        R: Default,
    {
        if self.before(from).is_none_or(|s| s.from != from) {
            self.push(from, to, R::default());
        }
        // Where adding it has thinned the series, it may be part of one that begins earlier.
        let at = self.stretches.partition_point(|s| s.from <= from).saturating_sub(1);
        let stretch = &mut self.stretches[at];
        stretch.to = stretch.to.max(to);
        self.longest = self.longest.max(stretch.to.since(stretch.from));
        &mut stretch.value
    }

    /// All stretches, in order.
    pub fn stretches(&self) -> &[Stretch<R>] {
        &self.stretches
    }

    /// When each stretch begins and its value, to be completed in place; in order.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = (RunTime, &mut R)> {
        self.stretches.iter_mut().map(|s| (s.from, &mut s.value))
    }

    /// The stretches that begin in `from..to`.
    pub fn between(&self, from: RunTime, to: RunTime) -> &[Stretch<R>] {
        let first = self.stretches.partition_point(|s| s.from < from);
        let end = self.stretches.partition_point(|s| s.from < to).max(first);
        &self.stretches[first..end]
    }

    /// The newest stretch.
    pub fn last(&self) -> Option<&Stretch<R>> {
        self.stretches.last()
    }

    /// The newest stretch that began at or before `t`. For a state this is what held then.
    pub fn before(&self, t: RunTime) -> Option<&Stretch<R>> {
        self.stretches[..self.stretches.partition_point(|s| s.from <= t)].last()
    }

    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// `columns` equal parts of `from..to`, each with the merged value of what belongs to it; None is a gap. A stretch belongs to the
    /// column of its middle and, when it is longer than a column, to each column whose middle it covers: seconds that are not quite
    /// aligned with columns count once.
    pub fn columns(&self, from: RunTime, to: RunTime, columns: usize) -> Vec<Option<R>> {
        let mut out: Vec<Option<R>> = vec![None; columns];
        let length = to.since(from).0;
        if columns == 0 || length == 0 {
            return out;
        }
        let column = |t: RunTime| (u128::from(t.since(from).0) * columns as u128 / u128::from(length)) as usize;
        // The first column whose middle is not before t.
        let centred = |t: RunTime| {
            let twice = u128::from(t.since(from).0) * columns as u128 * 2;
            (twice.saturating_sub(u128::from(length)).div_ceil(u128::from(length) * 2)) as usize
        };
        for stretch in self.touching(from, to) {
            let middle = RunTime(stretch.from.0 + stretch.to.since(stretch.from).0 / 2);
            let inside = from <= middle && middle < to;
            let covered =
                if stretch.to > from { centred(stretch.from)..centred(stretch.to).min(columns) } else { 0..0 };
            let own = column(middle);
            let mine = (inside && !covered.contains(&own)).then_some(own);
            for cell in covered.chain(mine).filter(|c| *c < columns) {
                match &mut out[cell] {
                    Some(value) => value.merge(&stretch.value),
                    None => out[cell] = Some(stretch.value.clone()),
                }
            }
        }
        out
    }

    /// What reaches into `from..to`, and perhaps some of what ends before it.
    fn touching(&self, from: RunTime, to: RunTime) -> &[Stretch<R>] {
        let end = self.stretches.partition_point(|s| s.from < to);
        let first = self.stretches[..end].partition_point(|s| s.from < from && s.from.plus(self.longest) <= from);
        &self.stretches[first..end]
    }

    /// As [`Self::columns`] for a state that holds until the next reading: a column without a reading has the one before, for at
    /// most `longest` after it; beyond that it is a gap.
    pub fn held_columns(&self, from: RunTime, to: RunTime, columns: usize, longest: Span) -> Vec<Option<R>> {
        let mut out = self.columns(from, to, columns);
        let length = to.since(from).0;
        for (i, cell) in out.iter_mut().enumerate().filter(|(_, cell)| cell.is_none()) {
            let end = from.plus(Span((u128::from(length) * (i as u128 + 1) / columns as u128) as u64));
            let held = self.before(RunTime(end.0.saturating_sub(1)));
            *cell = held.filter(|s| end.since(s.to) <= longest).map(|s| s.value.clone());
        }
        out
    }

    /// Halves the resolution of the older half.
    fn thin(&mut self) {
        let newer = self.stretches.split_off(self.stretches.len() / 2);
        let older = std::mem::replace(&mut self.stretches, Vec::with_capacity(MOST_POINTS));
        let mut older = older.into_iter();
        while let Some(mut pair) = older.next() {
            if let Some(later) = older.next() {
                pair.value.merge(&later.value);
                pair.to = pair.to.max(later.to);
                self.longest = self.longest.max(pair.to.since(pair.from));
            }
            self.stretches.push(pair);
        }
        self.stretches.extend(newer);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(n: u64) -> RunTime {
        RunTime(n * 1_000_000_000)
    }

    #[test]
    fn gaps_stay_gaps_and_each_kind_merges_its_own_way() {
        let mut errors = Series::default();
        let mut backlog = Series::default();
        let mut replicas = Series::default();
        let mut rate = Series::default();
        for n in [0, 1, 2, 3, 6, 7] {
            errors.push(second(n), second(n + 1), Sum(n));
            backlog.push(second(n), second(n + 1), Peak(10.0 - n as f64));
            replicas.push(second(n), second(n), Last(n));
            rate.push(second(n), second(n + 1), PerSecond { amount: 10.0 * n as f64, over: Span::from_secs(1) });
        }
        let sums: Vec<_> = errors.columns(second(0), second(8), 4).into_iter().map(|c| c.map(|s| s.0)).collect();
        assert_eq!(sums, [Some(1), Some(5), None, Some(13)]);
        let peaks: Vec<_> = backlog.columns(second(0), second(8), 4).into_iter().map(|c| c.map(|s| s.0)).collect();
        assert_eq!(peaks, [Some(10.0), Some(8.0), None, Some(4.0)]);
        let rates: Vec<_> =
            rate.columns(second(0), second(8), 4).into_iter().map(|c| c.and_then(|s| s.rate())).collect();
        assert_eq!(rates, [Some(5.0), Some(25.0), None, Some(65.0)]);
        let held = |longest| -> Vec<_> {
            let cells = replicas.held_columns(second(0), second(10), 5, Span::from_secs(longest));
            cells.into_iter().map(|c| c.map(|s| s.0)).collect()
        };
        assert_eq!(held(60), [Some(1), Some(3), Some(3), Some(7), Some(7)]);
        assert_eq!(held(0), [Some(1), Some(3), None, Some(7), None]);
    }

    #[test]
    fn seconds_that_do_not_quite_fit_the_columns_count_once() {
        for shift in [0_u64, 300_000, 480_000_000] {
            let mut series = Series::default();
            for n in 0..10 {
                let from = RunTime(n * 1_000_000_000 + shift);
                series.push(from, from.plus(Span::from_secs(1)), Sum(1));
            }
            let seen = series.columns(second(0), second(10), 10);
            assert!(seen.iter().all(|c| *c == Some(Sum(1))), "{shift}: {seen:?}");
            let fine = series.columns(second(0), second(10), 40);
            assert_eq!(fine.iter().flatten().count(), 40 - ((shift + 125_000_000) / 250_000_000) as usize, "{shift}");
        }
    }

    #[test]
    fn a_long_stretch_is_seen_behind_short_ones_that_ended() {
        let mut pushed = Series::default();
        pushed.push(second(10), second(14), Sum(1));
        let mut grown = Series::default();
        *grown.reaching(second(10), second(11)) = Sum(1);
        grown.reaching(second(10), second(14));
        for mut series in [pushed, grown] {
            series.push(second(11), second(12), Sum(2));
            assert_eq!(series.columns(second(13), second(15), 2), [Some(Sum(1)), None]);
            assert_eq!(series.columns(second(14), second(16), 2), [None, None]);
        }
    }

    proptest! {
        #[test]
        fn zooming_out_loses_no_count(
            points in prop::collection::vec((0_u64..200, 0_u64..1_000), 0..100),
            columns in 1_usize..50,
        ) {
            let mut series = Series::default();
            for &(at, n) in &points {
                series.push(second(at), second(at), Sum(n));
            }
            let all: u64 = points.iter().map(|(_, n)| n).sum();
            let seen: u64 = series.columns(second(0), second(200), columns).into_iter().flatten().map(|s| s.0).sum();
            prop_assert_eq!(seen, all);
            prop_assert!(series.stretches().is_sorted_by_key(|s| s.from));
        }

        #[test]
        fn any_window_is_answered(from in any::<u64>(), to in any::<u64>(), at in any::<u64>(), columns in 0_usize..20) {
            let mut series = Series::default();
            series.push(RunTime(at), RunTime(at.saturating_add(9)), Sum(1));
            prop_assert_eq!(series.columns(RunTime(from), RunTime(to), columns).len(), columns);
            prop_assert_eq!(series.held_columns(RunTime(from), RunTime(to), columns, Span::ZERO).len(), columns);
        }
    }

    #[test]
    fn a_long_series_is_thinned_and_keeps_its_sum() {
        let mut series = Series::default();
        for n in 0..50_000 {
            series.push(second(n), second(n + 1), Sum(1));
        }
        assert!(series.stretches().len() <= MOST_POINTS);
        assert_eq!(series.stretches().iter().map(|s| s.value.0).sum::<u64>(), 50_000);
    }
}
