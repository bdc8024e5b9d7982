//! `lab down`: the supervisor is asked to take everything down; without one, the ledger says what to remove.

use std::time::Duration;

use lab_env::home::Home;
use lab_run::{Ask, Reply, ask};

use crate::args::Down;
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// Longest wait for a supervisor that has said it will.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes one lab, or all, down. A lab that is not up is fine.
pub async fn run(args: Down, settings: Settings) -> Result<Code, LabError> {
    let home = Home::new(&settings.home);
    let up = lab_env::status::status(&home).map_err(|e| LabError::failed("cannot see what is up", e))?;
    let names: Vec<String> = if args.all { up.into_iter().map(|lab| lab.name).collect() } else { vec![args.name] };
    let mut code = Code::Ok;
    for name in &names {
        if take_down(&home, &settings, name).await? != Code::Ok {
            code = Code::LeftRunning;
        }
    }
    if names.is_empty() {
        out::talk("nothing is up");
    }
    Ok(code)
}

async fn take_down(home: &Home, settings: &Settings, name: &str) -> Result<Code, LabError> {
    let held = held(home, name)?;
    let Some(pid) = held else { return sweep(home, name) };
    match ask(&settings.lab(name), &Ask::Down).await {
        Ok(Reply::Accepted) => {}
        Ok(other) => return Err(LabError::failed(format!("lab `{name}` will not go down"), format!("{other:?}"))),
        Err(error) => {
            return Err(LabError::failed(
                format!("lab `{name}` is held by process {pid}, which does not answer"),
                error,
            )
            .hint(format!("end process {pid}, then: lab down --name {name}")));
        }
    }
    let gone = async {
        while held_by(home, name, pid)? {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, gone).await {
        Ok(done) => done?,
        Err(_) => {
            let doing = format!("lab `{name}` did not come down within {PATIENCE:?}");
            return Err(LabError::failed(doing, format!("process {pid} still holds it")).hint("lab status"));
        }
    }
    sweep(home, name)
}

fn held(home: &Home, name: &str) -> Result<Option<u32>, LabError> {
    let up = lab_env::status::status(home).map_err(|e| LabError::failed("cannot see what is up", e))?;
    Ok(up.into_iter().find(|lab| lab.name == name).map(|lab| lab.supervisor_pid))
}

fn held_by(home: &Home, name: &str, pid: u32) -> Result<bool, LabError> {
    Ok(held(home, name)? == Some(pid))
}

/// Removes what a supervisor that is gone left behind; usually nothing.
fn sweep(home: &Home, name: &str) -> Result<Code, LabError> {
    let cleaned = lab_env::clean::clean(home).map_err(|e| LabError::failed("cannot remove what is left", e))?;
    let ours = cleaned.iter().find(|c| c.lab == name);
    let left = ours.map_or(&[][..], |c| &c.removal.left);
    for thing in left {
        out::talk(&format!("{thing} could not be removed"));
    }
    if left.is_empty() {
        out::talk(&format!("lab {name} is down"));
        return Ok(Code::Ok);
    }
    out::talk("remove it with: lab clean");
    Ok(Code::LeftRunning)
}
