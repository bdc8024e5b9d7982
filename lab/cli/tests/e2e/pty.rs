//! The binary on a terminal, as under a user's shell: keys in, what is seen out. The shell stays after it, so that what is left behind
//! on the terminal is seen as the user would.

use std::io::{Read as _, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtyPair, PtySize, SlavePty, native_pty_system};

use super::bench::{Bench, signal, until};

/// Nothing that is waited for takes ten seconds; on a busy machine it may.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Rows and columns.
const SIZE: (u16, u16) = (30, 100);
/// Tells its pid and becomes the binary; the shell around it tells how that ended, and stays until a line is typed.
const SHELL: &str = r#"trap : INT
sh -c 'echo $$ >"$TTY_PID"; exec "$0" "$@"' "$0" "$@"
echo "[exit code $?]"
read -r line"#;

pub const LEFT: &str = "\u{1b}[D";
pub const END: &str = "\u{1b}[F";
pub const ENTER: &str = "\r";

/// The binary on a terminal of its own.
pub struct Terminal<'b> {
    bench: &'b Bench,
    master: Box<dyn MasterPty + Send>,
    // Open, so that the terminal is there as long as it is looked at.
    _slave: Box<dyn SlavePty + Send>,
    shell: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    written: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    bytes: Vec<u8>,
    settings: String,
    pid_file: tempfile::TempPath,
}

/// How the binary has left the terminal.
pub struct Ended {
    pub code: u32,
    /// What stands on the terminal.
    pub screen: String,
    /// All that was ever written to it.
    pub bytes: String,
}

impl<'b> Terminal<'b> {
    pub fn start(bench: &'b Bench, args: &[&str]) -> Self {
        Self::start_with(bench, args, &[])
    }

    /// Starts it with more in its environment; an empty value takes a variable away.
    pub fn start_with(bench: &'b Bench, args: &[&str], env: &[(&str, &str)]) -> Self {
        let (rows, cols) = SIZE;
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let PtyPair { master, slave } = native_pty_system().openpty(size).expect("a pty");
        let settings = settings(&*master);
        let pid_file = tempfile::NamedTempFile::new_in(bench.path()).expect("a file").into_temp_path();
        let mut command = environment(bench, env);
        command.env("TTY_PID", &*pid_file);
        command.args(["-c", SHELL, env!("CARGO_BIN_EXE_lab")]);
        command.args(args);
        let shell = slave.spawn_command(command).expect("a shell");
        let (mut out, keys) = (master.try_clone_reader().expect("a reader"), master.take_writer().expect("a writer"));
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
        let parser = vt100::Parser::new(rows, cols, 0);
        Self { bench, master, _slave: slave, shell, keys, written, parser, bytes: Vec::new(), settings, pid_file }
    }

    /// Waits until the screen is so, and returns its text. A frame that is still being written is not looked at, as on a terminal
    /// that knows of synchronized updates.
    pub fn until(&mut self, what: &str, is: impl Fn(&vt100::Screen) -> bool) -> String {
        let began = Instant::now();
        while !self.whole() || !is(self.parser.screen()) {
            let left = DEADLINE.saturating_sub(began.elapsed());
            match self.written.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{what} is not shown:\n{}", self.parser.screen().contents())
                }
            }
        }
        self.parser.screen().contents()
    }

    /// Waits until the screen shows a text.
    pub fn shows(&mut self, text: &str) -> String {
        self.until(&format!("`{text}`"), |screen| screen.contents().contains(text))
    }

    /// Waits until the screen no longer shows a text.
    pub fn hides(&mut self, text: &str) -> String {
        self.until(&format!("anything but `{text}`"), |screen| !screen.contents().contains(text))
    }

    /// Waits until the dashboard has the terminal and its first row shows a mode.
    pub fn is_in(&mut self, mode: &str) -> String {
        let shown = self.until(mode, |screen| {
            let header = screen.rows(0, SIZE.1).next().unwrap_or_default();
            screen.alternate_screen() && screen.hide_cursor() && header.contains(mode)
        });
        assert_ne!(settings(&*self.master), self.settings, "the terminal is not taken over");
        shown
    }

    /// Waits until load has run for so many seconds, and returns the screen.
    pub fn has_loaded_for(&mut self, seconds: u32) -> String {
        self.until("load", |screen| {
            let header = screen.rows(0, SIZE.1).next().unwrap_or_default();
            let time = header.split_once("t+").and_then(|(_, rest)| rest.get(..4)?.split_once(':'));
            let passed = time.and_then(|(m, s)| Some(m.parse::<u32>().ok()? * 60 + s.parse::<u32>().ok()?));
            passed.is_some_and(|passed| passed >= seconds)
        })
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("it reads");
    }

    pub fn signal(&self, number: i32) {
        let pid = std::fs::read_to_string(&self.pid_file).expect("it told its pid");
        signal(pid.trim().parse().expect("a pid"), number);
    }

    /// Waits until it has given the terminal back; what it says there comes after the screen that was before.
    pub fn is_given_back(&mut self) {
        self.until("the old screen", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        let cooked = until(DEADLINE, || (settings(&*self.master) == self.settings).then_some(()));
        assert!(cooked.is_some(), "the terminal is not as before: {}", settings(&*self.master));
        assert!(!self.parser.screen().bracketed_paste(), "pasted text is still marked");
    }

    /// Waits for the end, with the terminal as it was before.
    pub fn end(mut self) -> Ended {
        self.until("the end", |screen| !screen.alternate_screen() && screen.contents().contains("[exit code "));
        self.is_given_back();
        let screen = self.parser.screen().contents();
        let code = screen.rsplit("[exit code ").next().and_then(|rest| rest.split(']').next()?.parse().ok());
        let code = code.unwrap_or_else(|| panic!("no exit code: {screen}"));
        self.press(ENTER);
        let gone = until(DEADLINE, || self.shell.try_wait().expect("it can be waited for"));
        assert!(gone.is_some(), "the shell does not read from its terminal");
        Ended { code, screen, bytes: String::from_utf8_lossy(&self.bytes).into_owned() }
    }

    /// As [`Self::end`], and nothing of the bench may run on.
    pub fn end_of_all(self) -> Ended {
        let bench = self.bench;
        let ended = self.end();
        let gone = until(DEADLINE, || bench.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "still there: {:?}", bench.processes());
        ended
    }

    /// False between the begin and the end of a synchronized update.
    fn whole(&self) -> bool {
        let last = |mark: &[u8]| self.bytes.windows(mark.len()).rposition(|window| window == mark);
        last(b"\x1b[?2026h") <= last(b"\x1b[?2026l")
    }

    fn take(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
        self.bytes.extend_from_slice(bytes);
    }
}

impl Drop for Terminal<'_> {
    /// A failed test leaves nothing behind either: what runs under the shell is found by the bench.
    fn drop(&mut self) {
        if matches!(self.shell.try_wait(), Ok(None)) {
            drop(self.shell.kill());
            drop(self.shell.wait());
        }
    }
}

/// A shell that knows of the bench, of its terminal and of nothing else.
fn environment(bench: &Bench, env: &[(&str, &str)]) -> CommandBuilder {
    let mut command = CommandBuilder::new("sh");
    command.env_clear();
    command.cwd(bench.path());
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env("PATH", path);
    for (name, folder) in [
        ("HOME", "user"),
        ("XDG_CONFIG_HOME", "user/config"),
        ("XDG_STATE_HOME", "user/state"),
        ("LAB_HOME", "home"),
        ("LAB_RUNS", "runs"),
    ] {
        command.env(name, bench.path().join(folder));
    }
    for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8")].iter().chain(env) {
        match *value {
            "" => command.env_remove(name),
            value => command.env(name, value),
        }
    }
    command
}

fn settings(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().expect("a terminal has settings"))
}
