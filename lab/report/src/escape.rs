//! Text from outside made harmless for Markdown with HTML in it, and for what a reader's renderer does on its own: mentions, math,
//! tables. Everything a template prints goes through here unless it was made here.

use lab_core::words::visible;

/// Inline Markdown that shows the text as it is; one line.
pub(crate) fn inline(text: &str) -> String {
    let text = visible(text);
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '$' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    // What would begin a list or underline a heading at the start of a line.
    let digits = out.chars().take_while(char::is_ascii_digit).count();
    let mut rest = out[digits..].chars();
    let marker = rest.next();
    let alone = rest.next().is_none_or(|c| c == ' ' || Some(c) == marker);
    match marker.filter(|_| alone) {
        Some('.' | ')') if digits > 0 => out.insert(digits, '\\'),
        Some('-' | '+' | '=') if digits == 0 => out.insert(0, '\\'),
        _ => {}
    }
    out
}

/// A code span; safe in a table.
pub(crate) fn code(text: &str) -> String {
    let text = visible(text).replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    if text.is_empty() { String::new() } else { format!("{fence}{pad}{text}{pad}{fence}") }
}

/// A fenced block.
pub(crate) fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    let lines: Vec<String> = text.lines().map(visible).collect();
    format!("{fence}{language}\n{}\n{fence}", lines.join("\n"))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        let table = [
            ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
            ("a | b", "a \\| b"),
            ("[x](http://y)", "\\[x\\](http://y)"),
            ("![x](y)", "\\!\\[x\\](y)"),
            ("# head\n- item", "\\# head - item"),
            ("- item", "\\- item"),
            ("12. item", "12\\. item"),
            ("1.5 s", "1.5 s"),
            ("-0:03.2", "-0:03.2"),
            ("---", "\\---"),
            ("@team `rm` $x$", "&#64;team \\`rm\\` \\$x\\$"),
            ("\u{1b}[2Jx", "\\\\u{1b}\\[2Jx"),
        ];
        for (text, escaped) in table {
            assert_eq!(inline(text), escaped);
        }
        assert_eq!(code("a`b|c"), "``a`b\\|c``");
        assert_eq!(block("json", "```\nx"), "````json\n```\nx\n````");
    }
}
