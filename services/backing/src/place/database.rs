//! Places that are databases: PostgreSQL, MySQL, MongoDB.

use std::str::FromStr;
use std::sync::Arc;

use mongodb::Client;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{ACCEPTED, DISOWN, OWN, Parts, ROLE};
use crate::Error;
use crate::address::shown;

/// Databases that every PostgreSQL has: one cannot be removed by who is in it.
const ALWAYS_THERE: [&str; 2] = ["postgres", "template1"];

fn unreadable(address: &str) -> Error {
    Error::Address { address: shown(address), role: ROLE, accepted: ACCEPTED }
}

fn unreachable(operation: &'static str, address: &str) -> impl Fn(sqlx::Error) -> Error {
    let address = shown(address);
    move |error| Error::Unreachable {
        operation,
        address: address.clone(),
        remedy: "start the server there, or correct the address; its user may have to make databases",
        source: Arc::new(error),
    }
}

pub(super) async fn make_postgres(server: &str, name: &str) -> Result<(), Error> {
    let options = PgConnectOptions::from_str(server).map_err(|_unread| unreadable(server))?;
    let mut options = options.disable_statement_logging();
    if Parts::of(server).is_none_or(|parts| parts.path.is_empty()) {
        options = options.database(ALWAYS_THERE[0]);
    }
    let mut connection = options.connect().await.map_err(unreachable(OWN, server))?;
    // A checked name, so nothing of outside is in it.
    let made = sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await;
    // A server that has gone needs no farewell.
    drop(connection.close().await);
    made.map(drop).map_err(|error| Error::engine(OWN, error))
}

pub(super) async fn remove_postgres(address: &str, name: &str) -> Result<(), Error> {
    let options = PgConnectOptions::from_str(address).map_err(|_unread| unreadable(address))?;
    let [first, second] = ALWAYS_THERE.map(|there| options.clone().database(there).disable_statement_logging());
    let mut connection = match first.connect().await {
        Ok(connection) => connection,
        Err(_) => second.connect().await.map_err(unreachable(DISOWN, address))?,
    };
    let drop_it = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    let removed = sqlx::raw_sql(drop_it).execute(&mut connection).await;
    drop(connection.close().await);
    removed.map(drop).map_err(|error| Error::engine(DISOWN, error))
}

pub(super) async fn make_mysql(server: &str, name: &str) -> Result<(), Error> {
    mysql(OWN, server, format!("CREATE DATABASE {name}")).await
}

pub(super) async fn remove_mysql(address: &str, name: &str) -> Result<(), Error> {
    mysql(DISOWN, address, format!("DROP DATABASE IF EXISTS {name}")).await
}

/// In no database: the one that the address names may not be there.
async fn mysql(operation: &'static str, address: &str, statement: String) -> Result<(), Error> {
    let parts = Parts::of(address).ok_or_else(|| unreadable(address))?;
    let options = MySqlConnectOptions::from_str(&parts.at("", parts.query)).map_err(|_unread| unreadable(address))?;
    let connected = options.disable_statement_logging().connect().await;
    let mut connection = connected.map_err(unreachable(operation, address))?;
    // A checked name, so nothing of outside is in it.
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
    drop(connection.close().await);
    done.map(drop).map_err(|error| Error::engine(operation, error))
}

pub(super) async fn remove_mongodb(address: &str, name: &str) -> Result<(), Error> {
    let client = Client::with_uri_str(address).await.map_err(|_unread| unreadable(address))?;
    client.database(name).drop().await.map_err(|error| Error::engine(DISOWN, error))
}
