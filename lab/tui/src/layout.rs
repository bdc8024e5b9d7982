//! Where everything stands.
//!
//! ```text
//! header    run, trial, where, how far, mode
//! verdict   pass, fail, cannot tell, each expectation
//! age       how old each source of data is                     (not on small screens)
//! lanes     label │ plot on the shared axis          │ value
//! ticks           │ time since load                  │ column
//! episode   the critical path of the scaling
//! why       the autoscaler's own sentence
//! panel     replicas, events, logs or waterfall                (where there is room, or on demand)
//! footer    keys that work now
//! ```

use ratatui::layout::Rect;

use crate::lane::{ALL, Place};
use crate::scene::Side;

/// How large a screen is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Below 60×15: one line.
    Line,
    /// From 60×15.
    Small,
    /// From 100×30.
    Normal,
    /// From 160×45.
    Full,
}

impl Tier {
    /// The tier of a screen.
    pub fn of(area: Rect) -> Self {
        let at_least = |width, height| area.width >= width && area.height >= height;
        match () {
            () if at_least(160, 45) => Self::Full,
            () if at_least(100, 30) => Self::Normal,
            () if at_least(60, 15) => Self::Small,
            () => Self::Line,
        }
    }
}

/// Names of lanes in the order in which they go when there is no room.
const FIRST_TO_GO: [&str; 7] = ["generator", "autoscaler", "errors", "backlog", "replicas", "load", "events"];
/// Names of lanes in the order in which they grow.
const FIRST_TO_GROW: [&str; 7] = ["latency", "replicas", "autoscaler", "load", "backlog", "generator", "errors"];
/// Fewest rows of a panel that was asked for.
const PANEL: u16 = 5;

/// Everything's place. A row that has none is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Run, trial, mode.
    pub header: Rect,
    /// Verdicts.
    pub verdict: Rect,
    /// Ages of data.
    pub age: Rect,
    /// Lanes by their index in [`ALL`].
    pub lanes: Vec<(usize, Place)>,
    /// Labels of the axis.
    pub ticks: Place,
    /// The episode.
    pub episode: Rect,
    /// The autoscaler's reason.
    pub why: Rect,
    /// The panel.
    pub panel: Rect,
    /// Keys.
    pub footer: Rect,
    /// Names of the lanes for which there was no room.
    pub dropped: Vec<&'static str>,
}

/// Columns left and right of the plots.
fn gutters(width: u16) -> (u16, u16) {
    match width {
        100.. => (15, 12),
        80.. => (14, 11),
        _ => (11, 9),
    }
}

/// Columns of every plot on a screen of this width.
pub fn plot_width(width: u16) -> u16 {
    let (left, right) = gutters(width);
    width.saturating_sub(left + right + 2)
}

impl Layout {
    /// Divides a screen of at least [`Tier::Small`]. `asked` tells that the user wants a panel.
    pub fn of(area: Rect, side: &Side<'_>, asked: bool) -> Self {
        let tier = Tier::of(area);
        let age = u16::from(tier > Tier::Small);
        let fixed = 6 + age;
        let room = area.height.saturating_sub(fixed);
        let lanes: Vec<usize> = (0..ALL.len()).filter(|i| ALL[*i].rows(tier).1 > 0 && ALL[*i].applies(side)).collect();
        let panel = if asked { (room / 2).max(PANEL).min(room) } else { 0 };
        let (heights, dropped) = heights(&lanes, tier, room - panel);
        let used: u16 = heights.iter().map(|(_, h)| h).sum();
        let panel = if asked || tier == Tier::Full { room - used } else { 0 };
        let mut cut = Cut { area, y: area.top() };
        let (header, verdict, age) = (cut.rows(1), cut.rows(1), cut.rows(age));
        let lanes = heights.iter().map(|(lane, height)| (*lane, place(cut.rows(*height)))).collect();
        let ticks = place(cut.rows(1));
        let (episode, why, panel) = (cut.rows(1), cut.rows(1), cut.rows(panel));
        let footer = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
        Self { header, verdict, age, lanes, ticks, episode, why, panel, footer, dropped }
    }
}

impl Layout {
    /// Where the plots are: from the first lane to the labels of the axis.
    pub fn plots(&self) -> Rect {
        let ticks = self.ticks.plot;
        let top = self.lanes.first().map_or(ticks.y, |(_, place)| place.plot.y);
        Rect { y: top, height: ticks.bottom().saturating_sub(top), ..ticks }
    }
}

/// Rows of each lane that stays, and the names of those that go.
fn heights(lanes: &[usize], tier: Tier, room: u16) -> (Vec<(usize, u16)>, Vec<&'static str>) {
    let rows = |lane: usize| ALL[lane].rows(tier);
    let mut heights: Vec<(usize, u16)> = lanes.iter().map(|lane| (*lane, rows(*lane).0.max(1))).collect();
    let mut dropped = Vec::new();
    let sum = |heights: &[(usize, u16)]| heights.iter().map(|(_, h)| h).sum::<u16>();
    for name in FIRST_TO_GO {
        if sum(&heights) > room
            && let Some(at) = heights.iter().position(|(lane, _)| ALL[*lane].name() == name)
        {
            heights.remove(at);
            dropped.push(name);
        }
    }
    for (_, height) in &mut heights {
        *height = (*height).min(room);
    }
    let mut spare = room.saturating_sub(sum(&heights));
    while spare > 0 {
        let before = spare;
        for name in FIRST_TO_GROW {
            let grows = heights.iter_mut().find(|(lane, h)| ALL[*lane].name() == name && *h < rows(*lane).1);
            if let (Some((_, height)), 1..) = (grows, spare) {
                *height += 1;
                spare -= 1;
            }
        }
        if spare == before {
            break;
        }
    }
    (heights, dropped)
}

/// Takes rows from the top.
struct Cut {
    area: Rect,
    y: u16,
}

impl Cut {
    fn rows(&mut self, height: u16) -> Rect {
        let height = height.min(self.area.bottom().saturating_sub(1).saturating_sub(self.y));
        let rect = Rect { y: self.y, height, ..self.area };
        self.y += height;
        rect
    }
}

/// Splits the rows of a lane; the rules stand between its parts.
pub(crate) fn place(area: Rect) -> Place {
    let (left, right) = gutters(area.width);
    let plot = area.width.saturating_sub(left + right + 2);
    Place {
        label: Rect { width: left.min(area.width), ..area },
        plot: Rect { x: area.x + left + 1, width: plot, ..area },
        value: Rect { x: area.x + left + plot + 2, width: right, ..area },
    }
}
