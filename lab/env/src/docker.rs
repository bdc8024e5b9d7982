//! The environment `docker`: replicas and backing servers are containers on a network of their own. The only room that speaks to Docker.

pub(crate) mod call;
pub(crate) mod container;
pub(crate) mod engine;
pub mod image;
mod output;
