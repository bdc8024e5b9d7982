//! Waiting on a state from code that may block: other people's processes, locks and cgroups announce nothing.

use std::time::{Duration, Instant};

/// Looks every `step` until `reached` or until `limit` has passed; says whether it was reached.
pub(crate) fn wait_until(limit: Duration, step: Duration, mut reached: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if reached() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        pause(step);
    }
}

/// The one place that sleeps: between two looks at a state.
#[expect(clippy::disallowed_methods, reason = "the step of a wait with a deadline; nothing here can be subscribed to")]
pub(crate) fn pause(step: Duration) {
    std::thread::sleep(step);
}
