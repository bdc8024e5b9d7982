//! Where things are: the shared time axis, a lane's rectangle, scales, and labels beside lines that do not cover one another.

use lab_core::unit::{RunTime, Span};

use super::WIDTH;
use super::svg::{Path, Svg};

/// Space left of the plot, for lane names and ticks.
pub const LEFT: f64 = 118.0;
/// Space right of it, for the names of lines.
pub const RIGHT: f64 = 138.0;
/// Most columns: finer than that the eye does not see.
const MOST_COLUMNS: usize = 365;
/// Between two labels.
const LABEL_HEIGHT: f64 = 13.0;

/// The time axis.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// Load begins.
    pub from: RunTime,
    /// The last answer, or the last phase's end.
    pub to: RunTime,
}

impl Time {
    /// Where an instant is; outside the axis at its ends.
    pub fn x(&self, at: RunTime) -> f64 {
        let share = at.since(self.from).as_secs_f64() / self.to.since(self.from).as_secs_f64();
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// True for an instant on the axis.
    pub fn shows(&self, at: RunTime) -> bool {
        self.from <= at && at <= self.to
    }

    /// Columns of one second, or as many as can be told apart.
    pub fn columns(&self) -> usize {
        (self.to.since(self.from).as_secs_f64().ceil() as usize).clamp(1, MOST_COLUMNS)
    }

    /// Left edge of a column; of `columns()`, the right end.
    pub fn column_x(&self, column: usize) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * column as f64 / self.columns() as f64
    }

    /// Vertical lines at the ticks.
    pub fn grid(&self, svg: &mut Svg, y: f64, height: f64) {
        for (at, _) in self.ticks() {
            svg.line("grid", (self.x(at), y), (self.x(at), y + height));
        }
    }

    /// Tick labels, seconds since load began.
    pub fn axis(&self, svg: &mut Svg, y: f64) {
        for (at, label) in self.ticks() {
            svg.text(self.x(at), y + 16.0, "tick", "middle", &label);
        }
        svg.text(WIDTH - RIGHT + 22.0, y + 16.0, "muted", "start", "since load began");
    }

    fn ticks(&self) -> Vec<(RunTime, String)> {
        const STEPS: [u64; 11] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800];
        let length = self.to.since(self.from).as_secs_f64();
        let step = STEPS.into_iter().find(|s| length / *s as f64 <= 12.0).unwrap_or(3600);
        let last = (length / step as f64) as u64;
        let label = |s: u64| if length < 120.0 { format!("{s} s") } else { format!("{}:{:02}", s / 60, s % 60) };
        (0..=last).map(|n| (self.from.plus(Span::from_secs(n * step)), label(n * step))).collect()
    }
}

/// One lane's rectangle.
#[derive(Debug, Clone, Copy)]
pub struct Plot<'a> {
    /// The time axis.
    pub time: &'a Time,
    /// Its upper edge.
    pub y: f64,
    /// Its height.
    pub height: f64,
}

impl Plot<'_> {
    /// The frame and the lane's name.
    pub fn frame(&self, svg: &mut Svg, title: &str) {
        svg.rect("frame", (LEFT, self.y), (WIDTH - LEFT - RIGHT, self.height));
        for (line, word) in title.lines().enumerate() {
            svg.text(12.0, self.y + 12.0 + 14.0 * line as f64, "lane", "start", word);
        }
    }

    /// The lower edge.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// A tick of the vertical scale.
    pub fn tick(&self, svg: &mut Svg, y: f64, label: &str) {
        svg.text(LEFT - 6.0, (y + 4.0).clamp(self.y + 9.0, self.bottom()), "tick", "end", label);
    }

    /// A horizontal line.
    pub fn rule(&self, svg: &mut Svg, class: &str, y: f64) {
        svg.line(class, (LEFT, y), (WIDTH - RIGHT, y));
    }

    /// Names beside their lines, moved apart where they would cover one another.
    pub fn labels(&self, svg: &mut Svg, mut labels: Vec<Label>) {
        labels.sort_by(|a, b| a.y.total_cmp(&b.y));
        let mut next = self.y + 5.0;
        let count = labels.len();
        for (index, label) in labels.iter_mut().enumerate() {
            let room = LABEL_HEIGHT * (count - 1 - index) as f64;
            label.y = label.y.max(next).min((self.bottom() - room).max(next));
            next = label.y + LABEL_HEIGHT;
        }
        for label in labels {
            svg.text(WIDTH - RIGHT + 8.0, label.y + 4.0, label.class, "start", &label.text);
        }
    }

    /// Marks columns without data.
    pub fn gaps<T>(&self, svg: &mut Svg, columns: &[Option<T>]) {
        let mut path = Path::default();
        for (index, _) in columns.iter().enumerate().filter(|(_, column)| column.is_none()) {
            let x = self.time.column_x(index);
            path.cell((x, self.y), (self.time.column_x(index + 1) - x, self.height));
        }
        svg.path("gap-back", &path);
    }

    /// A line through the middles of columns; it breaks where there is no value.
    pub fn line(&self, columns: &[Option<f64>]) -> Path {
        let mut path = Path::default();
        let mut drawing = false;
        for (index, y) in columns.iter().enumerate() {
            let x = (self.time.column_x(index) + self.time.column_x(index + 1)) / 2.0;
            match y {
                Some(y) if drawing => path.line_to(x, *y),
                Some(y) => path.move_to(x, *y),
                None => {}
            }
            drawing = y.is_some();
        }
        path
    }

    /// Steps through readings that hold until the next one, to the right end or `until`.
    pub fn steps(&self, readings: &[(RunTime, f64)], until: RunTime) -> Path {
        let mut path = Path::default();
        let mut last: Option<f64> = None;
        for (at, y) in readings {
            let x = self.time.x(*at);
            match last {
                Some(before) => path.line_to(x, before),
                None => path.move_to(x, *y),
            }
            path.line_to(x, *y);
            last = Some(*y);
        }
        if let Some(y) = last {
            path.line_to(self.time.x(until), y);
        }
        path
    }
}

/// A name beside a line.
#[derive(Debug, Clone)]
pub struct Label {
    /// Where the line ends.
    pub y: f64,
    /// Its class.
    pub class: &'static str,
    /// The name, with the newest value.
    pub text: String,
}

/// A round number not below `value`: 1, 2, 2.5 or 5 times a power of ten.
pub fn round_up(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|round| *round >= value * 0.999_999).unwrap_or(10.0 * power)
}
