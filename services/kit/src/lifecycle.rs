//! The stages of a service's life, and how its parts learn of them. Who moves it from stage to stage is `shutdown`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Where a service is in its life. Stages only go forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Taking requests.
    Serving,
    /// Told to end, and says so: `/readyz` is 503, answers carry `Connection: close`. New connections are still served, because
    /// whoever balances the load learns late.
    Unready,
    /// The listener is closed; requests in flight are finished.
    Draining,
    /// No request is left; consumers and hooks end.
    Stopping,
}

/// A handle on the stage. Clones are the same life.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stage: watch::Sender<Stage>,
    // Read on every request, where the watch channel's lock would cost more than the answer.
    ending: AtomicBool,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self(Arc::new(Inner { stage: watch::Sender::new(Stage::Serving), ending: AtomicBool::new(false) }))
    }
}

impl Lifecycle {
    /// The stage now.
    pub fn stage(&self) -> Stage {
        *self.0.stage.borrow()
    }

    /// True from [`Stage::Unready`] on.
    pub fn is_ending(&self) -> bool {
        self.0.ending.load(Ordering::Relaxed)
    }

    /// Waits until the service was told to end. Consumers stop receiving and streams end when this returns.
    pub async fn ending(&self) {
        self.reached(Stage::Unready).await;
    }

    /// Waits for a stage; returns at once when it is reached or passed.
    pub async fn reached(&self, stage: Stage) {
        let mut watched = self.0.stage.subscribe();
        while *watched.borrow_and_update() < stage {
            // Closed would mean that nobody can move the stage any more: the end of everything that waits for it.
            if watched.changed().await.is_err() {
                return;
            }
        }
    }

    /// Moves forward; an earlier stage than the present one changes nothing.
    pub(crate) fn advance(&self, to: Stage) {
        self.0.ending.store(true, Ordering::Relaxed);
        self.0.stage.send_if_modified(|now| {
            let moved = to > *now;
            *now = to.max(*now);
            moved
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn stages_go_forward_only() {
        let life = Lifecycle::default();
        assert!(!life.is_ending() && life.ending().now_or_never().is_none());
        life.advance(Stage::Draining);
        life.advance(Stage::Unready);
        assert_eq!(life.stage(), Stage::Draining);
        assert!(life.is_ending());
        life.ending().await;
        assert!(life.reached(Stage::Stopping).now_or_never().is_none());
    }
}
