//! Where store engines keep their data in tests: one factory an engine. A new engine adds a function here, which gives each call a
//! place that no other test sees, and None (after saying so) when its server cannot be had: see [`super::engine`].

#![allow(dead_code, reason = "each test binary uses its part")]

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backing::Store;
use backing::store::{self, Settings};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};

use crate::engine::{self, Engine, PASSWORD};

/// Somewhere an engine keeps its data, opened as often as a test likes.
pub struct Place {
    /// For `store::open`.
    pub address: String,
    // A directory, or nothing.
    _keep: Box<dyn Any + Send + Sync>,
}

impl Place {
    pub fn at(address: String) -> Self {
        Self { address, _keep: Box::new(()) }
    }

    pub async fn open(&self) -> Arc<dyn Store> {
        open(&self.address).await
    }
}

/// A long deadline: these tests are about results, and the machine may be busy.
pub fn patient() -> Settings {
    Settings { deadline: Duration::from_secs(20), ..Settings::default() }
}

pub async fn open(address: &str) -> Arc<dyn Store> {
    store::open(address, patient()).await.unwrap()
}

pub async fn memory() -> Option<Place> {
    Some(Place::at("memory:".to_owned()))
}

pub async fn sqlite() -> Option<Place> {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/users.db", dir.path().display());
    Some(Place { address, _keep: Box::new(dir) })
}

/// A database of its own on the server that all tests of the binary share.
pub async fn postgres() -> Option<Place> {
    Some(Place::at(postgres_at(engine::shared(&engine::POSTGRES)?).await))
}

/// As [`postgres`].
pub async fn mysql() -> Option<Place> {
    Some(Place::at(mysql_at(engine::shared(&engine::MYSQL)?).await))
}

/// As [`postgres`].
pub async fn mongodb() -> Option<Place> {
    Some(Place::at(mongodb_at(engine::shared(&engine::MONGO)?)))
}

/// Tables of its own on the emulator that all tests of the binary share.
pub async fn dynamodb() -> Option<Place> {
    Some(Place::at(dynamodb_at(engine::shared(&engine::DYNAMODB)?)))
}

/// The address of a new database on this server, which makes it when it is first written to.
pub fn mongodb_at(server: &Engine) -> String {
    format!("mongodb://{}/{}", server.address(), fresh_name())
}

/// The address of new tables on this emulator.
pub fn dynamodb_at(server: &Engine) -> String {
    format!("dynamodb://{}/{}?region=eu-west-1", server.address(), fresh_name())
}

/// The address of a new database on this server.
pub async fn postgres_at(server: &Engine) -> String {
    let address = format!("postgres://postgres:{PASSWORD}@{}", server.address());
    let name = fresh_name();
    let mut connection = PgConnection::connect(&format!("{address}/postgres")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    format!("{address}/{name}")
}

/// The address of a new database on this server.
pub async fn mysql_at(server: &Engine) -> String {
    let address = format!("mysql://root:{PASSWORD}@{}", server.address());
    let name = fresh_name();
    let mut connection = MySqlConnection::connect(&format!("{address}/lab")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    format!("{address}/{name}")
}

/// A name for a database, table prefix or the like that no other test of this binary has.
pub fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}
