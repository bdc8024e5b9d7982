//! The adapter as the API server meets it: real TLS, certificates made for the test, replicas that are small HTTP servers.

mod access;
mod lifetime;
mod papers;
mod rig;
mod scraped;
