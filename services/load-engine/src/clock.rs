//! The one clock of the engine, and waiting for it with nanosecond precision. No wall clock, no runtime timers.

use std::io;
use std::time::Duration;

use mio::{Events, Poll};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A wait is cut short by this much at most and the rest is spun away, because waking a thread takes about as long.
const MOST_MARGIN_NS: u64 = 50_000;
/// The margin grows nine times as fast as it shrinks, so it settles where nine of ten wake-ups come in time.
const SHRINK_NS: u64 = 100;
const GROW_NS: u64 = 900;
/// At most this part of a wait is spun: a bound on the CPU that punctuality costs, whatever the rate.
const SPIN_SHARE: u64 = 8;
/// Longest sleep, so that a lost wake-up is never for ever.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

fn nanoseconds(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Nanoseconds of the monotonic clock: the time base of `start_at_ns` and `now_ns` of the control API.
pub fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time that this process has used, nanoseconds.
pub(crate) fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// What a wait is for: only a send is worth spinning for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The intended time of a request.
    Send(u64),
    /// Housekeeping.
    Chore(u64),
    /// Nothing but a message or an answer.
    Event,
}

/// Waits for sockets or for a time on the monotonic clock.
pub(crate) struct Waiter {
    alarm: alarm::Alarm,
    /// How early the alarm is set: follows how late wake-ups have come.
    margin_ns: u64,
    spin: bool,
    /// The time that is waited for, and when the alarm for it goes off.
    due_ns: u64,
    alarm_ns: u64,
}

impl Waiter {
    /// `spin` only where another core is left for the rest of the machine.
    pub(crate) fn new(poll: &Poll, spin: bool) -> io::Result<Self> {
        Ok(Self { alarm: alarm::Alarm::new(poll)?, margin_ns: 0, spin, due_ns: 0, alarm_ns: 0 })
    }

    /// Fills `events`; returns at the first event or close before the time. The result is by how many nanoseconds the wait
    /// overslept its time: a stall that the machine caused.
    pub(crate) fn wait(&mut self, poll: &mut Poll, events: &mut Events, until: Until) -> io::Result<u64> {
        let (due, most) = match until {
            Until::Event => return poll_once(poll, events, Some(LONGEST_SLEEP)).map(|()| 0),
            Until::Send(due) if self.spin => (due, self.margin_ns),
            Until::Send(due) | Until::Chore(due) => (due, 0),
        };
        let now = now_ns();
        // An answer may come before the time: the alarm then stays as it was set.
        if self.due_ns != due {
            self.due_ns = due;
            self.alarm_ns = due - most.min(due.saturating_sub(now) / SPIN_SHARE);
        }
        if now >= self.alarm_ns {
            poll_once(poll, events, Some(Duration::ZERO))?;
            return Ok(0);
        }
        self.alarm.sleep(poll, events, now, self.alarm_ns)?;
        let woken = now_ns();
        if woken >= self.alarm_ns {
            self.learn(woken - self.alarm_ns);
        }
        Ok(woken.saturating_sub(due))
    }

    fn learn(&mut self, late_ns: u64) {
        self.margin_ns = if late_ns > self.margin_ns {
            (self.margin_ns + GROW_NS).min(MOST_MARGIN_NS)
        } else {
            self.margin_ns.saturating_sub(SHRINK_NS)
        };
    }
}

fn poll_once(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
    match poll.poll(events, timeout) {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}

#[cfg(target_os = "linux")]
mod alarm {
    //! A timerfd in the poll set: `epoll_wait` itself knows only milliseconds.

    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    use crate::worker::ALARM;

    pub(super) struct Alarm {
        timer: OwnedFd,
        set_to: u64,
    }

    impl Alarm {
        pub(super) fn new(poll: &Poll) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), Token(ALARM), Interest::READABLE)?;
            Ok(Self { timer, set_to: 0 })
        }

        pub(super) fn sleep(&mut self, poll: &mut Poll, events: &mut Events, _now: u64, at: u64) -> io::Result<()> {
            // A timer that is still running for the same time need not be set again: an answer came before it.
            if self.set_to != at {
                let at_spec = Timespec {
                    tv_sec: i64::try_from(at / 1_000_000_000).unwrap_or(i64::MAX),
                    tv_nsec: (at % 1_000_000_000) as _,
                };
                let spec = Itimerspec { it_interval: Timespec::default(), it_value: at_spec };
                timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
                self.set_to = at;
            }
            super::poll_once(poll, events, Some(super::LONGEST_SLEEP))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod alarm {
    //! Without timerfd the poll's own timeout is used; it may be a millisecond late, and the send lag shows it.

    use std::io;
    use std::time::Duration;

    use mio::{Events, Poll};

    pub(super) struct Alarm;

    impl Alarm {
        pub(super) fn new(_poll: &Poll) -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) fn sleep(&mut self, poll: &mut Poll, events: &mut Events, now: u64, at: u64) -> io::Result<()> {
            let left = Duration::from_nanos(at.saturating_sub(now));
            super::poll_once(poll, events, Some(left.min(super::LONGEST_SLEEP)))
        }
    }
}
