//! One second of load, as small as it can be kept: counts, a column of the latency heat map, two quantiles, what was in flight.

use crate::distribution::Distribution;
use crate::ledger::Ledger;
use crate::series::Merge;
use crate::unit::Span;

/// Rows of the latency heat map: eight a decade from 100 µs to 100 s, the first and last open.
pub const HEAT_ROWS: usize = 48;
const ROWS_PER_DECADE: f64 = 8.0;
const HEAT_LOWEST_NS: f64 = 100_000.0;

/// The row of the heat map that a latency belongs to.
pub fn heat_row(latency: Span) -> usize {
    let row = ((latency.0.max(1) as f64 / HEAT_LOWEST_NS).log10() * ROWS_PER_DECADE).floor();
    row.clamp(0.0, (HEAT_ROWS - 1) as f64) as usize
}

/// The latency at the lower edge of a row; of `HEAT_ROWS`, the upper edge of the last.
pub fn heat_edge(row: usize) -> Span {
    Span((HEAT_LOWEST_NS * 10_f64.powf(row as f64 / ROWS_PER_DECADE)).round() as u64)
}

/// A second of load over all generators. Answers stand in the second in which they came, requests in that of their intended time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// Samples that are in it: one a generator, unless time was zoomed out.
    pub samples: u32,
    /// Samples that should be in it. Fewer `samples` make it a partial second: its counts are known to be too low.
    pub expected: u32,
    /// Time that its samples cover.
    pub over: Span,
    /// Requests by fate. `unfinished` is left 0: see `queued` and `in_flight`.
    pub counts: Ledger,
    /// Completed requests within the latency limit of their phase, where it has one.
    pub within_limit: u64,
    /// Time from first byte written to last byte, summed over completed requests, nanoseconds.
    pub service_ns: f64,
    /// Time from intended to failure, summed over failed requests, nanoseconds.
    pub failure_ns: f64,
    /// In-flight requests integrated over the second, request-nanoseconds.
    pub in_flight_ns: u64,
    /// Requests in flight at its end.
    pub in_flight: u64,
    /// Requests waiting for a connection at its end.
    pub queued: u64,
    /// CPU time of the busiest generator over the second, share of what it may use.
    pub generator_cpu: f64,
    /// Longest turn of a generator's send loop.
    pub longest_turn: Span,
    p50: Option<Span>,
    p99: Option<Span>,
    heat: Vec<(u8, u32)>,
    /// Exact response times, kept only while samples of other generators may still come.
    open: Option<Box<Distribution>>,
}

impl Cell {
    /// False when a sample that belongs to it is missing.
    pub fn complete(&self) -> bool {
        self.samples >= self.expected
    }

    /// A count of it as requests a second; None over no time.
    pub fn per_second(&self, count: u64) -> Option<f64> {
        (self.over.0 > 0).then(|| count as f64 / self.over.as_secs_f64())
    }

    /// Median response time of the answers that came in it, from the intended time.
    pub fn p50(&self) -> Option<Span> {
        self.open.as_ref().map_or(self.p50, |open| open.quantile(0.5))
    }

    /// 99th percentile of the response time of the answers that came in it. Over one second it is exact to bucket precision; over
    /// several it is that of the merged heat column, at most a row too high.
    pub fn p99(&self) -> Option<Span> {
        self.open.as_ref().map_or(self.p99, |open| open.quantile(0.99))
    }

    /// Completed requests by row of the heat map, ascending; empty rows are left out.
    pub fn heat(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.heat.iter().map(|&(row, count)| (usize::from(row), u64::from(count)))
    }

    /// Counts response times in.
    pub fn add_responses(&mut self, responses: &Distribution) {
        for (value, count) in responses.buckets() {
            self.add_heat(heat_row(value) as u8, u32::try_from(count).unwrap_or(u32::MAX));
        }
        match &mut self.open {
            Some(open) => open.merge(responses),
            None if self.p99.is_none() => self.open = Some(Box::new(responses.clone())),
            // It was closed: the sample came too late for an exact merge, the heat column has it still.
            None => self.quantiles_from_heat(),
        }
    }

    /// Drops the exact response times, keeps their quantiles.
    pub fn close(&mut self) {
        if let Some(open) = self.open.take() {
            (self.p50, self.p99) = (open.quantile(0.5), open.quantile(0.99));
            self.heat.shrink_to_fit();
        }
    }

    /// True until [`Self::close`].
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |o| o.heap_bytes() + size_of::<Distribution>());
        self.heat.capacity() * size_of::<(u8, u32)>() + open
    }

    fn add_heat(&mut self, row: u8, count: u32) {
        match self.heat.binary_search_by_key(&row, |(r, _)| *r) {
            Ok(at) => self.heat[at].1 = self.heat[at].1.saturating_add(count),
            Err(at) => self.heat.insert(at, (row, count)),
        }
    }

    fn quantiles_from_heat(&mut self) {
        let count: u64 = self.heat().map(|(_, n)| n).sum();
        let at = |q: f64| {
            let rank = crate::distribution::rank(q, count);
            let mut seen = 0;
            let row = self.heat().find_map(|(row, n)| {
                seen += n;
                (seen >= rank).then_some(row)
            });
            row.map(|row| heat_edge(row + 1))
        };
        (self.p50, self.p99) = (at(0.5), at(0.99));
    }
}

impl Merge for Cell {
    /// Later in time. The merged quantile lies between those of its parts, which bounds what the heat column alone would say.
    fn merge(&mut self, later: &Self) {
        let (mine, theirs) = ((self.p50(), self.p99()), (later.p50(), later.p99()));
        self.close();
        self.samples = self.samples.saturating_add(later.samples);
        self.expected = self.expected.saturating_add(later.expected);
        self.over = Span(self.over.0.saturating_add(later.over.0));
        self.counts += later.counts;
        self.within_limit = self.within_limit.saturating_add(later.within_limit);
        self.service_ns += later.service_ns;
        self.failure_ns += later.failure_ns;
        self.in_flight_ns = self.in_flight_ns.saturating_add(later.in_flight_ns);
        (self.in_flight, self.queued) = (later.in_flight, later.queued.max(self.queued));
        self.generator_cpu = self.generator_cpu.max(later.generator_cpu);
        self.longest_turn = self.longest_turn.max(later.longest_turn);
        for &(row, count) in &later.heat {
            self.add_heat(row, count);
        }
        self.quantiles_from_heat();
        self.p50 = between(self.p50, mine.0, theirs.0);
        self.p99 = between(self.p99, mine.1, theirs.1);
    }
}

fn between(value: Option<Span>, a: Option<Span>, b: Option<Span>) -> Option<Span> {
    match (a, b) {
        (Some(a), Some(b)) => value.map(|v| v.clamp(a.min(b), a.max(b))),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;

    fn responses(values: &[u64]) -> Distribution {
        let mut h = Histogram::new();
        values.iter().for_each(|&ms| h.record(Span::from_millis(ms)));
        Distribution::from(&h)
    }

    #[test]
    fn generators_of_one_second_merge_exactly() {
        let mut cell = Cell::default();
        cell.add_responses(&responses(&[1; 99]));
        cell.add_responses(&responses(&[1_000; 1]));
        assert!(cell.p99().is_some_and(|p| p < Span::from_millis(2)));
        cell.add_responses(&responses(&[1_000; 9]));
        assert!(cell.p99().is_some_and(|p| p >= Span::from_millis(1_000)));
        let before = (cell.p50(), cell.p99());
        cell.close();
        assert_eq!((cell.p50(), cell.p99()), before);
        assert_eq!(cell.heat().map(|(_, n)| n).sum::<u64>(), 109);
    }

    #[test]
    fn a_merged_percentile_is_never_the_mean_of_percentiles() {
        let (mut busy, mut quiet) = (Cell::default(), Cell::default());
        busy.add_responses(&responses(&[10; 1_000]));
        quiet.add_responses(&responses(&[900; 2]));
        Merge::merge(&mut busy, &quiet);
        assert!(busy.p99().is_some_and(|p| p < Span::from_millis(14)), "2 of 1002 do not make a p99: {:?}", busy.p99());
    }

    #[test]
    fn rows_cover_all_latencies() {
        assert_eq!((heat_row(Span(0)), heat_row(Span(u64::MAX))), (0, HEAT_ROWS - 1));
        for row in 1..HEAT_ROWS - 1 {
            assert_eq!(heat_row(Span(heat_edge(row).0 + 1)), row);
        }
    }
}
