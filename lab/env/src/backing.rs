//! Backing services as environments see them: where they are, what they say of themselves, how many connections each replica may have.
//! No driver and no protocol is known here: that is for the verb `__backing`, which runs as a child process.

mod address;
mod endpoints;
mod pool;
mod probe;
mod ready;
pub(crate) mod recipe;
mod secrets;

use lab_core::spec::{EnvironmentKind, Server, Spec};

use crate::{EnvError, Finding};

pub(crate) use address::Spot;
pub use endpoints::{BadEndpoint, Endpoints};
pub(crate) use pool::{Share, crowded};
pub use probe::Probed;
pub(crate) use probe::{Prober, disown_blocking};
pub(crate) use ready::{Addresses, Found, Places, Ready};
pub(crate) use secrets::{Owner, write_open, write_secret};

/// What keeps the servers that a spec needs from being used, without asking any.
pub(crate) fn check(spec: &Spec, endpoints: &Endpoints, kind: EnvironmentKind) -> Vec<Finding> {
    let needed = spec.servers();
    let missing = needed.iter().filter(|server| kind == EnvironmentKind::Local && endpoints.get(**server).is_none());
    let missing = missing.map(|server| Finding {
        problem: format!("{server} is a server of its own, which the environment `local` does not start"),
        remedy: format!("use `--env docker`, or name one that is there: --endpoint {server}=ADDRESS"),
        fatal: true,
    });
    let unreachable =
        needed.iter().filter(|server| kind == EnvironmentKind::Docker && is_out_of_reach(**server, endpoints));
    let elsewhere = needed.iter().filter(|server| {
        let spot = endpoints.get(**server).and_then(Spot::of);
        kind == EnvironmentKind::Kubernetes && spot.is_some_and(|spot| spot.is_loopback())
    });
    let elsewhere = elsewhere.map(|server| Finding {
        problem: format!("pods cannot reach {server} at a loopback address of this machine"),
        remedy: "name an address that the cluster's nodes reach".to_owned(),
        fatal: true,
    });
    let unreachable = unreachable.map(|server| Finding {
        problem: format!("containers cannot reach {server} at a loopback address, as it sends its clients to the listeners that it advertises"),
        remedy: "name a listener that containers reach, such as this machine's address on its network".to_owned(),
        fatal: true,
    });
    let unused = endpoints.servers().filter(|server| !needed.contains(server));
    let unused = unused.map(|server| Finding {
        problem: format!("no service uses the {server} that was given"),
        remedy: format!(
            "leave `--endpoint {server}` out, or set the `{}` of a service to {}",
            server.role().name(),
            server.engine()
        ),
        fatal: false,
    });
    missing.chain(unreachable).chain(elsewhere).chain(unused).collect()
}

/// A loopback address is passed on to containers, but not one of a server that names its own address, nor one of several.
fn is_out_of_reach(server: Server, endpoints: &Endpoints) -> bool {
    let spot = endpoints.get(server).and_then(Spot::of).filter(Spot::is_loopback);
    spot.is_some_and(|spot| server == Server::Kafka || spot.single(0).is_none())
}

/// Makes the backing services of a lab ready whose replicas are processes of this machine: embedded ones and those that were given.
///
/// # Errors
/// One does not answer, or nobody gave it.
pub(crate) async fn local(ready: &Ready, spec: &Spec, endpoints: &Endpoints) -> Result<Addresses, EnvError> {
    ready.prepare().await?;
    let ((), found) = tokio::try_join!(ready.embedded(spec), ready.given(spec, endpoints))?;
    ready.tell(spec, found).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_nobody_has_is_found_before_anything_is_made() {
        let text = "question: q\nservices:\n  user-service: { store: postgres }\n  \
                    message-service: { store: postgres, queue: kafka }\n";
        let spec = lab_core::spec::parse("t.yaml", text, &[], &|_| Err(String::new())).unwrap().spec;
        let none = Endpoints::default();
        let local = check(&spec, &none, EnvironmentKind::Local);
        assert_eq!(local.len(), 2);
        assert!(local.iter().all(|found| found.fatal && found.remedy.contains("--env docker")), "{local:?}");
        assert!(local[0].remedy.contains("--endpoint store.postgres="), "{local:?}");
        assert_eq!(check(&spec, &none, EnvironmentKind::Docker), []);
        let typed = ["store.postgres=postgres://localhost/x", "queue.kafka=localhost:9092", "cache.redis=h:1"];
        let given = Endpoints::read(&typed.map(ToString::to_string), |_| None).unwrap();
        let local = check(&spec, &given, EnvironmentKind::Local);
        assert!(matches!(local.as_slice(), [Finding { fatal: false, .. }]), "{local:?}");
        let docker = check(&spec, &given, EnvironmentKind::Docker);
        assert!(docker.len() == 2 && docker[0].fatal && docker[0].problem.contains("queue.kafka"), "{docker:?}");
        let kubernetes = check(&spec, &given, EnvironmentKind::Kubernetes);
        assert!(
            kubernetes.iter().filter(|found| found.fatal && found.problem.contains("loopback")).count() == 2,
            "{kubernetes:?}"
        );
    }
}
