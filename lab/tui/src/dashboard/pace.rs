//! When to look and when to draw.

use std::time::Duration;

/// How long nothing must have come before silence is told.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
/// How often the world outside is asked while nothing else goes on, and how often is drawn while nobody looks.
const SLOW: Duration = Duration::from_secs(1);

/// Whether the frame on the screen is still true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dirty {
    /// It is.
    No,
    /// It is not; there is no hurry.
    Soon,
    /// It is not, and the user waits.
    Now,
}

/// Instants on the screen's clock.
#[derive(Debug)]
pub(super) struct Pace {
    /// Least time between frames that nobody asked for, and between looks at a run that goes on.
    interval: Duration,
    /// The terminal's window is in front.
    pub focused: bool,
    /// What has changed.
    pub dirty: Dirty,
    drawn: Option<Duration>,
    looked: Option<Duration>,
}

impl Pace {
    pub fn new(fps: u16) -> Self {
        let interval = Duration::from_secs(1) / u32::from(fps.max(1));
        Self { interval, focused: true, dirty: Dirty::Now, drawn: None, looked: None }
    }

    /// There is something new to be seen.
    pub fn soil(&mut self, dirty: Dirty) {
        self.dirty = self.dirty.max(dirty);
    }

    fn between_frames(&self) -> Duration {
        if self.focused { self.interval } else { self.interval.max(SLOW) }
    }

    /// How often the run and the world outside are looked at.
    fn between_looks(&self, goes_on: bool) -> Duration {
        if goes_on { self.between_frames() } else { self.interval.max(SLOW) }
    }

    /// True when it is time to look; then the time until the next look begins.
    pub fn look(&mut self, now: Duration, goes_on: bool) -> bool {
        let due = self.next_look(goes_on) <= now;
        if due {
            self.looked = Some(now);
        }
        due
    }

    /// True when a frame is to be drawn; then it counts as drawn.
    pub fn draw(&mut self, now: Duration) -> bool {
        let due = self.next_frame().is_some_and(|at| at <= now);
        if due {
            (self.drawn, self.dirty) = (Some(now), Dirty::No);
        }
        due
    }

    fn next_look(&self, goes_on: bool) -> Duration {
        self.looked.map_or(Duration::ZERO, |looked| looked + self.between_looks(goes_on))
    }

    fn next_frame(&self) -> Option<Duration> {
        match self.dirty {
            Dirty::No => None,
            Dirty::Soon => Some(self.drawn.map_or(Duration::ZERO, |drawn| drawn + self.between_frames())),
            Dirty::Now => Some(Duration::ZERO),
        }
    }

    /// How long there is nothing to do unless something is heard.
    pub fn idle(&self, now: Duration, goes_on: bool) -> Duration {
        let next = self.next_frame().map_or(Duration::MAX, |frame| frame).min(self.next_look(goes_on));
        next.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_never_waits_and_the_rest_keeps_to_the_rate() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(4);
        assert!(pace.draw(ms(0)) && !pace.draw(ms(9_999)), "a true frame is not drawn again");
        pace.soil(Dirty::Soon);
        assert!(pace.draw(ms(10_000)));
        pace.soil(Dirty::Soon);
        assert!(!pace.draw(ms(10_249)) && pace.idle(ms(10_249), false) <= ms(1) && pace.draw(ms(10_250)));
        pace.soil(Dirty::Now);
        pace.soil(Dirty::Soon);
        assert!(pace.draw(ms(10_251)), "input shows at once");
        pace.focused = false;
        pace.soil(Dirty::Soon);
        assert!(!pace.draw(ms(11_250)) && pace.draw(ms(11_251)), "one frame a second while nobody looks");
    }

    #[test]
    fn a_run_that_goes_on_is_looked_at_more_often() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(4);
        assert!(pace.draw(ms(0)) && pace.look(ms(0), true));
        assert_eq!((pace.idle(ms(100), true), pace.idle(ms(100), false)), (ms(150), ms(900)));
        assert!(!pace.look(ms(249), true) && pace.look(ms(250), true) && !pace.look(ms(1_249), false));
    }
}
