//! A frame as a picture. Bars, shades, rules and points are shapes, not letters, and every stretch of text says where it begins and
//! how long it is: with any font, everything stands in its column.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

use super::palette::{Rgb, rgb};
use super::{Shown, row, text};
use crate::look::{Look, Theme};

/// Width of a cell.
const WIDE: f64 = 9.0;
/// Height of a cell.
const HIGH: f64 = 18.0;
/// From the top of a cell to the line that letters stand on.
const BASE: f64 = 14.0;
/// Around the cells.
const EDGE: f64 = 9.0;

/// Background and ordinary text of a theme; one without colours is for paper.
fn ground(look: Look) -> (Rgb, Rgb) {
    match look.theme {
        Theme::Dark | Theme::Safe => ((16, 20, 24), (208, 212, 216)),
        Theme::Light | Theme::Mono => ((255, 255, 255), (32, 36, 40)),
    }
}

/// The frame as one SVG document.
pub fn svg(buf: &Buffer, look: Look) -> String {
    let (width, height) =
        (2.0 * EDGE + f64::from(buf.area.width) * WIDE, 2.0 * EDGE + f64::from(buf.area.height) * HIGH);
    let ground = ground(look);
    let mut out = Writer { out: String::new(), ground };
    out.put(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<title>lab, {} by {} cells</title>\n<desc>{}</desc>\n",
        buf.area.width,
        buf.area.height,
        escaped(&summary(buf))
    ));
    out.put(&format!("<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>\n", hex(ground.0)));
    out.put("<g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"15\">\n");
    for (line, y) in (0u16..).zip(buf.area.top()..buf.area.bottom()) {
        out.row(buf, y, EDGE + f64::from(line) * HIGH);
    }
    out.put("</g>\n</svg>\n");
    out.out
}

/// The first and the last row that hold anything: which run, how far, where it comes from.
fn summary(buf: &Buffer) -> String {
    let text = text(buf);
    let mut rows = text.lines().map(str::trim).filter(|row| !row.is_empty());
    let first = rows.next().unwrap_or_default();
    rows.next_back().map_or_else(|| first.to_owned(), |last| format!("{first} — {last}"))
}

/// Cells of one style that follow one another and are drawn as one.
#[derive(Debug, Clone)]
struct Stretch {
    column: u16,
    width: u16,
    style: Style,
    text: String,
    /// Each of its characters is this shape.
    shape: Option<char>,
}

impl Stretch {
    fn takes(&self, cell: &Shown<'_>, shape: Option<char>) -> bool {
        self.style == cell.style && self.shape == shape && self.column + self.width == cell.column
    }
}

/// The stretches of a row: of one shape, or of words that stand one blank apart.
fn stretches(buf: &Buffer, y: u16) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    for cell in row(buf, y) {
        let shape = cell.symbol.chars().next().filter(|c| cell.symbol.len() == c.len_utf8() && is_shape(*c));
        let after_blank = all.last().is_some_and(|s| s.text.ends_with(' '));
        match all.last_mut() {
            Some(last) if last.takes(&cell, shape) && !(cell.symbol == " " && after_blank) => {
                last.width += cell.width;
                last.text.push_str(cell.symbol);
            }
            _ => all.push(Stretch {
                column: cell.column,
                width: cell.width,
                style: cell.style,
                text: cell.symbol.to_owned(),
                shape,
            }),
        }
    }
    all
}

fn is_shape(c: char) -> bool {
    matches!(c, '▁'..='█' | '░'..='▓' | '│' | '─' | '•' | '·' | '╱')
}

struct Writer {
    out: String,
    ground: (Rgb, Rgb),
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn row(&mut self, buf: &Buffer, y: u16, top: f64) {
        let stretches = stretches(buf, y);
        self.grounds(&stretches, top);
        for stretch in &stretches {
            match stretch.shape {
                Some(shape) => self.shape(shape, stretch, top),
                None => self.text(stretch, top),
            }
        }
    }

    /// The backgrounds, those that touch and are equal as one.
    fn grounds(&mut self, stretches: &[Stretch], top: f64) {
        let mut begin = 0;
        while let Some(first) = stretches.get(begin) {
            let ground = self.colours(first.style).0;
            let same = stretches[begin..].iter().take_while(|s| self.colours(s.style).0 == ground);
            let (count, width) = same.fold((0, 0.0), |(count, width), s| (count + 1, width + place(s).1));
            if let Some(ground) = ground {
                self.rect(place(first).0, top, width, HIGH, &format!("fill=\"{}\"", hex(ground)));
            }
            begin += count;
        }
    }

    /// Background, where it is not that of the whole, and foreground of a style.
    fn colours(&self, style: Style) -> (Option<Rgb>, Rgb) {
        let colour = |color: Option<Color>| color.and_then(rgb);
        let (ground, text) = (colour(style.bg), colour(style.fg).unwrap_or(self.ground.1));
        if style.add_modifier.contains(Modifier::REVERSED) {
            (Some(text), ground.unwrap_or(self.ground.0))
        } else {
            (ground, text)
        }
    }

    /// The attributes of what is drawn in a style.
    fn paint(&self, style: Style, share: f64) -> String {
        let share = if style.add_modifier.contains(Modifier::DIM) { share * 0.6 } else { share };
        let opacity = if share < 1.0 { format!(" fill-opacity=\"{}\"", number(share)) } else { String::new() };
        format!("fill=\"{}\"{opacity}", hex(self.colours(style).1))
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, paint: &str) {
        let [x, y, width, height] = [x, y, width, height].map(number);
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            self.out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {paint} shape-rendering=\"crispEdges\"/>"
        );
    }

    fn shape(&mut self, shape: char, stretch: &Stretch, top: f64) {
        let (x, width) = place(stretch);
        let full = self.paint(stretch.style, 1.0);
        let middle = top + HIGH / 2.0;
        match shape {
            '▁'..='█' => {
                let eighths = f64::from(u32::from(shape) - u32::from('▁') + 1);
                let height = HIGH * eighths / 8.0;
                self.rect(x, top + HIGH - height, width, height, &full);
            }
            '░'..='▓' => {
                let share = f64::from(u32::from(shape) - u32::from('░') + 1) / 4.0;
                let paint = self.paint(stretch.style, share);
                self.rect(x, top, width, HIGH, &paint);
            }
            '─' => self.rect(x, middle - 0.5, width, 1.0, &full),
            other => {
                for cell in 0..stretch.width {
                    self.sign(other, x + f64::from(cell) * WIDE, top, &full);
                }
            }
        }
    }

    /// A shape that does not run on into its neighbour.
    fn sign(&mut self, sign: char, x: f64, top: f64, paint: &str) {
        let (across, middle) = (x + WIDE / 2.0, top + HIGH / 2.0);
        match sign {
            '│' => self.rect(across - 0.5, top, 1.0, HIGH, paint),
            '╱' => {
                let [left, right, up, down] = [x, x + WIDE, top, top + HIGH].map(number);
                let stroke = paint.replace("fill", "stroke");
                let _infallible = writeln!(self.out, "<path d=\"M{left} {down}L{right} {up}\" {stroke}/>");
            }
            _ => {
                let radius = if sign == '•' { 3.0 } else { 1.5 };
                let [across, middle, radius] = [across, middle, radius].map(number);
                let _infallible =
                    writeln!(self.out, "<circle cx=\"{across}\" cy=\"{middle}\" r=\"{radius}\" {paint}/>");
            }
        }
    }

    fn text(&mut self, stretch: &Stretch, top: f64) {
        // Blanks at the ends would be dropped by the viewer, but not their share of the length.
        let text = stretch.text.trim_matches(' ');
        if text.is_empty() {
            return;
        }
        let before = (stretch.text.len() - stretch.text.trim_start_matches(' ').len()) as f64 * WIDE;
        let blanks = (stretch.text.len() - text.len()) as f64 * WIDE;
        let (x, width) = place(stretch);
        let mut paint = self.paint(stretch.style, 1.0);
        for (modifier, attribute) in [
            (Modifier::BOLD, " font-weight=\"bold\""),
            (Modifier::ITALIC, " font-style=\"italic\""),
            (Modifier::UNDERLINED, " text-decoration=\"underline\""),
        ] {
            if stretch.style.add_modifier.contains(modifier) {
                paint.push_str(attribute);
            }
        }
        let _infallible = writeln!(
            self.out,
            "<text x=\"{}\" y=\"{}\" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\" {paint}>{}</text>",
            number(x + before),
            number(top + BASE),
            number(width - blanks),
            escaped(text)
        );
    }
}

/// Left edge and width of a stretch.
fn place(stretch: &Stretch) -> (f64, f64) {
    (EDGE + f64::from(stretch.column) * WIDE, f64::from(stretch.width) * WIDE)
}

/// At most two decimals, none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn hex((r, g, b): Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::odd;
    use super::*;

    #[test]
    fn shapes_are_drawn_and_text_stands_where_its_cells_are() {
        let mut buf = odd();
        buf.set_string(1, 2, " a b  c", Style::new());
        let svg = svg(&buf, Look::default());
        for part in [
            "viewBox=\"0 0 90 72\"",
            "<text x=\"9\" y=\"23\" textLength=\"72\" lengthAdjust=\"spacingAndGlyphs\" fill=\"#ff5f5f\" font-weight=\"bold\">日本 &lt;&amp;&gt;</text>",
            "<text x=\"27\" y=\"59\" textLength=\"27\" lengthAdjust=\"spacingAndGlyphs\" fill=\"#d0d4d8\">a b</text>",
            "<text x=\"72\" y=\"59\" textLength=\"9\" lengthAdjust=\"spacingAndGlyphs\" fill=\"#d0d4d8\">c</text>",
            "<rect x=\"45\" y=\"36\" width=\"9\" height=\"9\" fill=\"#010203\"",
            "<rect x=\"54\" y=\"27\" width=\"9\" height=\"18\" fill=\"#010203\"",
            "<rect x=\"9\" y=\"27\" width=\"18\" height=\"18\" fill=\"#d0d4d8\"",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(!svg.contains('\u{1b}') && !svg.contains(">▄"), "{svg}");
    }
}
