//! What the DynamoDB store does when its service is away, silent, not its own, or answers in pages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use backing::store::{self, Idempotency, Message, NewUser, Settings, Table};
use backing::{Error, MessageId, Store, UserId};
use engine::DYNAMODB;
use futures_util::future::join_all;

#[path = "support/engine.rs"]
mod engine;
#[path = "support/store_places.rs"]
mod places;

fn user(name: &str) -> NewUser {
    NewUser { name: name.to_owned(), created_at: "2026-11-24T10:00:00Z".to_owned() }
}

fn within(deadline: Duration) -> Settings {
    Settings { deadline, ..Settings::default() }
}

async fn until_it_works<T>(call: impl AsyncFn() -> Result<T, Error>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_transient() && Instant::now() < until, "{error:?}"),
        }
    }
}

/// Another program's client, and the prefix of the tables.
fn client(address: &str) -> (Client, String) {
    let rest = address.strip_prefix("dynamodb://").unwrap();
    let (host, rest) = rest.split_once('/').unwrap();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(format!("http://{host}"))
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("other", "other", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    (Client::from_conf(config.build()), rest.split_once('?').unwrap().0.to_owned())
}

#[tokio::test]
async fn a_service_that_is_away_is_named_with_its_remedy() {
    let began = Instant::now();
    let away = store::open("dynamodb://127.0.0.1:1/lab", Settings::default()).await.err().unwrap();
    assert!(matches!(away, Error::Unreachable { .. }) && away.source().is_some(), "{away:?}");
    assert!(away.to_string().contains("dynamodb://127.0.0.1:1/lab") && away.to_string().contains("start"), "{away}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_of_the_service_the_same_handle_works_again() {
    let Some(server) = engine::alone(&DYNAMODB) else { return };
    let address = places::dynamodb_at(&server);
    let store = store::open(&address, within(Duration::from_secs(2))).await.unwrap();
    until_it_works(async || store.create_user(user("Ada"), None).await).await;
    server.kill();
    for away in [
        store.get_user(UserId(1)).await.err(),
        store.create_user(user("Ada"), None).await.err(),
        store.ping().await.err(),
    ] {
        assert!(matches!(away, Some(Error::Unreachable { .. })), "{away:?}");
    }
    server.restart();
    assert!(store.ping().await.is_err(), "the emulator has lost its tables");
    until_it_works(async || store::open(&address, places::patient()).await).await.close().await.unwrap();
    until_it_works(|| store.ping()).await;
    assert_eq!(until_it_works(async || store.create_user(user("Eve"), None).await).await.id, UserId(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_service_costs_the_deadline_and_a_repeat_settles_what_happened() {
    let Some(server) = engine::alone(&DYNAMODB) else { return };
    let deadline = Duration::from_millis(700);
    let address = places::dynamodb_at(&server);
    store::open(&address, places::patient()).await.unwrap().create_user(user("first"), None).await.unwrap();
    let settings = Settings { connections: 2, max_waiting: 3, ..within(deadline) };
    let store = store::open(&address, settings).await.unwrap();
    server.pause();
    let key = || Some(Idempotency::client("key", b"body"));
    let began = Instant::now();
    let ends = join_all((0..10).map(|_| store.create_user(user("silent"), key()))).await;
    assert!(began.elapsed() < deadline * 3, "{:?}", began.elapsed());
    let full = ends.iter().filter(|end| matches!(end, Err(Error::Overloaded { waiting: 3, .. }))).count();
    assert_eq!(full, 5, "two at the service, three wait: {ends:?}");
    assert!(ends.iter().all(|end| end.as_ref().is_err_and(Error::is_transient)), "{ends:?}");
    let began = Instant::now();
    let another = store::open(&address, within(deadline)).await.err();
    assert!(matches!(another, Some(Error::Unreachable { .. })), "{another:?}");
    assert!(began.elapsed() < deadline * 4, "{:?}", began.elapsed());
    server.unpause();
    let settled = until_it_works(async || store.create_user(user("silent"), key()).await).await;
    let again = until_it_works(async || store.create_user(user("silent"), key()).await).await;
    assert_eq!((again.id, again.fresh), (settled.id, false));
    assert_eq!(store.count(Table::Users).await.unwrap(), 2);
}

#[tokio::test]
async fn tables_of_a_newer_build_are_refused() {
    let Some(server) = engine::shared(&DYNAMODB) else { return };
    let address = places::dynamodb_at(server);
    store::open(&address, places::patient()).await.unwrap().close().await.unwrap();
    let (client, prefix) = client(&address);
    let put = client.put_item().table_name(format!("{prefix}-counters"));
    let put = put.item("name", AttributeValue::S("schema".to_owned()));
    put.item("version", AttributeValue::N("99".to_owned())).send().await.unwrap();
    let refused = store::open(&address, places::patient()).await.err().unwrap();
    assert!(matches!(refused, Error::NewerSchema { found: 99, .. }), "{refused:?}");
}

#[tokio::test]
async fn tables_of_somebody_else_are_left_alone() {
    let Some(server) = engine::shared(&DYNAMODB) else { return };
    let address = places::dynamodb_at(server);
    let (client, prefix) = client(&address);
    let key = KeySchemaElement::builder().attribute_name("email").key_type(KeyType::Hash).build().unwrap();
    let email = AttributeDefinition::builder().attribute_name("email").attribute_type(ScalarAttributeType::S);
    let create = client.create_table().table_name(format!("{prefix}-users")).billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(email.build().unwrap()).send().await.unwrap();
    let refused = store::open(&address, places::patient()).await.err().unwrap();
    assert!(matches!(refused, Error::OtherFile { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_share_the_tables() {
    let Some(server) = engine::shared(&DYNAMODB) else { return };
    let address = places::dynamodb_at(server);
    let stores = join_all((0..8).map(|_| store::open(&address, places::patient()))).await;
    let stores: Vec<Arc<dyn Store>> = stores.into_iter().map(Result::unwrap).collect();
    let created = join_all(stores.iter().map(|store| store.create_user(user("one"), None))).await;
    let mut ids: Vec<u64> = created.into_iter().map(|created| created.unwrap().id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=8).collect::<Vec<_>>());
}

/// The service answers with at most 1 MB at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_of_several_pages_is_read_whole() {
    let Some(server) = engine::shared(&DYNAMODB) else { return };
    let store = store::open(&places::dynamodb_at(server), places::patient()).await.unwrap();
    let text = "0123456789".repeat(20_000);
    let sent: Vec<_> = (0..13)
        .map(|sent_at| Message { id: MessageId::fresh(), from: UserId(1), to: UserId(2), text: text.clone(), sent_at })
        .collect();
    join_all(sent.iter().map(|message| store.put_message(message.clone())))
        .await
        .into_iter()
        .for_each(|new| assert!(new.unwrap()));
    let newest: Vec<_> = sent.iter().rev().cloned().collect();
    assert!(store.messages_for(UserId(2), 100).await.unwrap() == newest, "all");
    assert!(store.messages_for(UserId(2), 8).await.unwrap() == newest[..8], "over the end of a page");
    assert_eq!(store.count(Table::Messages).await.unwrap(), 13);
}

/// Two deliveries of one message at once: the service refuses one transaction because of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_at_once_is_stored_once() {
    let Some(server) = engine::shared(&DYNAMODB) else { return };
    let store = store::open(&places::dynamodb_at(server), places::patient()).await.unwrap();
    let message =
        |sent_at| Message { id: MessageId::fresh(), from: UserId(1), to: UserId(2), text: String::new(), sent_at };
    for round in 0..10 {
        let message = message(round);
        let puts = join_all((0..8).map(|_| store.put_message(message.clone()))).await;
        assert_eq!(puts.into_iter().filter(|new| *new.as_ref().unwrap()).count(), 1);
    }
    assert_eq!(store.messages_for(UserId(2), 100).await.unwrap().len(), 10);
}
