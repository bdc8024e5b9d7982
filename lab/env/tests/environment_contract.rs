//! The contract of environments, over each environment that this machine has.

#![expect(clippy::unwrap_used, reason = "functions shared by tests are tests too")]

#[path = "contract/bench.rs"]
mod bench;
#[path = "contract/docker.rs"]
mod docker;
#[path = "contract/kubernetes.rs"]
mod kubernetes;
#[path = "contract/local.rs"]
mod local;
#[path = "contract/suite.rs"]
mod suite;

/// One test a promise and environment; a new environment is one more line at the end.
macro_rules! contract {
    ($environment:ident, $room:ident) => {
        mod $environment {
            contract!(@ $room deploys scales observes replaces_the_dead goes_down_twice_and_up_again
                names_what_is_not_there comes_up_after_a_crash);
        }
    };
    (@ $room:ident $($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let Some(ground) = crate::$room::Ground::here().await else { return };
            crate::suite::$promise(|name| ground.bench(name)).await;
            ground.assert_clean();
        }
    )*};
}

contract!(local_processes, local);
contract!(docker_containers, docker);
contract!(kubernetes_pods, kubernetes);
