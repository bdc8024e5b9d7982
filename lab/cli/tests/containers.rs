//! The binary with Docker: the image it packs, the servers it starts, what watches them. A binary of its own, so that nothing that is
//! measured elsewhere shares the machine with them.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "e2e/bench.rs"]
mod bench;
#[path = "e2e/image.rs"]
mod image;
#[path = "e2e/monitoring.rs"]
mod monitoring;
#[path = "e2e/servers.rs"]
mod servers;
