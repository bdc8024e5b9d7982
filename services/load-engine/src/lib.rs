//! An HTTP/1.1 load engine whose latencies count from the intended send time of an open-loop schedule.
//!
//! One operating-system thread per worker runs the loop in `worker`: release what is due, write, read, record, sleep to the next due time.
//! Workers share nothing while they send; they hear from [`Engine`] by mailbox and hand a stretch of results to a collector once
//! a second. [`run_once`] is the front for a single command line.

mod cause;
mod clock;
mod collector;
mod connection;
mod driver;
mod engine;
mod once;
mod plan;
mod pool;
mod recorder;
mod request;
mod response;
mod schedule;
mod source;
mod summary;
mod target;
mod worker;

pub use cause::Cause;
pub use clock::now_ns;
pub use engine::{Config, Engine, EngineError};
pub use once::{Length, Next, OnceError, Options, run_once};
pub use plan::{Drive, Pace, validate};
pub use request::{Slots, Template, TemplateError};
pub use response::{Head, Parser, Progress, ResponseError};
pub use schedule::{Arrival, Schedule};
pub use summary::{Latencies, Summary, Validity};
