//! From replicas to values.

use crate::rig::{ROOT, Replica, Rig, scraping};

const P95: &str = "user_service_response_time_p95_ms";

#[tokio::test]
async fn a_percentile_is_that_of_all_replicas_together() {
    let (fast, slow) = (Replica::of_user_service().await, Replica::of_user_service().await);
    let rig = Rig::new(&scraping("user-service", &[&fast, &slow], "3s")).await;
    rig.until(P95, &["0m"]).await;
    fast.answered("/get", 0.06, 90);
    fast.answered("/create", 0.06, 5);
    slow.answered("/get", 0.6, 5);
    slow.answered("/export", 9.0, 1000);
    // The end of the bucket that the 95th of the hundred fills; the mean of the replicas' own would be above 300.
    let list = rig.until(P95, &["70000m"]).await;
    let item = &list["items"][0];
    assert_eq!((&item["metricName"], &item["metricLabels"]["service"]), (&P95.into(), &"user-service".into()));
    assert!(item["window"].as_u64().is_some_and(|seconds| (1..=3).contains(&seconds)), "{item}");
    // Nothing more is asked, so the service is idle once the window is over.
    rig.until(P95, &["0m"]).await;
}

#[tokio::test]
async fn replicas_that_do_not_answer_leave_nothing_after_two_windows() {
    let replica = Replica::of_user_service().await;
    let rig = Rig::new(&scraping("user-service", &[&replica], "500ms")).await;
    rig.until(P95, &["0m"]).await;
    replica.stop();
    rig.until(P95, &[]).await;
    assert_eq!(rig.get(ROOT).await.0, 200, "discovery does not depend on replicas");
}

#[tokio::test]
async fn requests_that_hang_are_not_taken_for_idleness() {
    let replica = Replica::of_user_service().await;
    let rig = Rig::new(&scraping("user-service", &[&replica], "500ms")).await;
    rig.until(P95, &["0m"]).await;
    replica.metrics.gauge("http_requests_in_flight", &[]).set(40.0);
    rig.until(P95, &[]).await;
}

#[tokio::test]
async fn a_queue_and_a_generator_are_read_too() {
    let (consumer, generator) = (Replica::start().await, Replica::start().await);
    consumer.metrics.gauge("lab_queue_depth", &[("queue", "messages")]).set(41.0);
    for level in ["lab_load_in_flight", "lab_load_queued"] {
        generator.metrics.gauge(level, &[]).set(0.0);
    }
    let mut flags = scraping("message-service", &[&consumer], "3s");
    flags.push(format!("--load-generator={}", generator.address));
    let rig = Rig::new(&flags).await;
    rig.until("queue_depth", &["41000m"]).await;
    rig.until("send_lag_ms", &["0m"]).await;
    generator.metrics.histogram("lab_load_send_lag_seconds", &[]).record_many(0.002, 100);
    generator.metrics.histogram("lab_load_response_seconds", &[]).record_many(0.2, 100);
    // The 99th of 100 that lie from 1.8 to 2.2 ms, and the 95th from 180 to 220.
    rig.until("send_lag_ms", &["2196m"]).await;
    rig.until("load_generator_response_time_p95_ms", &["218000m"]).await;
    rig.until("user_service_response_time_p95_ms", &[]).await;
}
