//! A run again: as sentences where there is no screen, on the live screen where there is one.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};

use super::bench::{Bench, stderr, stdout, until};

/// Nothing here takes a second; on a busy machine it may.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_replay_without_a_screen_tells_the_run() {
    let bench = Bench::new();
    let ran = bench.run(&["replay", "demo"]);
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let told = stdout(&ran);
    for part in ["load begins", "phase step begins", "run is complete"] {
        assert!(told.contains(part), "{told}");
    }
    let late = stdout(&bench.run(&["replay", "demo", "--at", "2:00"]));
    assert!(!late.is_empty() && told.ends_with(&late), "{late}");
    for (args, said) in [(["nope", "--speed=1"], "lab runs"), (["demo", "--speed=0"], "0.1 to 1000")] {
        let ran = bench.run(&[&["replay"], &args[..]].concat());
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(said), "{args:?} does not say `{said}`: {}", stderr(&ran));
    }
}

#[test]
fn a_replay_on_a_terminal_is_the_live_screen() {
    let bench = Bench::new();
    let mut terminal = Terminal::start(&bench, &["replay", "demo", "--speed", "100"]);
    terminal.shows("the screen", |screen| screen.alternate_screen() && screen.contents().contains("autoscale-users"));
    terminal.shows("the end of the run", |screen| screen.contents().contains("episode 3"));
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

/// The binary on a terminal.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn std::io::Write + Send>,
    written: Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Terminal {
    fn start(bench: &Bench, args: &[&str]) -> Self {
        let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).expect("a pty");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lab"));
        command.args(args);
        command.cwd(bench.path());
        command.env("TERM", "xterm-256color");
        command.env("LAB_HOME", bench.path().join("home"));
        command.env("LAB_RUNS", bench.path().join("runs"));
        let child = pty.slave.spawn_command(command).expect("the binary starts");
        let (mut out, keys) =
            (pty.master.try_clone_reader().expect("a reader"), pty.master.take_writer().expect("a writer"));
        let (tell, written) = sync_channel(1_024);
        // Ends when the terminal is closed on the other side, or nobody listens any more.
        std::thread::spawn(move || {
            let mut chunk = [0; 4_096];
            while let Ok(n @ 1..) = out.read(&mut chunk) {
                if tell.send(chunk[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys, written, parser: vt100::Parser::new(30, 100, 0) }
    }

    /// Waits until the terminal shows something.
    fn shows(&mut self, what: &str, is: impl Fn(&vt100::Screen) -> bool) {
        let began = Instant::now();
        while !is(self.parser.screen()) {
            let left = DEADLINE.saturating_sub(began.elapsed());
            match self.written.recv_timeout(left) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{what} is not shown:\n{}", self.parser.screen().contents())
                }
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("it reads");
    }

    /// Waits for its end, with the terminal given back.
    fn end(&mut self) -> u32 {
        let status = until(DEADLINE, || {
            self.written.try_iter().for_each(|bytes| self.parser.process(&bytes));
            self.child.try_wait().expect("it can be waited for")
        });
        let status = status.unwrap_or_else(|| panic!("it does not end:\n{}", self.parser.screen().contents()));
        self.shows("the old screen", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        status.exit_code()
    }
}

impl Drop for Terminal {
    /// A failed test leaves nothing behind either.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
        }
    }
}
