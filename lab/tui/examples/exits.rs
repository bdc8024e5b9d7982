//! A dashboard that comes to its end in the way its argument says; `tests/exits.rs` looks at the terminal it leaves behind.

use std::ops::ControlFlow;
use std::process::{Command, ExitCode};

use lab_core::event::Event;
use lab_core::fixture::Scenario;
use lab_tui::app::Source;
use lab_tui::dashboard::{Dashboard, Left, Settings};
use lab_tui::outside::{Outside, Said, Steer, Still};
use lab_tui::pane::Logs;
use lab_tui::terminal::Marks;
use lab_tui::timeline::{History, HistoryError, MemoryHistory, Place, Timeline};

/// Goes wrong when it is asked for the second time, so that a frame was drawn before.
struct World {
    way: String,
    asked: u32,
}

impl Outside for World {
    fn steerable(&self) -> bool {
        false
    }

    fn steer(&mut self, _: Steer) {}

    fn keep(&mut self, _: Still) {}

    fn poll(&mut self) -> Vec<Said> {
        self.asked += 1;
        match (self.asked, self.way.as_str()) {
            (2, "panic") => panic!("the dashboard's own thread gives up"),
            (2, "panic-elsewhere") => {
                std::thread::spawn(|| panic!("another thread gives up"));
            }
            _ => {}
        }
        Vec::new()
    }

    fn logs(&mut self, _: &mut Logs) -> bool {
        false
    }

    fn report(&mut self) -> Result<(), String> {
        let pager = Command::new("sh").args(["-c", "echo the child has it; read line"]).status();
        pager.map(drop).map_err(|error| error.to_string())
    }
}

/// Cannot be read on after its first events.
struct Failing(MemoryHistory);

impl History for Failing {
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError> {
        match from.events {
            0 => self.0.read(from, each),
            n => Err(HistoryError(format!("line {n} is torn").into())),
        }
    }
}

fn main() -> ExitCode {
    let way = std::env::args().nth(1).unwrap_or_default();
    let mut events = Scenario::matrix(3, 1).events();
    // A run that is over ends without a question.
    let left = if way == "quit" || way == "linger" { events.len() } else { events.len() / 2 };
    events.truncate(left);
    let history = MemoryHistory::new(events);
    let history: Box<dyn History> = if way == "error" { Box::new(Failing(history)) } else { Box::new(history) };
    // What a process conducts itself does not stop with it by a key.
    let source = if way == "attached" { Source::Attached("lab".to_owned()) } else { Source::Conducted };
    let settings =
        Settings { source, marks: Marks { title: true, progress: true, mouse: true }, ..Settings::default() };
    let lingers = way == "linger";
    let outside = Box::new(World { way, asked: 0 });
    let dashboard = Dashboard { timeline: Timeline::new(history), outside, settings };
    let left = std::thread::spawn(|| dashboard.run()).join();
    if lingers {
        println!("left");
        if std::io::stdin().read_line(&mut String::new()).is_ok() {
            println!("on its own");
        }
    }
    match left {
        Ok(Ok(Left::Signal(signal))) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        Ok(Ok(Left::Panicked)) => ExitCode::from(102),
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::from(3)
        }
        Err(_) => ExitCode::from(101),
    }
}
