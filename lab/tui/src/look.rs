//! How things look: roles instead of colours, glyphs instead of characters. A theme changes styles only, never what stands in a cell.

use ratatui::style::{Color, Modifier, Style};

/// A set of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// Light text on a dark background.
    #[default]
    Dark,
    /// Dark text on a light background.
    Light,
    /// No colour: bold, dim and reverse only. What NO_COLOR calls for.
    Mono,
    /// Colours that people with any colour vision tell apart, on a dark background.
    Safe,
}

impl Theme {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dark, Self::Light, Self::Mono, Self::Safe];

    /// Its name in settings: `dark`, `light`, `mono`, `safe`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::Mono => "mono",
            Self::Safe => "safe",
        }
    }
}

/// What something on the screen is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text.
    Text,
    /// Labels, axes, what matters less.
    Dim,
    /// Names of lanes and panes, headings.
    Title,
    /// Rules of limits and targets.
    Limit,
    /// Offered load.
    Offered,
    /// What was answered well; ready replicas.
    Done,
    /// What was lost: failed, dropped, errors, dead replicas.
    Bad,
    /// What holds: a passed expectation.
    Good,
    /// What cannot be told yet, suspect things, warnings.
    Open,
    /// Desired replicas.
    Desired,
    /// Replicas that exist and are not ready.
    Created,
    /// A shade of the heat map: 0 (few) to 3 (most).
    Heat(u8),
    /// The median.
    Median,
    /// The 99th percentile.
    Tail,
    /// What the autoscaler saw.
    Seen,
    /// Backlog, in flight.
    Backlog,
    /// The other variant.
    Ghost,
    /// The column of the cursor.
    Cursor,
    /// The selected row.
    Selected,
    /// A key in hints.
    Key,
}

/// Theme and glyphs in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Its colours.
    pub theme: Theme,
    /// Only characters that every terminal has.
    pub ascii: bool,
}

/// The characters that pictures are made of. Each takes one column.
#[derive(Debug)]
pub struct Glyphs {
    /// Bars of height 0/8 to 8/8.
    pub bars: [char; 9],
    /// Shades from none to full.
    pub shades: [char; 5],
    /// Vertical rule.
    pub vertical: char,
    /// Horizontal rule.
    pub horizontal: char,
    /// A point of a line of numbers.
    pub point: char,
    /// A stretch of which nothing is known.
    pub gap: char,
    /// The other variant.
    pub ghost: char,
    /// Holds.
    pub pass: char,
    /// Does not hold.
    pub fail: char,
    /// Cannot be told.
    pub open: char,
    /// Leads to.
    pub arrow: &'static str,
    /// Selected row.
    pub selected: char,
    /// Text was cut.
    pub cut: char,
    /// The keys of the cursor.
    pub arrows: &'static str,
}

const UNICODE: Glyphs = Glyphs {
    bars: [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
    shades: [' ', '░', '▒', '▓', '█'],
    vertical: '│',
    horizontal: '─',
    point: '•',
    gap: '╱',
    ghost: '·',
    pass: '✓',
    fail: '✗',
    open: '?',
    arrow: "→",
    selected: '▸',
    cut: '…',
    arrows: "←→",
};

const ASCII: Glyphs = Glyphs {
    bars: [' ', '_', '_', '.', '-', '-', '=', '=', '#'],
    shades: [' ', '.', ':', '+', '#'],
    vertical: '|',
    horizontal: '-',
    point: 'o',
    gap: '/',
    ghost: '\'',
    pass: 'v',
    fail: 'x',
    open: '?',
    arrow: "->",
    selected: '>',
    cut: '~',
    arrows: "<>",
};

impl Look {
    /// The characters in use.
    pub fn glyphs(self) -> &'static Glyphs {
        if self.ascii { &ASCII } else { &UNICODE }
    }

    /// The style of a role.
    pub fn style(self, role: Role) -> Style {
        let style = match self.theme {
            Theme::Mono => return mono(role),
            Theme::Dark => indexed(dark(role)),
            Theme::Light => indexed(light(role)),
            Theme::Safe => indexed(safe(role)),
        };
        match role {
            Role::Title | Role::Key | Role::Bad => style.add_modifier(Modifier::BOLD),
            Role::Cursor | Role::Selected => style.add_modifier(Modifier::REVERSED),
            _ => style,
        }
    }
}

fn indexed(color: Option<u8>) -> Style {
    color.map_or_else(Style::new, |c| Style::new().fg(Color::Indexed(c)))
}

fn mono(role: Role) -> Style {
    let style = Style::new();
    match role {
        Role::Title | Role::Key | Role::Bad | Role::Tail | Role::Limit => style.add_modifier(Modifier::BOLD),
        Role::Dim | Role::Ghost | Role::Created | Role::Heat(0) => style.add_modifier(Modifier::DIM),
        Role::Cursor | Role::Selected => style.add_modifier(Modifier::REVERSED),
        _ => style,
    }
}

fn dark(role: Role) -> Option<u8> {
    Some(match role {
        Role::Text | Role::Cursor | Role::Selected => return None,
        Role::Dim => 244,
        Role::Title => 255,
        Role::Limit => 203,
        Role::Offered => 75,
        Role::Done => 78,
        Role::Bad => 203,
        Role::Good => 78,
        Role::Open => 221,
        Role::Desired => 141,
        Role::Created => 180,
        Role::Heat(level) => [24, 31, 38, 159][usize::from(level.min(3))],
        Role::Median => 255,
        Role::Tail => 221,
        Role::Seen => 116,
        Role::Backlog => 215,
        Role::Ghost => 240,
        Role::Key => 117,
    })
}

fn light(role: Role) -> Option<u8> {
    Some(match role {
        Role::Text | Role::Cursor | Role::Selected => return None,
        Role::Dim => 242,
        Role::Title => 16,
        Role::Limit => 160,
        Role::Offered => 25,
        Role::Done => 28,
        Role::Bad => 160,
        Role::Good => 28,
        Role::Open => 130,
        Role::Desired => 91,
        Role::Created => 94,
        Role::Heat(level) => [152, 74, 31, 18][usize::from(level.min(3))],
        Role::Median => 16,
        Role::Tail => 130,
        Role::Seen => 30,
        Role::Backlog => 166,
        Role::Ghost => 249,
        Role::Key => 25,
    })
}

/// After the palette of Okabe and Ito: blue against orange, never red against green.
fn safe(role: Role) -> Option<u8> {
    Some(match role {
        Role::Text | Role::Cursor | Role::Selected => return None,
        Role::Dim => 245,
        Role::Title => 255,
        Role::Limit => 208,
        Role::Offered => 74,
        Role::Done => 117,
        Role::Bad => 208,
        Role::Good => 117,
        Role::Open => 227,
        Role::Desired => 175,
        Role::Created => 180,
        Role::Heat(level) => [17, 25, 32, 117][usize::from(level.min(3))],
        Role::Median => 255,
        Role::Tail => 227,
        Role::Seen => 36,
        Role::Backlog => 214,
        Role::Ghost => 240,
        Role::Key => 117,
    })
}
