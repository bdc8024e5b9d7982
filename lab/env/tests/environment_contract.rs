//! The contract of environments, over each environment that this machine has.

#![expect(clippy::unwrap_used, reason = "functions shared by tests are tests too")]

#[path = "contract/bench.rs"]
mod bench;
#[path = "contract/local.rs"]
mod local;
#[path = "contract/suite.rs"]
mod suite;

/// One test a promise and environment; a new environment is one more line at the end.
macro_rules! contract {
    ($environment:ident) => {
        mod $environment {
            contract!(@ $environment deploys scales observes replaces_the_dead goes_down_twice_and_up_again
                names_what_is_not_there comes_up_after_a_crash);
        }
    };
    (@ $environment:ident $($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let ground = crate::local::Ground::new();
            crate::suite::$promise(|name| ground.bench(name)).await;
            ground.assert_clean();
        }
    )*};
}

contract!(local_processes);
