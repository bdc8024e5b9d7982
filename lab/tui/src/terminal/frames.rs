//! What is written to a terminal goes out a frame at a time: in one write, between the marks that keep it from showing half of it.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use crossterm::queue;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};

/// A writer that holds back what is flushed during a frame. Clones are the same writer.
#[derive(Debug)]
pub struct Frames<W>(Rc<RefCell<Held<W>>>);

#[derive(Debug)]
struct Held<W> {
    out: W,
    bytes: Vec<u8>,
    depth: usize,
}

impl<W: Write> Held<W> {
    fn out(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let written = self.out.write_all(&self.bytes).and_then(|()| self.out.flush());
        self.bytes.clear();
        written
    }
}

impl<W> Clone for Frames<W> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<W: Write> Frames<W> {
    /// Frames for a writer.
    pub fn new(out: W) -> Self {
        Self(Rc::new(RefCell::new(Held { out, bytes: Vec::new(), depth: 0 })))
    }

    /// Begins a frame, which goes out when the guard is dropped, whatever the reason. A frame inside a frame is part of it.
    pub fn begin(&self) -> Synchronized<W> {
        let mut held = self.0.borrow_mut();
        held.depth += 1;
        if held.depth == 1 {
            // Queueing into memory cannot fail.
            let _infallible = queue!(held.bytes, BeginSynchronizedUpdate);
        }
        drop(held);
        Synchronized { frames: self.clone(), ended: false }
    }

    /// Does something with the writer behind.
    pub fn behind<R>(&self, with: impl FnOnce(&W) -> R) -> R {
        with(&self.0.borrow().out)
    }

    fn end(&self) -> io::Result<()> {
        let mut held = self.0.borrow_mut();
        held.depth = held.depth.saturating_sub(1);
        if held.depth > 0 {
            return Ok(());
        }
        // Queueing into memory cannot fail.
        let _infallible = queue!(held.bytes, EndSynchronizedUpdate);
        held.out()
    }
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut held = self.0.borrow_mut();
        if held.depth > 0 { Ok(()) } else { held.out() }
    }
}

/// A frame that is being written.
#[derive(Debug)]
pub struct Synchronized<W: Write> {
    frames: Frames<W>,
    ended: bool,
}

impl<W: Write> Synchronized<W> {
    /// Ends the frame.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> io::Result<()> {
        self.ended = true;
        self.frames.end()
    }
}

impl<W: Write> Drop for Synchronized<W> {
    fn drop(&mut self) {
        if !self.ended {
            // What led here is already an error; this one would hide it.
            self.frames.end().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::CrosstermBackend;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::{TerminalOptions, Viewport};

    use super::*;

    /// Keeps each write apart.
    #[derive(Debug, Default)]
    struct Writes(Vec<String>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_frame_is_one_write_between_its_marks() {
        let frames = Frames::new(Writes::default());
        let area = Rect::new(0, 0, 20, 4);
        let options = TerminalOptions { viewport: Viewport::Fixed(area) };
        let mut terminal = Terminal::with_options(CrosstermBackend::new(frames.clone()), options)
            .expect("a fixed viewport asks nobody");
        for text in ["one", "two"] {
            let mut buf = Buffer::empty(area);
            buf.set_string(0, 1, text, ratatui::style::Style::new().fg(ratatui::style::Color::Red));
            let frame = frames.begin();
            super::super::show(&mut terminal, &buf).expect("memory");
            frame.end().expect("memory");
        }
        frames.behind(|writes| {
            assert_eq!(writes.0.len(), 2, "{writes:?}");
            for (write, text) in writes.0.iter().zip(["one", "two"]) {
                assert!(write.starts_with("\u{1b}[?2026h") && write.ends_with("\u{1b}[?2026l"), "{write:?}");
                assert!(write.contains(text), "{write:?}");
            }
        });
    }

    #[test]
    fn a_frame_that_is_given_up_still_ends_and_one_inside_another_does_not() {
        let mut frames = Frames::new(Writes::default());
        let outer = frames.begin();
        drop(frames.begin());
        frames.write_all(b"x").and_then(|()| frames.flush()).expect("memory");
        frames.behind(|writes| assert!(writes.0.is_empty()));
        drop(outer);
        frames.behind(|writes| assert_eq!(writes.0, ["\u{1b}[?2026hx\u{1b}[?2026l"]));
        frames.write_all(b"y").and_then(|()| frames.flush()).expect("memory");
        frames.behind(|writes| assert_eq!(writes.0.last().map(String::as_str), Some("y")));
    }
}
