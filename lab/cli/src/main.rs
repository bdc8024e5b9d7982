//! The binary `lab`: words in, exit code out. What a verb does is in its file under `cmd/`; everything below it lives in the libraries.

mod args;
mod broken;
mod catalogue;
mod cmd;
mod config;
mod console;
mod error;
mod follow;
mod instant;
mod logs;
mod out;
mod plain;
mod screen;
mod settings;
mod signals;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return out::clap_error(&error),
    };
    match cmd::run(args) {
        Ok(code) => code.into(),
        Err(error) => {
            out::error(&error);
            error.code().into()
        }
    }
}
