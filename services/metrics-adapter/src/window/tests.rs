use rstest::rstest;

use crate::catalogue::{Metric, Source};

use super::*;

const LENGTH: Duration = Duration::from_secs(15);
const BOUNDS: [f64; 9] = [0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, f64::INFINITY];

/// A replica of user-service that has answered requests in so many seconds, has so many in work, and has shed so many.
fn page(durations: &[f64], in_flight: f64, shed: f64) -> Page {
    let at_or_below = |bound: f64| durations.iter().filter(|duration| **duration <= bound).count() as f64;
    let buckets = Buckets::from_cumulative(BOUNDS.map(|bound| (bound, at_or_below(bound)))).expect("counts");
    Page {
        histograms: BTreeMap::from([("http_request_duration_seconds", buckets)]),
        numbers: BTreeMap::from([("http_requests_in_flight", in_flight), ("lab_shed_total", shed)]),
    }
}

fn replica(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 8080))
}

/// A window whose seconds begin at some instant.
struct Clock(Window, Instant);

impl Clock {
    fn new() -> Self {
        Self(Window::new(LENGTH), Instant::now())
    }

    fn at(&mut self, second: u64, number: u8, page: Page) {
        self.0.push(replica(number), self.1 + Duration::from_secs(second), page);
    }

    fn merged(&self) -> Merged {
        self.0.merged().expect("a scrape")
    }

    /// How many requests the window has, and over how many seconds.
    fn seen(&self) -> (f64, u64) {
        let merged = self.merged();
        let requests = merged.buckets("http_request_duration_seconds").map_or(0.0, Buckets::total);
        (requests, merged.covered.as_secs())
    }

    fn p95(&self) -> Option<i64> {
        p95().value(&self.merged(), LENGTH)
    }
}

fn p95() -> &'static Metric {
    Source::UserService.metrics().next().expect("its response time")
}

#[test]
fn percentiles_are_merged_and_never_averaged() {
    let mut clock = Clock::new();
    clock.at(0, 1, page(&[], 0.0, 0.0));
    clock.at(0, 2, page(&[], 0.0, 0.0));
    // One replica answers 95 in 60 ms, the other 5 in 600 ms: the mean of their percentiles would be more than 300 ms.
    clock.at(10, 1, page(&[0.06; 95], 0.0, 0.0));
    clock.at(10, 2, page(&[0.6; 5], 0.0, 0.0));
    assert_eq!(clock.seen(), (100.0, 10));
    assert_eq!(clock.p95(), Some(70_000), "the end of the bucket that the 95th fills, in thousandths of a millisecond");
}

#[test]
fn what_came_before_the_window_is_not_in_it() {
    let mut clock = Clock::new();
    for second in 0..60 {
        clock.at(second, 1, page(&vec![if second < 40 { 0.6 } else { 0.06 }; second as usize], 0.0, 0.0));
    }
    assert!(clock.p95().is_some_and(|value| value <= 70_000), "only fast ones are left");
    assert_eq!(clock.seen().1, 15);
    assert_eq!(clock.0.replicas[&replica(1)].len(), 16, "one more than seconds, and no other");
}

#[test]
fn a_replica_that_began_anew_adds_what_it_did_since() {
    let mut clock = Clock::new();
    clock.at(0, 1, page(&[0.06; 100], 0.0, 3.0));
    clock.at(5, 1, page(&[0.06; 110], 0.0, 5.0));
    clock.at(10, 1, page(&[0.06; 7], 0.0, 1.0));
    assert_eq!(clock.seen(), (17.0, 10));
    assert_eq!(clock.merged().counted("lab_shed_total"), 3.0);
}

#[test]
fn a_replica_that_is_gone_is_dropped_and_a_new_one_counts_from_its_first_scrape() {
    let mut clock = Clock::new();
    for number in [1, 2] {
        clock.at(0, number, page(&[], 0.0, 0.0));
        clock.at(5, number, page(&[0.6; 10], 4.0, 0.0));
    }
    assert_eq!(clock.seen().0, 20.0);
    clock.at(6, 3, page(&[0.06; 1000], 0.0, 0.0));
    clock.at(7, 3, page(&[0.06; 1001], 0.0, 0.0));
    assert_eq!(clock.seen().0, 21.0);
    clock.0.keep(&[replica(1), replica(3)]);
    assert_eq!((clock.seen().0, clock.merged().sum("http_requests_in_flight")), (11.0, Some(4.0)));
}

#[test]
fn a_replica_that_does_not_answer_says_nothing_after_a_window() {
    let mut clock = Clock::new();
    for number in [1, 2] {
        clock.at(0, number, page(&[], 9.0, 0.0));
        clock.at(1, number, page(&[0.6; 10], 9.0, 0.0));
    }
    for second in 2..=15 {
        clock.at(second, 1, page(&[0.6; 10], 0.0, 0.0));
    }
    assert_eq!((clock.seen().0, clock.merged().sum("http_requests_in_flight")), (20.0, Some(9.0)));
    clock.at(16, 1, page(&[0.6; 10], 0.0, 0.0));
    assert_eq!((clock.seen().0, clock.merged().sum("http_requests_in_flight")), (0.0, Some(0.0)));
    // It comes back: what it counts over a gap this long may be old.
    clock.at(31, 2, page(&[0.6; 99], 0.0, 0.0));
    assert_eq!(clock.seen().0, 0.0);
    clock.at(32, 2, page(&[0.6; 100], 0.0, 0.0));
    assert_eq!(clock.seen().0, 1.0);
}

#[rstest]
#[case::idle(0.0, 0.0, Some(0))]
#[case::requests_that_wait(3.0, 0.0, None)]
#[case::all_shed(0.0, 12.0, None)]
fn nothing_measured_is_zero_only_when_nothing_was_asked(
    #[case] in_flight: f64,
    #[case] shed: f64,
    #[case] expected: Option<i64>,
) {
    let mut clock = Clock::new();
    clock.at(0, 1, page(&[0.06; 5], 0.0, 0.0));
    clock.at(10, 1, page(&[0.06; 5], in_flight, shed));
    assert_eq!(clock.p95(), expected);
}

#[test]
fn nothing_is_told_of_a_moment_or_of_a_page_without_the_levels() {
    let mut clock = Clock::new();
    clock.at(0, 1, page(&[], 0.0, 0.0));
    assert_eq!(clock.p95(), None, "one scrape tells of no time at all");
    clock.at(4, 1, page(&[0.6; 9], 0.0, 0.0));
    assert_eq!(clock.p95(), None);
    clock.at(5, 1, page(&[0.6; 9], 0.0, 0.0));
    assert!(clock.p95().is_some());

    let mut other = Clock::new();
    other.at(0, 1, Page::default());
    other.at(10, 1, Page::default());
    assert_eq!(other.p95(), None, "a page that is not the service's");
    assert_eq!(Window::new(LENGTH).merged(), None);
}

#[test]
fn a_queue_is_as_deep_as_the_replica_that_sees_most_of_it_says() {
    let depth = |depth: f64| Page { numbers: BTreeMap::from([("lab_queue_depth", depth)]), ..Page::default() };
    let metric = Source::MessageService.metrics().find(|metric| metric.name == "queue_depth").expect("the queue");
    let mut clock = Clock::new();
    clock.at(0, 1, depth(41.0));
    clock.at(0, 2, depth(42.5));
    assert_eq!(metric.value(&clock.merged(), LENGTH), Some(42_500));
    clock.at(1, 1, Page::default());
    clock.at(1, 2, Page::default());
    assert_eq!(metric.value(&clock.merged(), LENGTH), None, "who cannot look says so");
}
