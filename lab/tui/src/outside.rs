//! What the dashboard asks of the world outside, and what the world says to it. The binary implements it; nothing here does I/O.

use lab_core::unit::RunTime;

use crate::pane::Logs;

/// Something to be done to the run that is shown. Each becomes an event of the run.
#[derive(Debug, Clone, PartialEq)]
pub enum Steer {
    /// Offer this many requests a second instead of the phases' own rate.
    Rate(f64),
    /// Offer what the phases say again.
    RateOfPhases,
    /// Pause the load, or resume it.
    Pause(bool),
    /// End the phase now and begin the next.
    SkipPhase,
    /// Kill a replica without warning.
    Kill(String),
    /// Drain, report and end; for a lab that is up: take it down.
    Stop,
    /// A remark.
    Note(String),
}

/// A frame to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Still {
    /// The instant it shows.
    pub at: RunTime,
    /// Its size.
    pub size: (u16, u16),
    /// As text.
    pub text: String,
    /// With escape codes.
    pub ansi: String,
    /// As a picture.
    pub svg: String,
}

/// What came back from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A sentence for the last row: what was done, or why not.
    Message(String),
    /// The run is over and its report is written: the last words. The dashboard stays for the user to look, and leaves by itself
    /// when nobody touches a key for a while.
    Over(String),
    /// Leave now: the terminal is wanted back.
    Leave,
}

/// The world outside of the dashboard. No call may block for long: what takes time is begun here and answered through `poll`.
pub trait Outside: Send {
    /// True when the run can be steered: somebody conducts it and listens.
    fn steerable(&self) -> bool;

    /// Begins to do it.
    fn steer(&mut self, steer: Steer);

    /// Begins to keep a frame.
    fn keep(&mut self, still: Still);

    /// What has been said since the last call.
    fn poll(&mut self) -> Vec<Said>;

    /// Takes in new lines of logs; called only while they are looked at. True when there were any.
    fn logs(&mut self, into: &mut Logs) -> bool;

    /// Why there is no report to be shown, a sentence; None when there is one.
    fn no_report(&self) -> Option<String> {
        None
    }

    /// Shows the report in a pager on the terminal, which was handed back for it; returns when the user is done.
    ///
    /// # Errors
    /// A sentence: there is no report yet, or the pager cannot be started.
    fn report(&mut self) -> Result<(), String>;
}
