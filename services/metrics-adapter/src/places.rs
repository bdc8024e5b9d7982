//! Where a service's replicas are, looked up anew without end: the names' addresses, one for each replica. A look-up that fails changes
//! nothing, since a name server that is away moves no replica; addresses at which nobody answers any more age out of the window.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kit::Lifecycle;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::sleep;

/// The addresses found last.
pub(crate) type Places = watch::Receiver<Arc<[SocketAddr]>>;

/// Looks `hosts` up until the service ends. One look-up at a time: it holds a thread for as long as the system's resolver waits.
pub(crate) fn find(hosts: &[String], period: Duration, life: &Lifecycle) -> Places {
    let (sender, places) = watch::channel::<Arc<[SocketAddr]>>(Arc::from([]));
    let mut names: Vec<Name> = hosts.iter().map(|host| Name::new(host)).collect();
    let life = life.clone();
    tokio::spawn(async move {
        let looking = async {
            loop {
                for name in &mut names {
                    name.look_up().await;
                }
                publish(&sender, names.iter().flat_map(|name| name.found.iter().copied()).collect());
                sleep(period).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = life.ending() => {}
        }
    });
    places
}

fn publish(sender: &watch::Sender<Arc<[SocketAddr]>>, mut found: Vec<SocketAddr>) {
    found.sort_unstable();
    found.dedup();
    sender.send_if_modified(|now| {
        let moved = **now != *found;
        if moved {
            *now = found.into();
        }
        moved
    });
}

/// A host with its port, and what was found under it last.
#[derive(Debug)]
struct Name {
    host: String,
    found: Vec<SocketAddr>,
    /// None before the first look-up.
    answered: Option<bool>,
}

impl Name {
    fn new(host: &str) -> Self {
        Self { host: host.to_owned(), found: Vec::new(), answered: None }
    }

    async fn look_up(&mut self) {
        let host = self.host.as_str();
        match lookup_host(host).await {
            Ok(found) => {
                let found: Vec<_> = found.collect();
                if self.answered != Some(true) {
                    tracing::info!(host, replicas = found.len(), "replicas found");
                }
                (self.found, self.answered) = (found, Some(true));
            }
            Err(error) => {
                if self.answered != Some(false) {
                    tracing::warn!(host, %error, "no replicas can be found; looking again");
                }
                self.answered = Some(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_looked_up_keeps_its_last_address() {
        let mut name = Name::new("127.0.0.1:81");
        name.look_up().await;
        assert_eq!(name.found, [SocketAddr::from(([127, 0, 0, 1], 81))]);
        name.host = "not an address".to_owned();
        name.look_up().await;
        assert_eq!((name.found.len(), name.answered), (1, Some(false)));
    }

    #[tokio::test]
    async fn names_are_gathered_once_each() {
        let hosts = ["127.0.0.1:82", "127.0.0.1:81", "127.0.0.1:81"].map(str::to_owned);
        let mut places = find(&hosts, Duration::from_millis(5), &Lifecycle::default());
        let found = places.wait_for(|places| !places.is_empty());
        let found = tokio::time::timeout(Duration::from_secs(10), found).await.expect("in time").expect("a finder");
        assert_eq!(**found, [81, 82].map(|port| SocketAddr::from(([127, 0, 0, 1], port))));
    }
}
