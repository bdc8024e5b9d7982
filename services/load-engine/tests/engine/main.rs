//! The engine against real sockets of this process: ledgers under faults, stalls, endpoints that come and go, live changes.

mod control;
mod endpoints;
mod faults;
mod once;
mod rig;
mod server;
mod stall;
