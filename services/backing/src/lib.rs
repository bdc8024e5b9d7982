//! What services keep their data in: three traits ([`Store`], [`Queue`], [`Cache`]), one file per engine, one contract suite each.
//! Nothing here knows HTTP, metrics or a service's routes.

mod about;
pub mod address;
mod aws;
pub mod cache;
pub mod clock;
mod error;
mod gate;
pub mod id;
pub mod place;
pub mod promises;
pub mod queue;
mod seats;
mod sql;
mod sqlite;
pub mod store;

pub use about::About;
pub use cache::Cache;
pub use clock::Clock;
pub use error::Error;
pub use id::{MessageId, UserId};
pub use promises::Promises;
pub use queue::Queue;
pub use store::Store;
