//! SVG as text: shapes with a class each; what a class looks like, in light and in dark, is in the style sheet here.

use lab_core::words;

/// Colours and strokes by class. Plain rules, no variables: renderers outside browsers do not know those.
const STYLE: &str = include_str!("style.css");

/// A picture being drawn.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    head: String,
    body: String,
}

impl Svg {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, head: String::new(), body: String::new() }
    }

    /// Title and description, for those who cannot see it.
    pub fn describe(&mut self, title: &str, description: &str) {
        self.head = format!("<title>{}</title><desc>{}</desc>", escaped(title), escaped(description));
    }

    /// A filled rectangle.
    pub fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.add(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
            short(x),
            short(y),
            short(width),
            short(height)
        ));
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.add(format_args!(
            "<path class=\"{class}\" d=\"M{} {}L{} {}\"/>\n",
            short(x1),
            short(y1),
            short(x2),
            short(y2)
        ));
    }

    /// A path from its data; an empty one draws nothing.
    pub fn path(&mut self, class: &str, data: &Path) {
        if !data.0.is_empty() {
            self.add(format_args!("<path class=\"{class}\" d=\"{}\"/>\n", data.0));
        }
    }

    /// One line of text; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        self.add(format_args!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>\n",
            short(x),
            short(y),
            escaped(text)
        ));
    }

    /// The whole document.
    pub fn finish(self) -> String {
        let (width, height) = (short(self.width), short(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\">{}\n<style>\n{STYLE}</style>\n<rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n{}</svg>\n",
            self.head, self.body
        )
    }

    fn add(&mut self, shape: std::fmt::Arguments<'_>) {
        self.body.push_str(&shape.to_string());
    }
}

/// Data of a path.
#[derive(Debug, Default)]
pub struct Path(String);

impl Path {
    /// Lifts the pen and sets it down here.
    pub fn move_to(&mut self, x: f64, y: f64) {
        self.0.push_str(&format!("M{} {}", short(x), short(y)));
    }

    /// Draws to here.
    pub fn line_to(&mut self, x: f64, y: f64) {
        self.0.push_str(&format!("L{} {}", short(x), short(y)));
    }

    /// Back to where the pen was set down.
    pub fn close(&mut self) {
        self.0.push('z');
    }

    /// A circle.
    pub fn circle(&mut self, (x, y): (f64, f64), radius: f64) {
        let (r, d) = (short(radius), short(2.0 * radius));
        self.0.push_str(&format!("M{} {}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z", short(x - radius), short(y)));
    }

    /// A closed rectangle.
    pub fn cell(&mut self, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let (w, h) = (short(width), short(height));
        self.0.push_str(&format!("M{} {}h{w}v{h}h-{w}z", short(x), short(y)));
    }
}

/// A coordinate at a tenth of a pixel.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Text that came from outside cannot become markup.
fn escaped(text: &str) -> String {
    words::visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// At most so many characters, the last of them an ellipsis where something was cut.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}
