//! Answers recorded cases from standard input, one a line: `cargo run -p lab-hpa --example replay < cases.jsonl`.

use std::error::Error;
use std::io::{self, BufRead, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        writeln!(out, "{}", lab_hpa::replay_line(&line?)?)?;
    }
    Ok(())
}
