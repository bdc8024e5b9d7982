//! How many connections each replica may have, so that all of them together leave a server some.

use lab_core::spec::{Server, Spec, Workload};

use crate::Finding;

/// Connections of one replica where nothing forbids them: what the services take without a flag.
const USUAL: u32 = 10;
/// Connections that are left to others: administrators, probes, replicas that end while others begin.
const SPARE: u32 = 10;

/// Connections to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Of one replica.
    pub(crate) each: u32,
    /// Most replicas at once that have them.
    pub(crate) replicas: u32,
}

impl Share {
    /// The share of each replica in a server that takes so many connections.
    pub(crate) fn of(server: Server, spec: &Spec, most: Option<u32>) -> Self {
        let replicas = replicas(server, spec);
        let room = most.map_or(u32::MAX, |most| most.saturating_sub(SPARE));
        Self { each: (room / replicas.max(1)).clamp(1, USUAL), replicas }
    }
}

/// Most replicas at once of the workloads that use this store.
fn replicas(server: Server, spec: &Spec) -> u32 {
    let user = spec.services.user_service.as_ref().filter(|user| Server::of_store(user.store) == Some(server));
    let message = spec.services.message_service.as_ref();
    let message = message.filter(|message| Server::of_store(message.store) == Some(server));
    let names = user.map(|_| "user-service").into_iter().chain(message.map(|_| "message-service"));
    names.filter_map(|name| spec.services.workload(name)).map(most).sum()
}

fn most(workload: &Workload) -> u32 {
    workload.autoscale.as_ref().map_or(workload.replicas, |autoscale| autoscale.max.max(workload.replicas))
}

/// What to say of a store that has less room than replicas would like; None when it has enough.
pub(crate) fn crowded(server: Server, spec: &Spec, most: Option<u32>) -> Option<Finding> {
    let (share, most) = (Share::of(server, spec, most), most?);
    let wanted = u64::from(USUAL) * u64::from(share.replicas);
    let room = most.saturating_sub(SPARE);
    if wanted <= u64::from(room) {
        return None;
    }
    let fatal = u64::from(share.each) * u64::from(share.replicas) > u64::from(room);
    let problem = format!(
        "{server} takes {most} connections, of which {SPARE} are left to others; {} replicas with {USUAL} each would want {wanted}",
        share.replicas
    );
    let remedy = if fatal {
        "raise the server's limit, or lower `autoscale.max`".to_owned()
    } else {
        format!("each replica gets {}; for more, raise the server's limit or lower `autoscale.max`", share.each)
    };
    Some(Finding { problem, remedy, fatal })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(max: u32) -> Spec {
        let text = format!(
            "question: q\nservices:\n  user-service: {{ store: postgres, autoscale: {{ min: 1, max: {max}, metrics: [ {{ cpu: 50% }} ] }}, \
             resources: {{ cpu: 250m }} }}\n  message-service: {{ store: postgres, queue: sqlite, replicas: 2 }}\n"
        );
        lab_core::spec::parse("t.yaml", &text, &[], &|_| Err(String::new())).unwrap().spec
    }

    #[test]
    fn replicas_share_what_the_server_has() {
        let share = |max, most| Share::of(Server::Postgres, &spec(max), most);
        assert_eq!(share(6, Some(100)), Share { each: 10, replicas: 8 });
        assert_eq!(share(18, Some(100)), Share { each: 4, replicas: 20 });
        assert_eq!(share(18, None).each, 10);
        assert_eq!(Share::of(Server::Mysql, &spec(6), Some(1)).replicas, 0);
    }

    #[test]
    fn a_crowd_is_named_with_its_numbers() {
        assert_eq!(crowded(Server::Postgres, &spec(6), Some(100)), None);
        let found = crowded(Server::Postgres, &spec(18), Some(100)).unwrap();
        assert!(!found.fatal && found.problem.contains("100") && found.problem.contains("200"), "{found:?}");
        assert!(found.remedy.starts_with("each replica gets 4;"), "{found:?}");
        assert!(crowded(Server::Postgres, &spec(18), Some(25)).unwrap().fatal);
    }
}
