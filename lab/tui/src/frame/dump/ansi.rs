//! A frame with the escape codes that colour it on a terminal; the cursor is not moved.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Style};

use super::{MODIFIERS, row};

const RESET: &str = "\u{1b}[0m";

/// The characters with their styles, a line a row. Each line ends as it began, without a style, so that lines can be cut and joined.
/// Blanks at the end of rows are left out unless they are seen.
pub fn ansi(buf: &Buffer) -> String {
    let mut out = String::new();
    for y in buf.area.top()..buf.area.bottom() {
        line(buf, y, &mut out);
        out.push('\n');
    }
    out
}

fn line(buf: &Buffer, y: u16, out: &mut String) {
    let mut now = String::new();
    let mut blanks = 0;
    for cell in row(buf, y) {
        let codes = codes(cell.style);
        let seen = cell.symbol != " " || codes.iter().any(|c| *c == "7" || *c == "4" || c.starts_with("48;"));
        if !seen {
            blanks += 1;
            continue;
        }
        if blanks > 0 {
            restyle(&mut now, String::new(), out);
            out.extend(std::iter::repeat_n(' ', blanks));
            blanks = 0;
        }
        restyle(&mut now, codes.join(";"), out);
        out.push_str(cell.symbol);
    }
    restyle(&mut now, String::new(), out);
}

/// Changes from one style to another, by their codes.
fn restyle(now: &mut String, next: String, out: &mut String) {
    if *now == next {
        return;
    }
    if !now.is_empty() {
        out.push_str(RESET);
    }
    if !next.is_empty() {
        out.push_str(&format!("\u{1b}[{next}m"));
    }
    *now = next;
}

/// Select Graphic Rendition: parameters of ECMA-48, colours as xterm has them.
fn codes(style: Style) -> Vec<String> {
    let set = MODIFIERS.iter().filter(|(modifier, ..)| style.add_modifier.contains(*modifier));
    let mut codes: Vec<String> = set.map(|(.., code)| code.to_string()).collect();
    codes.extend(style.fg.and_then(|color| code(color, 38)));
    codes.extend(style.bg.and_then(|color| code(color, 48)));
    codes
}

fn code(color: Color, plane: u8) -> Option<String> {
    match color {
        Color::Reset => None,
        Color::Rgb(r, g, b) => Some(format!("{plane};2;{r};{g};{b}")),
        other => super::palette::index(other).map(|index| format!("{plane};5;{index}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::odd;
    use super::*;

    #[test]
    fn lines_carry_their_styles_and_end_without() {
        let lines = "\u{1b}[1;38;5;203m日本\u{1b}[0m \u{1b}[1;38;5;203m<&>\u{1b}[0m\n\
                     \u{1b}[7m  \u{1b}[0m  \u{1b}[38;2;1;2;3;48;5;16m▄█\u{1b}[0m\n\n";
        assert_eq!(ansi(&odd()), lines);
    }
}
