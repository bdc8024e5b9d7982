//! `lab down`: whoever holds the lab is asked to take everything down; without anybody, the ledger says what to remove.

use std::time::Duration;

use lab_env::clean::clean_one;
use lab_env::home::{Home, LabDir};
use lab_env::lease::{self, Holder, Role};
use lab_run::{Ask, Reply, ask};
use rustix::process::Signal;

use crate::args::Down;
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// Longest wait for a holder to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes one lab, or all, down. A lab that is not up is fine. One that fails does not keep the others up.
pub async fn run(args: Down, settings: Settings) -> Result<Code, LabError> {
    let home = Home::new(&settings.home);
    let mut labs = home.labs().map_err(|e| LabError::failed("cannot see what is up", e))?;
    labs.retain(|lab| if args.all { lease::holder(lab).is_some() } else { lab.name() == args.name });
    if labs.is_empty() {
        out::talk(&if args.all { "nothing is up".to_owned() } else { format!("lab {} is not up", args.name) });
    }
    let mut code = Code::Ok;
    let mut failed = None;
    for lab in &labs {
        match take_down(&home, lab).await {
            Ok(Code::Ok) => {}
            Ok(worse) => code = worse,
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    out::error(&earlier);
                }
            }
        }
    }
    failed.map_or(Ok(code), Err)
}

async fn take_down(home: &Home, lab: &LabDir) -> Result<Code, LabError> {
    if let Some(holder) = lease::holder(lab).filter(|holder| holder.role == Role::Lab) {
        end(lab, &holder).await?;
    }
    let gone = async {
        while lease::holder(lab).is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, gone).await.is_err() {
        let doing = format!("lab `{}` did not come down within {PATIENCE:?}", lab.name());
        return Err(LabError::failed(doing, "its holder is still there").hint("see who: lab status"));
    }
    let cleaned = clean_one(home, lab).map_err(|e| LabError::failed("cannot remove what is left", e))?;
    let left = cleaned.map_or_else(Vec::new, |cleaned| cleaned.removal.left);
    for thing in &left {
        out::talk(&format!("{thing} could not be removed; try: lab clean"));
    }
    if left.is_empty() {
        out::talk(&format!("lab {} is down", lab.name()));
        return Ok(Code::Ok);
    }
    Ok(Code::LeftRunning)
}

/// Whoever holds it is asked; who does not listen, yet or any more, is told as by Ctrl-C.
async fn end(lab: &LabDir, holder: &Holder) -> Result<(), LabError> {
    match ask(lab.path(), &Ask::Down).await {
        Ok(Reply::Accepted) => Ok(()),
        Ok(other) => Err(LabError::failed(format!("lab `{}` will not go down", lab.name()), format!("{other:?}"))),
        Err(_) => {
            let told = holder.process.signal(Signal::TERM);
            told.map(drop).map_err(|e| LabError::failed(format!("cannot stop process {}", holder.process.pid), e))
        }
    }
}
