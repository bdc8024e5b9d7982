//! The facts as Markdown, by the template. Whatever the template prints is escaped, unless a filter here made it.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, Output, State};

use crate::escape;
use crate::facts::Facts;

const TEMPLATE: &str = include_str!("../templates/report.md.j2");

pub(crate) fn render(facts: &Facts) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(print);
    environment.add_filter("inline", |text: String| Value::from_safe_string(escape::inline(&text)));
    environment.add_filter("code", |text: String| Value::from_safe_string(escape::code(&text)));
    environment
        .add_filter("block", |text: String, language: String| Value::from_safe_string(escape::block(&language, &text)));
    environment.add_function("mark", |verdict: String| {
        Value::from_safe_string(match verdict.as_str() {
            "pass" => "✓ pass".to_owned(),
            "fail" => "**✗ FAIL**".to_owned(),
            other => format!("**? {other}**"),
        })
    });
    environment.add_template("report.md", TEMPLATE)?;
    let text = environment.get_template("report.md")?.render(facts)?;
    Ok(tidy(&text))
}

fn print(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = value.to_string();
    let text = if value.is_safe() || value.is_number() { text } else { escape::inline(&text) };
    out.write_str(&text).map_err(Error::from)
}

/// At most one empty line in a row, none at the ends, no blanks at line ends; blocks of code are left alone.
fn tidy(text: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        match fence {
            Some(open) if line == open => fence = None,
            None if ticks.len() >= 3 => fence = Some(ticks),
            _ => {}
        }
        let line = if fence.is_some() { line } else { line.trim_end() };
        if fence.is_none() && line.is_empty() && out.last().is_none_or(|l| l.is_empty()) {
            continue;
        }
        out.push(line);
    }
    out.join("\n").trim_end().to_owned() + "\n"
}
