//! The world outside of the dashboard: the lab's socket for steering, the run's folder for stills, logs and the report. What takes
//! time is done on a thread of its own and answered through `poll`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use lab_core::control::LoadChange;
use lab_core::words;
use lab_run::{Ask, Reply, RunDir, ask};
use lab_tui::outside::{Outside, Said, Steer, Still};
use lab_tui::pane::Logs;

use crate::logs::LogReader;

/// Requests and answers that may wait.
const WAITING: usize = 64;
/// Longest wait for what was wished last, which itself waits for an answer of the lab.
const LAST_WISH: Duration = Duration::from_secs(4);

/// Why what has no folder has no report.
const NO_REPORT: &str = "this has no report";

/// What the worker does, one after the other.
enum Job {
    /// Ask the lab, and say so when it is done.
    Ask(Ask, String),
    /// Write a frame into the run's folder; the lab is told where it is steerable.
    Keep(Still),
}

/// A run's folder and, where somebody conducts it, its lab's folder.
pub struct Console {
    dir: Option<RunDir>,
    lab: Option<PathBuf>,
    /// None once no more wishes are taken.
    jobs: Option<SyncSender<Job>>,
    /// Closed when the last of them is done.
    done: Receiver<()>,
    said: Receiver<Said>,
    voice: SyncSender<Said>,
    /// Where to put what nobody heard.
    unheard: Option<SyncSender<String>>,
    logs: Option<LogReader>,
}

impl Console {
    /// A console on a run. `lab` is where its conductor listens; None: it is recorded. `dir` is None for what has no folder.
    pub fn new(dir: Option<RunDir>, lab: Option<PathBuf>) -> Self {
        let (voice, said) = sync_channel(WAITING);
        let (jobs, inbox) = sync_channel(WAITING);
        let worker = Worker { dir: dir.clone(), lab: lab.clone(), voice: voice.clone() };
        let (works, done) = sync_channel(0);
        // It ends when the console is dropped and its channel closes.
        std::thread::spawn(move || {
            worker.run(&inbox);
            drop(works);
        });
        let logs = dir.as_ref().map(|dir| LogReader::new(dir.path()));
        Self { dir, lab, jobs: Some(jobs), done, said, voice, unheard: None, logs }
    }

    /// What was said and not polled any more; complete once the console is dropped.
    pub fn unheard(&mut self) -> Receiver<String> {
        let (unheard, heard) = sync_channel(WAITING);
        self.unheard = Some(unheard);
        heard
    }

    /// Where others put what the dashboard must say.
    pub fn voice(&self) -> SyncSender<Said> {
        self.voice.clone()
    }

    fn begin(&self, job: Job) {
        if self.jobs.as_ref().is_none_or(|jobs| jobs.try_send(job).is_err()) {
            say(&self.voice, "too much is being done already; try again".to_owned());
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let done: Result<(), RecvTimeoutError> = self.done.recv_timeout(LAST_WISH);
        if let Err(RecvTimeoutError::Timeout) = done {
            tracing::debug!("what was wished last may not have come to pass");
        }
        for said in self.said.try_iter() {
            if let (Said::Message(text), Some(unheard)) = (said, &self.unheard)
                && unheard.try_send(text).is_err()
            {
                tracing::debug!("nobody wants to know any more");
            }
        }
    }
}

impl Outside for Console {
    fn steerable(&self) -> bool {
        // Looked up anew: a lab that comes up listens a little later than it is shown.
        self.lab.as_ref().is_some_and(|lab| lab_run::socket_path(lab).exists())
    }

    fn steer(&mut self, steer: Steer) {
        let (ask, done) = question(steer);
        self.begin(Job::Ask(ask, done));
    }

    fn keep(&mut self, still: Still) {
        self.begin(Job::Keep(still));
    }

    fn poll(&mut self) -> Vec<Said> {
        self.said.try_iter().collect()
    }

    fn logs(&mut self, into: &mut Logs) -> bool {
        self.logs.as_mut().is_some_and(|logs| logs.read(into))
    }

    fn no_report(&self) -> Option<String> {
        self.dir.as_ref().map_or_else(|| Some(NO_REPORT.to_owned()), |dir| no_report(&dir.path().join("report.md")))
    }

    fn report(&mut self) -> Result<(), String> {
        let dir = self.dir.as_ref().ok_or(NO_REPORT)?;
        page(&dir.path().join("report.md"))
    }
}

fn no_report(report: &Path) -> Option<String> {
    let shown = report.display();
    (!report.is_file()).then(|| format!("there is no report yet; it is written when the run ends: {shown}"))
}

/// Shows a report in the user's pager.
///
/// # Errors
/// A sentence: there is none, or the pager cannot be started.
pub fn page(report: &Path) -> Result<(), String> {
    if let Some(why) = no_report(report) {
        return Err(why);
    }
    let pager = std::env::var("PAGER").ok().filter(|p| !p.trim().is_empty()).unwrap_or_else(|| "less -R".to_owned());
    let mut words = pager.split_whitespace();
    let program = words.next().unwrap_or("less");
    let status = Command::new(program).args(words).arg(report).status();
    match status {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot start `{pager}` ({error}); set PAGER, or read {}", report.display())),
    }
}

/// What is asked of the lab, and the words once it is done.
fn question(steer: Steer) -> (Ask, String) {
    let load = |change: LoadChange| Ask::Load { change };
    match steer {
        Steer::Rate(rate) => (
            load(LoadChange { rate: Some(rate), ..LoadChange::default() }),
            format!("rate {} from now on", words::rate(rate)),
        ),
        Steer::RateOfPhases => (
            load(LoadChange { rate: Some(-1.0), ..LoadChange::default() }),
            "rate as in the phases from now on".to_owned(),
        ),
        Steer::Pause(pause) => (
            load(LoadChange { pause: Some(pause), ..LoadChange::default() }),
            if pause { "the load is paused" } else { "the load goes on" }.to_owned(),
        ),
        Steer::SkipPhase => (Ask::SkipPhase, "the phase is skipped".to_owned()),
        Steer::Kill(replica) => {
            let done = format!("{replica} is killed");
            (Ask::Kill { replica }, done)
        }
        Steer::Stop => {
            (Ask::Stop, "stopping: what is in flight is finished, then all is reported and removed".to_owned())
        }
        Steer::Note(text) => (Ask::Note { text }, "noted".to_owned()),
    }
}

fn say(voice: &SyncSender<Said>, text: String) {
    if voice.try_send(Said::Message(text)).is_err() {
        tracing::debug!("the dashboard is gone or says enough already");
    }
}

struct Worker {
    dir: Option<RunDir>,
    lab: Option<PathBuf>,
    voice: SyncSender<Said>,
}

impl Worker {
    fn run(&self, jobs: &Receiver<Job>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return say(&self.voice, format!("nothing can be steered: {error}")),
        };
        while let Ok(job) = jobs.recv() {
            let said = runtime.block_on(async {
                match job {
                    Job::Ask(question, done) => self.ask(&question).await.map(|()| done),
                    Job::Keep(still) => self.keep(&still).await,
                }
            });
            say(&self.voice, said.unwrap_or_else(|why| why));
        }
    }

    async fn ask(&self, question: &Ask) -> Result<(), String> {
        let lab = self.lab.as_ref().ok_or("nobody conducts this run any more")?;
        match ask(lab, question).await {
            Ok(Reply::Refused { why }) => Err(why),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("nobody answers for this run: {error}")),
        }
    }

    async fn keep(&self, still: &Still) -> Result<String, String> {
        let dir = self.dir.as_ref().ok_or("this run has no folder to keep a still in")?;
        let texts = [("txt", &still.text), ("ansi", &still.ansi), ("svg", &still.svg)];
        let (w, h) = still.size;
        let name = format!("{:.3}s-{w}x{h}", still.at.as_secs_f64());
        let files = dir.write_still(&name, &texts.map(|(end, text)| (end, text.as_str())));
        let files = files.map_err(|error| format!("the still cannot be kept: {error}"))?;
        let told = format!("still kept: {}", words::list(&files));
        if self.lab.is_some() {
            // The files are there, also when the run has just ended and cannot note them any more.
            self.ask(&Ask::Still { at: still.at, size: still.size, files }).await.unwrap_or_default();
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_was_wished_last_comes_to_pass_and_its_answer_is_kept() {
        let lab = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(lab_run::socket_path(lab.path())).expect("a socket");
        let (begin, begun) = sync_channel::<()>(0);
        let conductor = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a question");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a line");
            // It answers when the console is on its way out.
            begun.recv().expect("a word");
            stream.write_all(b"{\"reply\":\"accepted\"}\n").expect("a reader");
            line
        });
        let mut console = Console::new(None, Some(lab.path().to_owned()));
        let unheard = console.unheard();
        console.steer(Steer::Note("look".to_owned()));
        let leaving = std::thread::spawn(move || drop(console));
        begin.send(()).expect("a conductor");
        leaving.join().expect("gone");
        assert!(conductor.join().expect("a line").contains("look"));
        assert_eq!(unheard.try_iter().collect::<Vec<_>>(), ["noted"]);
    }
}
