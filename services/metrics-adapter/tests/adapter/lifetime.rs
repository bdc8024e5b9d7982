//! Its beginning and its end.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::papers::{Authority, FRONT_PROXY, SERVER, lay_out};
use crate::rig::{ROOT, Rig, config, get_as};

#[tokio::test]
async fn the_api_ends_with_the_service() {
    let rig = Rig::new(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        stopped.await.ok();
    };
    let serving = kit::serve(&rig.adapter.service, listener, rig.adapter.app(), shutdown);
    let calling = async {
        assert_eq!(rig.get(ROOT).await.0, 200);
        stop.send(()).expect("it serves");
    };
    let ended = async { tokio::join!(serving, calling).0 };
    timeout(Duration::from_secs(10), ended).await.expect("in time").expect("a clean end");
    assert!(TcpStream::connect(rig.adapter.api).await.is_err());
}

#[tokio::test]
async fn files_that_make_no_sense_are_named() {
    let rig = Rig::new(&[]).await;
    let files = rig.files();
    let original = |name: &str| std::fs::read_to_string(files.join(name)).expect("a file");
    let stranger = Authority::new("another").server(SERVER);
    for (name, content) in [
        ("tls.crt", String::new()),
        ("tls.crt", stranger.certificate),
        ("tls.key", "no key".to_owned()),
        ("requestheader-client-ca-file", String::new()),
        ("requestheader-allowed-names", FRONT_PROXY.to_owned()),
    ] {
        let before = original(name);
        std::fs::write(files.join(name), content).expect("a file");
        let refused = metrics_adapter::open(&config(files, &[])).await.err().expect("a refusal");
        assert!(refused.to_string().contains(name), "{refused}");
        std::fs::write(files.join(name), before).expect("a file");
    }
    std::fs::remove_file(files.join("tls.key")).expect("a file");
    let refused = metrics_adapter::open(&config(files, &[])).await.err().expect("a refusal");
    assert!(refused.to_string().contains("tls.key"), "{refused}");
}

async fn answers(rig: &Rig) -> bool {
    get_as(rig.adapter.api, rig.api_server(), ROOT, "").await.is_ok()
}

/// Lets the files be looked at: only sleeps go by fast, so that no call runs out of time.
async fn looked_at() {
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(25)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn certificates_that_are_replaced_are_taken_and_broken_ones_are_not() {
    let mut rig = Rig::new(&[]).await;
    assert!(answers(&rig).await);
    std::fs::write(rig.files().join("tls.crt"), "half a file").expect("a file");
    looked_at().await;
    assert!(answers(&rig).await, "the old ones stay");
    let (own, front_proxy) = (Authority::new("next authority"), Authority::new("next front proxy"));
    lay_out(rig.files(), &own.server(SERVER), &front_proxy, "[\"front-proxy-client\"]");
    looked_at().await;
    assert!(!answers(&rig).await, "the old authority is none any more");
    (rig.own, rig.front_proxy) = (own, front_proxy);
    assert!(answers(&rig).await);
}
