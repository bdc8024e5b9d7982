//! Ways out of the dashboard, each in a terminal of its own: what was there before is there after.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtyPair, PtySize, SlavePty, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

/// Nothing here takes a second; on a busy machine it may.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the terminal shows, and all that was ever written to it.
struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A process in a terminal.
struct Term {
    master: Box<dyn MasterPty + Send>,
    // Open, so that the terminal keeps its settings when the process is gone.
    slave: Option<Box<dyn SlavePty + Send>>,
    keys: Box<dyn Write + Send>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    reader: Option<JoinHandle<()>>,
    child: Box<dyn Child + Send + Sync>,
    before: String,
}

fn example() -> PathBuf {
    let tests = std::env::current_exe().expect("this test has a path");
    let path = tests.parent().and_then(|deps| deps.parent()).expect("a target folder").join("examples/exits");
    assert!(path.exists(), "examples are built by `cargo test -p lab-tui`; {} is not there", path.display());
    path
}

fn settings(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().expect("a terminal has settings"))
}

impl Term {
    fn start(command: CommandBuilder) -> Self {
        let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
        let PtyPair { master, slave } = native_pty_system().openpty(size).expect("a pty");
        let before = settings(&*master);
        let seen = Seen { parser: vt100::Parser::new(30, 100, 0), bytes: Vec::new() };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let mut out = master.try_clone_reader().expect("a reader");
        let into = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4_096];
            // Ends with an error when the last of the other side is closed.
            while let Ok(n @ 1..) = out.read(&mut chunk) {
                let mut seen = into.0.lock().expect("the test goes on");
                seen.parser.process(&chunk[..n]);
                seen.bytes.extend_from_slice(&chunk[..n]);
                into.1.notify_all();
            }
        });
        let keys = master.take_writer().expect("a writer");
        let child = slave.spawn_command(command).expect("it starts");
        Self { master, slave: Some(slave), keys, seen, reader: Some(reader), child, before }
    }

    fn dashboard(way: &str) -> Self {
        let mut command = CommandBuilder::new(example());
        command.arg(way);
        Self::start(command)
    }

    fn until(&self, what: &str, is: impl Fn(&vt100::Screen) -> bool) {
        let seen = self.seen.0.lock().expect("the reader goes on");
        let not_yet = |seen: &mut Seen| !is(seen.parser.screen());
        let (seen, waited) = self.seen.1.wait_timeout_while(seen, DEADLINE, not_yet).expect("the reader goes on");
        assert!(!waited.timed_out(), "{what}:\n{}", seen.parser.screen().contents());
    }

    fn until_drawn(&self) {
        self.until("the dashboard is drawn", |screen| {
            screen.alternate_screen() && screen.hide_cursor() && screen.contents().contains("autoscale-users")
        });
        assert_ne!(settings(&*self.master), self.before, "the terminal is taken over");
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("it reads");
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.process_id().and_then(|pid| Pid::from_raw(pid as i32)).expect("it runs");
        kill_process(pid, signal).expect("it runs");
    }

    fn assert_as_before(&self, when: &str) {
        assert_eq!(settings(&*self.master), self.before, "{when}");
        let seen = self.seen.0.lock().expect("the reader goes on");
        let screen = seen.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste(), "{when}");
    }

    /// Waits for its end: the code, and what stands on the terminal then.
    fn end(mut self) -> (u32, String) {
        let (tell, told) = mpsc::sync_channel(1);
        let mut killer = self.child.clone_killer();
        let mut child = self.child;
        let waiter = std::thread::spawn(move || tell.send(child.wait()));
        let status: ExitStatus =
            told.recv_timeout(DEADLINE).map(|status| status.expect("its parent")).unwrap_or_else(|_| {
                // It is asked for its end only because the test has failed.
                killer.kill().ok();
                panic!("it does not end:\n{}", self.seen.0.lock().expect("a screen").parser.screen().contents())
            });
        waiter.join().expect("it waited").expect("it was heard");
        let after = settings(&*self.master);
        drop(self.slave.take());
        self.reader.take().expect("it reads").join().expect("it read to the end");
        let seen = self.seen.0.lock().expect("the reader is done");
        let (screen, bytes) = (seen.parser.screen(), String::from_utf8_lossy(&seen.bytes));
        assert_eq!(after, self.before, "stty -g");
        assert!(bytes.contains("\u{1b}[?1049h"), "it never took the terminal over: {bytes}");
        assert!(!screen.alternate_screen(), "the alternate screen is left");
        assert!(!screen.hide_cursor(), "the cursor is visible");
        assert!(!screen.bracketed_paste() && !bytes.ends_with("\u{1b}[?1004h"), "nothing stays switched on");
        assert!(bytes.contains("\u{1b}[22;2t") && bytes.contains("\u{1b}[23;2t"), "the title is the old one");
        assert!(bytes.rfind("]9;4;0;0") > bytes.rfind("]9;4;1"), "no progress stays");
        (status.exit_code(), screen.contents())
    }
}

#[test]
fn by_its_key() {
    let mut term = Term::dashboard("quit");
    term.until_drawn();
    term.press("q");
    assert_eq!(term.end(), (0, String::new()));
}

#[test]
fn by_an_error() {
    let (code, screen) = Term::dashboard("error").end();
    assert_eq!((code, screen.as_str()), (3, "the dashboard lost the run"));
}

#[test]
fn by_a_panic_of_its_own() {
    let (code, screen) = Term::dashboard("panic").end();
    assert_eq!(code, 101);
    assert!(screen.contains("the dashboard's own thread gives up"), "{screen}");
}

#[test]
fn by_a_panic_elsewhere() {
    let (code, screen) = Term::dashboard("panic-elsewhere").end();
    assert_eq!(code, 102);
    assert!(screen.contains("another thread gives up"), "{screen}");
}

#[test]
fn by_signals() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let term = Term::dashboard("stay");
        term.until_drawn();
        let asked = Instant::now();
        term.signal(signal);
        assert_eq!(term.end(), (code, String::new()), "{signal:?}");
        assert!(asked.elapsed() < Duration::from_secs(10), "it leaves at once");
    }
}

#[test]
fn by_a_stop_and_back() {
    stopped_and_back(|term| term.press("\u{1a}"));
}

#[test]
fn by_a_stop_from_outside_and_back() {
    stopped_and_back(|term| {
        let leader = term.master.process_group_leader().and_then(Pid::from_raw).expect("it has the terminal");
        kill_process(leader, Signal::TSTP).expect("it runs");
    });
}

#[test]
fn a_stop_that_nobody_would_end_is_none() {
    let mut term = Term::dashboard("quit");
    term.until_drawn();
    term.signal(Signal::TSTP);
    term.press("q");
    assert_eq!(term.end(), (0, String::new()));
}

#[test]
fn a_signal_ends_the_process_again_when_the_terminal_is_given_back() {
    let mut term = Term::dashboard("linger");
    term.until_drawn();
    term.press("q");
    term.until("it is left", |screen| screen.contents().contains("left") && !screen.alternate_screen());
    term.press("\u{3}");
    let (code, screen) = term.end();
    assert!(code != 0 && !screen.contains("on its own"), "{code}: {screen}");
}

/// A stop of the dashboard that a shell has started, and its return.
fn stopped_and_back(stop: impl FnOnce(&mut Term)) {
    let mut shell = CommandBuilder::new("sh");
    let script = r#"set -m; "$0" attached; echo "stopped with $?"; read line; fg >/dev/null; echo "ended with $?""#;
    shell.args(["-c", script]);
    shell.arg(example());
    let mut term = Term::start(shell);
    term.until_drawn();
    stop(&mut term);
    term.until("the shell goes on", |screen| {
        screen.contents().contains("stopped with 147") && !screen.alternate_screen()
    });
    term.assert_as_before("while it is stopped");
    term.press("\n");
    term.until_drawn();
    // Not what was sent before the stop: everything is drawn anew.
    term.until("the footer is back", |screen| screen.rows(0, 100).nth(29).is_some_and(|row| !row.trim().is_empty()));
    term.press("qq");
    let (code, screen) = term.end();
    assert_eq!(code, 0);
    assert!(screen.contains("ended with 0"), "{screen}");
}

#[test]
fn with_a_child_in_between() {
    let mut term = Term::dashboard("quit");
    term.until_drawn();
    term.press("o");
    term.until("the child has it", |screen| {
        screen.contents().contains("the child has it") && !screen.alternate_screen()
    });
    term.assert_as_before("while the child has it");
    term.press("\n");
    term.until_drawn();
    term.press("q");
    let (code, screen) = term.end();
    assert_eq!((code, screen.trim_end()), (0, "the child has it"));
}
