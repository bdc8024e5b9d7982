//! What is told of a store and of the cache in front of its reads, under the names that every service uses.

use crate::Builder;

/// Refreshes the gauge of rows in `table` and the counters of cache hits and misses at each scrape. `stats` gives (hits, misses)
/// since the start; `rows` gives None when the store does not answer, which makes a gap and not a wrong number.
pub fn observe<S, R, F>(builder: Builder, table: &'static str, stats: S, rows: R) -> Builder
where
    S: Fn() -> (u64, u64) + Send + Sync + 'static,
    R: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Option<u64>> + Send + 'static,
{
    let metrics = builder.metrics();
    metrics.describe("lab_store_rows", "Rows in the store");
    metrics.describe("lab_cache_hits_total", "Reads answered from the cache");
    metrics.describe("lab_cache_misses_total", "Reads that the cache did not have");
    let gauge = metrics.gauge("lab_store_rows", &[("table", table)]);
    let hits = metrics.counter("lab_cache_hits_total", &[]);
    let misses = metrics.counter("lab_cache_misses_total", &[]);
    builder.on_scrape(move || {
        let (hit, missed) = stats();
        hits.absolute(hit);
        misses.absolute(missed);
        let (counting, gauge) = (rows(), gauge.clone());
        async move { gauge.set(counting.await.map_or(f64::NAN, |count| count as f64)) }
    })
}
