//! The flags of user-service.

use std::num::NonZeroUsize;

use backing::store::CONNECTIONS;
use clap::{Args, ValueEnum};
use kit::{ServeArgs, ServeError, Work};
use lab_core::unit::Span;

/// When a create is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Create {
    /// Before the answer, which is 204.
    Direct,
    /// After the answer, which is 202 once the queue holds the create for good.
    Queued,
}

/// Flags of user-service.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Flags that all services have.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Where users are kept: `memory:`, `sqlite:PATH`, a URL of postgres, mysql, mongodb or dynamodb, or `@FILE` that holds one
    #[arg(long, default_value = "memory:", value_name = "ADDRESS")]
    pub store: String,
    /// Most connections at once to a store that is a server of its own
    #[arg(long, default_value_t = CONNECTIONS, value_name = "NUMBER")]
    pub store_connections: NonZeroUsize,
    /// Cache in front of reads: `none`, `memory:`, `redis://…` or `@FILE` that holds it
    #[arg(long, default_value = "none", value_name = "ADDRESS")]
    pub cache: String,
    /// Longest life of a cached answer
    #[arg(long, default_value = "60s", value_name = "TIME")]
    pub cache_ttl: Span,
    /// Store a create before the answer, or from a queue after it
    #[arg(long, value_enum, default_value_t = Create::Direct)]
    pub create: Create,
    /// Queue of `--create queued`: `sqlite:PATH`, `amqp://…` or `@FILE` that holds it
    #[arg(long, value_name = "ADDRESS")]
    pub queue: Option<String>,
    /// CPU time burnt per request, such as `create=2ms,get=200us`
    #[arg(long, default_value = "")]
    pub work: Work,
}

impl Config {
    /// The queue's address; None when creates are stored directly.
    pub(crate) fn queue_address(&self) -> Result<Option<&str>, ServeError> {
        match (self.create, self.queue.as_deref()) {
            (Create::Queued, Some(address)) => Ok(Some(address)),
            (Create::Direct, None) => Ok(None),
            (Create::Queued, None) => {
                Err(ServeError::Config("--create queued needs a queue; add --queue sqlite:PATH".to_owned()))
            }
            (Create::Direct, Some(_)) => {
                Err(ServeError::Config("--queue has no use with --create direct; add --create queued".to_owned()))
            }
        }
    }
}
