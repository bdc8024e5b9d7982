//! The binary as a user meets it: real processes, real journals, real signals. Each test has a home and a folder of runs of its own.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "e2e/bench.rs"]
mod bench;
#[path = "e2e/dashboard.rs"]
mod dashboard;
#[path = "e2e/experiment.rs"]
mod experiment;
#[path = "e2e/frame.rs"]
mod frame;
#[path = "e2e/pty.rs"]
mod pty;
#[path = "e2e/replay.rs"]
mod replay;
#[path = "e2e/screens.rs"]
mod screens;
#[path = "e2e/steer.rs"]
mod steer;
#[path = "e2e/still.rs"]
mod still;
#[path = "e2e/stop.rs"]
mod stop;
#[path = "e2e/terminals.rs"]
mod terminals;
#[path = "e2e/up.rs"]
mod up;
#[path = "e2e/words.rs"]
mod words;
