//! The flags of message-service.

use std::num::NonZeroUsize;

use backing::store::CONNECTIONS;
use clap::Args;
use kit::{ServeArgs, Work};
use lab_core::unit::Span;

/// Flags of message-service.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Flags that all services have.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Where messages are kept: `memory:`, `sqlite:PATH`, a URL of postgres, mysql, mongodb or dynamodb, or `@FILE` that holds one
    #[arg(long, default_value = "memory:", value_name = "ADDRESS")]
    pub store: String,
    /// Most connections at once to a store that is a server of its own
    #[arg(long, default_value_t = CONNECTIONS, value_name = "NUMBER")]
    pub store_connections: NonZeroUsize,
    /// Cache in front of reads: `none`, `memory:`, `redis://…` or `@FILE` that holds it
    #[arg(long, default_value = "none", value_name = "ADDRESS")]
    pub cache: String,
    /// Longest life of a cached answer; another replica's reads may lag behind by it
    #[arg(long, default_value = "60s", value_name = "TIME")]
    pub cache_ttl: Span,
    /// Queue between a send and the store: `sqlite:PATH`, `amqp://…` or `@FILE` that holds it
    #[arg(long, value_name = "ADDRESS")]
    pub queue: String,
    /// Consumers of this replica
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    pub consumers: NonZeroUsize,
    /// CPU time burnt per request or message, such as `send=1ms,messages=200us,consume=2ms`
    #[arg(long, default_value = "")]
    pub work: Work,
}
